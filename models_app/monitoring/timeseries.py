"""Traffic of one endpoint summed by time step in the database: sums, latency by bucket, errors by code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from models_app.measures import latency, rules
from models_app.measures.time_ranges import ZERO, TimeRange
from tenants.isolation.scoping import current_tenant_id

SQL = """
WITH found AS (
  SELECT date_bin(%(step)s, minute, %(zero)s) AS starts, requests, rows, compute_ms, latency, errors
  FROM models_app_healthwindow
  WHERE tenant_id = %(tenant)s AND endpoint_id = %(endpoint)s AND minute >= %(first)s AND minute < %(end)s
)
SELECT starts, 'requests', '', sum(requests)::float8 FROM found GROUP BY starts
UNION ALL SELECT starts, 'rows', '', sum(rows)::float8 FROM found GROUP BY starts
UNION ALL SELECT starts, 'compute_ms', '', sum(compute_ms) FROM found GROUP BY starts
UNION ALL SELECT starts, 'latency', (place - 1)::text, sum(number::float8)
  FROM found, jsonb_array_elements_text(latency) WITH ORDINALITY AS bucket (number, place)
  WHERE number <> '0' GROUP BY starts, place
UNION ALL SELECT starts, 'errors', key, sum(value::float8) FROM found, jsonb_each_text(errors) GROUP BY starts, key
"""

OUTCOMES = {"answered": 1, "client errors": 3, "server errors": 5}
"""Outcomes of requests, as charts name them, each with its colour number."""


@dataclass
class Step:
    """Requests of one step of `seconds`. `latency` counts answered ones by bucket, `errors` refused ones by problem code."""

    starts: datetime
    seconds: float
    requests: int = 0
    rows: int = 0
    compute_ms: float = 0.0
    latency: list[int] = field(default_factory=lambda: [0] * latency.BUCKETS)
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def busy_share(self) -> float:
        """Share of the step in which the slot computed."""
        return self.compute_ms / 1000 / self.seconds

    def percentile(self, q: float) -> float | None:
        """Return the latency below which a share `q` of the answered requests stayed, in milliseconds."""
        return latency.percentile(self.latency, q)

    @property
    def failed(self) -> int:
        """Return the number of server errors."""
        return rules.split_errors(self.errors)[0]

    @property
    def refused(self) -> int:
        """Return the number of client errors."""
        return rules.split_errors(self.errors)[1]


def steps(endpoint_id: UUID, over: TimeRange) -> list[Step]:
    """Return every step of a time range, empty ones too, in one query of the open scope."""
    found = {starts: Step(starts, over.step.total_seconds()) for starts in over.starts}
    values: dict[str, Any] = {
        "step": over.step,
        "zero": ZERO,
        "tenant": current_tenant_id(),
        "endpoint": endpoint_id,
        "first": over.first,
        "end": over.end,
    }
    with connection.cursor() as cursor:
        cursor.execute(SQL, values)
        for starts, what, which, number in cursor.fetchall():
            step = found[starts]
            if what == "latency":
                step.latency[int(which)] = int(number)
            elif what == "errors":
                step.errors[which] = int(number)
            else:
                setattr(step, what, number if what == "compute_ms" else int(number))
    return list(found.values())


def together(errors: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return requests by problem code over all steps, most frequent first."""
    sums: dict[str, int] = {}
    for one in errors:
        for code, number in one.items():
            sums[code] = sums.get(code, 0) + number
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))
