"""Traffic sums of one endpoint: recorded by the serving threads, aggregated by a thread that no request waits for."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from models_app.measures import numpy_bins
from models_app.measures.window import Window
from models_app.recipes.tabular.prediction.block import Block

if TYPE_CHECKING:
    from models_app.endpoints.deployments import EndpointSpec
    from models_app.recipes.tabular.prediction.predict import Predictor

MOST_BYTES = 64 * 1024**2
"""Limit of values not counted yet; beyond it values are dropped, so that drift uses a sample. Requests always count."""
MOST_REFUSED = 200_000


@dataclass(frozen=True, slots=True)
class Served:
    """A batch that was predicted."""

    order: EndpointSpec
    model: Predictor
    block: Block
    found: NDArray[np.float64]
    compute_ms: Decimal

    @property
    def size(self) -> int:
        """Return its approximate size in bytes."""
        return self.block.numbers.nbytes + self.found.nbytes + 64 * self.block.rows * len(self.block.words)


class TrafficRecorder:
    """Traffic of one endpoint since the last flush."""

    def __init__(self) -> None:
        self.window = Window(numpy_bins.count)
        self._seen: deque[tuple[Served, Sequence[float]]] = deque()
        self._bytes = 0
        self._refused: deque[tuple[EndpointSpec, str]] = deque(maxlen=MOST_REFUSED)
        self._tracked: set[UUID] = set()

    def record(self, served: Served, latencies: Sequence[float]) -> None:
        """Record a predicted batch and the latency of each request, in seconds."""
        if self._bytes > MOST_BYTES:
            spent = float(served.compute_ms)
            self.window.add(served.order.version_id, latency_ms=[1000 * s for s in latencies], compute_ms=spent)
            return
        self._bytes += served.size
        self._seen.append((served, latencies))

    def refused(self, order: EndpointSpec, code: str) -> None:
        """Record a refused request."""
        self._refused.append((order, code))

    def count(self) -> None:
        """Aggregate what was recorded into the window, one version at a time."""
        self._bytes = 0
        batches: dict[UUID, list[tuple[Served, Sequence[float]]]] = {}
        while self._seen:
            served, latencies = self._seen.popleft()
            batches.setdefault(served.order.version_id, []).append((served, latencies))
        errors: dict[UUID, Counter[str]] = {}
        while self._refused:
            order, code = self._refused.popleft()
            self._track(order)
            errors.setdefault(order.version_id, Counter())[code] += 1
        for version_id, group in batches.items():
            self._track(group[0][0].order)
            intake = group[0][0].model.intake
            numbers = np.concatenate([served.block.numbers for served, _ in group])
            found = np.concatenate([served.found for served, _ in group])
            columns: dict[str, Sequence[object] | NDArray[np.float64]] = {
                intake.names[at]: numbers[:, to] for to, at in enumerate(intake.number_at)
            }
            for to, at in enumerate(intake.word_at):
                columns[intake.names[at]] = [word for served, _ in group for word in served.block.words[to]]
            words = group[0][0].model.class_words
            self.window.add(
                version_id,
                columns=columns,  # type: ignore[arg-type]
                outputs=[words[at] for at in found.argmax(axis=1).tolist()] if words else found[:, 0],  # type: ignore[arg-type]
                latency_ms=[1000 * seconds for _, latencies in group for seconds in latencies],
                compute_ms=float(sum(served.compute_ms for served, _ in group)),
            )
        for version_id, codes in errors.items():
            self.window.add(version_id, errors=codes)

    def _track(self, order: EndpointSpec) -> None:
        if order.version_id not in self._tracked:
            self.window.track(order.version_id, order.baseline)
            self._tracked.add(order.version_id)
