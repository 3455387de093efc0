"""Prometheus metrics of this node: counts and durations, without tenant or endpoint."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH = (1, 2, 4, 8, 16, 32, 64)


class Histogram:
    """Counts by upper bound, as Prometheus expects."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterable[str]:
        """Return the lines of the exposition format."""
        total = 0
        yield f"# TYPE {name} histogram"
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {total}"


class Telemetry:
    """Sums since the node started; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.answered = 0
        self.rows = 0
        self.refused: Counter[str] = Counter()
        self.latency = Histogram(LATENCY_S)
        self.batches = Histogram(BATCH)
        self.compute = Histogram(LATENCY_S)

    def batch(self, latencies: Sequence[float], rows: int, compute_s: float) -> None:
        """Count a batch that was answered."""
        with self._lock:
            self.answered += len(latencies)
            self.rows += rows
            self.batches.add(len(latencies))
            self.compute.add(compute_s)
            for seconds in latencies:
                self.latency.add(seconds)

    def refuse(self, code: str, count: int = 1) -> None:
        """Count refused requests by the problem's code."""
        with self._lock:
            self.refused[code] += count

    def text(self, gauges: Mapping[str, float]) -> bytes:
        """Return everything in the exposition format; `gauges` are current values."""
        with self._lock:
            lines = ["# TYPE exchequer_serving_requests_total counter"]
            lines.append(f'exchequer_serving_requests_total{{code="ok"}} {self.answered}')
            lines += [
                f'exchequer_serving_requests_total{{code="{code}"}} {count}'
                for code, count in sorted(self.refused.items())
            ]
            lines += ["# TYPE exchequer_serving_rows_total counter", f"exchequer_serving_rows_total {self.rows}"]
            lines += self.latency.lines("exchequer_serving_latency_seconds")
            lines += self.compute.lines("exchequer_serving_compute_seconds")
            lines += self.batches.lines("exchequer_serving_batch_requests")
        for name, value in gauges.items():
            lines += [f"# TYPE exchequer_serving_{name} gauge", f"exchequer_serving_{name} {value:g}"]
        return ("\n".join(lines) + "\n").encode()
