"""What an endpoint answered since the last flush, in memory: sums that add up in any order. Pure, for many threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import UUID

from models_app.health import bins, latency

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
        """Return both together, neither changed."""
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


class Window:
    """Collects the traffic of one endpoint between two flushes.

    `counter` counts the values of a column by bin; a process that has NumPy passes `arrays.count`, which is faster.
    """

    def __init__(self, counter: Counter = bins.count) -> None:
        self._counter = counter
        self._lock = Lock()
        self._baselines: dict[UUID, Mapping[str, Any]] = {}
        self._sums: dict[UUID, Sums] = {}

    def track(self, version_id: UUID, baseline: Mapping[str, Any]) -> None:
        """Know the baseline of a version; without one, or with an empty one, its values are not counted by bin."""
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
        """Add a batch: raw input values by column, predicted labels or numbers (one a row), the latency of each answered
        request in milliseconds, and refused requests by problem code.
        """
        baseline = self._baselines.get(version_id) or {}
        features = baseline.get("features", {})
        refused = dict(errors or {})
        batch = Sums(
            requests=len(latency_ms) + sum(refused.values()),
            rows=len(outputs),
            compute_ms=compute_ms,
            errors=refused,
            latency=latency.count(latency_ms) if latency_ms else [],
            inputs={
                name: self._counter(features[name], values)
                for name, values in (columns or {}).items()
                if name in features
            },
            outputs=self._counter(baseline["output"], outputs) if len(outputs) and "output" in baseline else [],
        )
        with self._lock:
            self._sums[version_id] = self._sums.get(version_id, Sums()) + batch

    def drain(self) -> dict[UUID, Sums]:
        """Return the sums by version since the last drain, and start again."""
        with self._lock:
            drained, self._sums = self._sums, {}
        return drained

    def give_back(self, drained: Mapping[UUID, Sums]) -> None:
        """Take sums back that could not be stored; what came in between stays."""
        with self._lock:
            for version_id, sums in drained.items():
                self._sums[version_id] = self._sums.get(version_id, Sums()) + sums
