"""Traffic of an endpoint since the last flush, in memory: sums that add up in any order. Pure, thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import UUID

from models_app.measures import bins, latency

MOST_PENDING = 1024
"""Rows that may wait for counting: enough to count them cheaply, few enough to keep."""

Counter = Callable[[bins.Feature, Iterable[Any]], list[int]]


@dataclass
class Sums:
    """Traffic of one version. `latency`, `inputs`, `outputs` are counts by bin; `errors` requests by problem code.

    `requests` counts answered and refused ones; `latency` those that were answered.
    """

    requests: int = 0
    rows: int = 0
    compute_ms: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    latency: list[int] = field(default_factory=list)
    inputs: dict[str, list[int]] = field(default_factory=dict)
    outputs: list[int] = field(default_factory=list)

    def __add__(self, other: Sums) -> Sums:
        """Return the sum of both; neither is changed."""
        return Sums(
            requests=self.requests + other.requests,
            rows=self.rows + other.rows,
            compute_ms=self.compute_ms + other.compute_ms,
            errors={
                code: self.errors.get(code, 0) + other.errors.get(code, 0)
                for code in sorted(self.errors.keys() | other.errors.keys())
            },
            latency=bins.add(self.latency, other.latency),
            inputs={
                name: bins.add(self.inputs.get(name, []), other.inputs.get(name, []))
                for name in sorted(self.inputs.keys() | other.inputs.keys())
            },
            outputs=bins.add(self.outputs, other.outputs),
        )


@dataclass
class _Running:
    """Traffic of one version so far; rows wait in `pending` and are counted in bulk, which is far cheaper."""

    sums: Sums = field(default_factory=Sums)
    pending: list[tuple[Mapping[str, Sequence[Any]], Sequence[Any]]] = field(default_factory=list)
    waiting: int = 0


class Window:
    """Collects the traffic of one endpoint between two flushes.

    `counter` counts the values of a column by bin; a process with NumPy passes `numpy_bins.count`, which is faster for
    arrays. Added columns and outputs belong to the window, which counts them later.
    """

    def __init__(self, counter: Counter = bins.count) -> None:
        self._counter = counter
        self._lock = Lock()
        self._baselines: dict[UUID, Mapping[str, Any]] = {}
        self._running: dict[UUID, _Running] = {}

    def track(self, version_id: UUID, baseline: Mapping[str, Any]) -> None:
        """Set the baseline of a version; without one, or with an empty one, values are not counted by bin."""
        self._baselines[version_id] = baseline

    def add(
        self,
        version_id: UUID,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
        outputs: Sequence[Any] = (),
        latency_ms: Sequence[float] = (),
        errors: Mapping[str, int] | None = None,
        compute_ms: float = 0.0,
    ) -> None:
        """Add a batch.

        `columns`: raw input values by column; `outputs`: predicted labels or numbers, one per row; `latency_ms`: of
        each answered request; `errors`: refused requests by problem code.
        """
        with self._lock:
            running = self._running.setdefault(version_id, _Running())
            sums = running.sums
            sums.requests += len(latency_ms)
            sums.rows += len(outputs)
            sums.compute_ms += compute_ms
            if len(latency_ms) and not sums.latency:
                sums.latency = [0] * latency.BUCKETS
            for ms in latency_ms:
                sums.latency[latency.bucket(ms)] += 1
            for code, number in (errors or {}).items():
                sums.requests += number
                sums.errors[code] = sums.errors.get(code, 0) + number
            if len(outputs):
                running.pending.append((columns or {}, outputs))
                running.waiting += len(outputs)
                if running.waiting >= MOST_PENDING:
                    self._count(version_id, running)

    def drain(self) -> dict[UUID, Sums]:
        """Return the sums by version since the last drain, and start again."""
        with self._lock:
            drained, self._running = self._running, {}
        for version_id, running in drained.items():
            self._count(version_id, running)
        return {version_id: running.sums for version_id, running in drained.items()}

    def give_back(self, drained: Mapping[UUID, Sums]) -> None:
        """Return sums that could not be stored; sums added in between stay."""
        with self._lock:
            for version_id, sums in drained.items():
                running = self._running.setdefault(version_id, _Running())
                running.sums = running.sums + sums

    def _count(self, version_id: UUID, running: _Running) -> None:
        """Count the pending rows by bin."""
        pending, running.pending, running.waiting = running.pending, [], 0
        baseline = self._baselines.get(version_id)
        if not baseline or not pending:
            return
        features, sums = baseline.get("features", {}), running.sums
        for name, feature in features.items():
            parts = [columns[name] for columns, _ in pending if name in columns]
            if parts:
                sums.inputs[name] = bins.add(sums.inputs.get(name, []), self._together(feature, parts))
        if "output" in baseline:
            sums.outputs = bins.add(
                sums.outputs, self._together(baseline["output"], [outputs for _, outputs in pending])
            )

    def _together(self, feature: bins.Feature, parts: list[Sequence[Any]]) -> list[int]:
        """Count single values together, and batches one by one."""
        counts = self._counter(feature, [part[0] for part in parts if len(part) == 1])
        for part in parts:
            if len(part) > 1:
                counts = bins.add(counts, self._counter(feature, part))
        return counts
