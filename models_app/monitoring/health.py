"""Read the monitoring of an endpoint: traffic by step, drift, feedback and alerts, in few queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, Sum

from models_app.access import visible_endpoints, visible_versions
from models_app.measures import bins, drift, latency, rules
from models_app.measures.time_ranges import TimeRange, span
from models_app.models import EndpointState, HealthAlert, HealthWindow
from models_app.monitoring import recent_windows, timeseries
from models_app.monitoring.alerts import labels as label_sums
from models_app.monitoring.timeseries import Step
from tenants.access.actor import Actor
from tenants.clock import DatabaseNow, now
from tenants.errors import NotFound

MOST_ALERTS = 50


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """Drift of one input, or of the predictions (`name` empty). `noise`: the PSI that chance alone explains.

    `bins`, `before` and `after`: labels of the bins and the share of rows in each; `rows`: number of rows compared.
    """

    name: str
    psi: float
    noise: float
    rows: int
    drifted: bool
    bins: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def enough(self) -> bool:
        """Return whether there are enough rows to evaluate."""
        return self.rows >= drift.MIN_ROWS


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """Feedback so far. `figure` names the metric of `value` and `expected`: accuracy or rmse; empty without feedback."""

    count: int
    figure: str
    value: float | None
    expected: float | None


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    """One alert; open while `resolved_at` is empty."""

    id: UUID
    kind: str
    subject: str
    value: float
    threshold: float
    message: str
    opened_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Requests of a time range; shares are of the requests, latencies in milliseconds, None without requests."""

    requests: int = 0
    rows: int = 0
    compute_ms: float = 0.0
    error_share: float | None = None
    refused_share: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    busy_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Requests of one endpoint, by step and in total."""

    span: TimeRange
    steps: tuple[Step, ...]
    totals: Totals
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Health:
    """Current state of the served version."""

    endpoint_id: UUID
    name: str
    version_id: UUID
    slo_ms: int
    drift: tuple[FeatureDrift, ...]
    output: FeatureDrift | None
    labels: LabelRow
    alerts: tuple[AlertRow, ...]
    has_baseline: bool


@dataclass(frozen=True, kw_only=True)
class HealthSummary:
    """Summary for a list: requests of the last 24 hours and open alerts."""

    requests: int = 0
    alerts: int = 0


def traffic(actor: Actor, endpoint_id: UUID, key: str) -> Traffic:
    """Return the traffic of one of the `time_ranges.CHOICES`. Raises NotFound, KeyError."""
    over = span(key, _endpoint(actor, endpoint_id).present)
    found = timeseries.steps(endpoint_id, over)
    errors = timeseries.together(step.errors for step in found)
    waits = [0] * latency.BUCKETS
    for step in found:
        waits = bins.add(waits, step.latency)
    requests, compute_ms = sum(step.requests for step in found), sum(step.compute_ms for step in found)
    ours, refused = rules.split_errors(errors)
    totals = Totals(
        requests=requests,
        rows=sum(step.rows for step in found),
        compute_ms=compute_ms,
        error_share=ours / requests if requests else None,
        refused_share=refused / requests if requests else None,
        p50=latency.percentile(waits, 0.5),
        p95=latency.percentile(waits, 0.95),
        p99=latency.percentile(waits, 0.99),
        busy_share=compute_ms / 1000 / (over.end - over.first).total_seconds(),
    )
    return Traffic(span=over, steps=tuple(found), totals=totals, errors=errors)


def health(actor: Actor, endpoint_id: UUID) -> Health:
    """Return drift, predictions, feedback and the newest alerts of the served version. Raises NotFound."""
    endpoint = _endpoint(actor, endpoint_id)
    version = endpoint.version
    baseline = version.baseline
    last = recent_windows.last_rows(endpoint.id, version.id)
    features = baseline.get("features", {})
    tests = len(features) + 1
    inputs = [_against(name, feature, last.inputs.get(name, []), tests) for name, feature in features.items()]
    # Alerts of an earlier version name its columns.
    rows = HealthAlert.objects.filter(endpoint=endpoint, version__in=visible_versions(actor).values("id"))
    rows = rows.order_by("resolved_at", "-id")
    names = tuple(AlertRow.__dataclass_fields__)
    return Health(
        endpoint_id=endpoint.id,
        name=endpoint.name,
        version_id=version.id,
        slo_ms=endpoint.slo_ms,
        drift=tuple(sorted(inputs, key=lambda row: -row.psi)),
        output=_against("", baseline["output"], last.outputs, tests) if "output" in baseline else None,
        labels=_labels(label_sums(endpoint.id, version.id), version.metrics),
        alerts=tuple(AlertRow(**row) for row in _open_first(rows.values(*names)[:MOST_ALERTS])),
        has_baseline=bool(features),
    )


def health_summaries(endpoint_ids: Sequence[UUID]) -> dict[UUID, HealthSummary]:
    """Return the summary of each of these endpoints, in two queries."""
    since = span("24h", now()).first
    counted = (
        HealthWindow.objects.filter(endpoint_id__in=endpoint_ids, minute__gte=since)
        .values_list("endpoint_id")
        .annotate(number=Sum("requests"))
    )
    opened = (
        HealthAlert.objects.filter(endpoint_id__in=endpoint_ids, resolved_at=None)
        .values_list("endpoint_id")
        .annotate(number=Count("id"))
    )
    requests, alerts = dict(counted), dict(opened)
    return {one: HealthSummary(requests=requests.get(one, 0), alerts=alerts.get(one, 0)) for one in endpoint_ids}


def alarmed(actor: Actor, limit: int = 3) -> list[tuple[str, int]]:
    """Return (name, number of open alerts) of live endpoints that the actor may see and that have any, most first."""
    live = visible_endpoints(actor).exclude(state=EndpointState.UNDEPLOYED)
    opened = live.annotate(open=Count("alerts", filter=Q(alerts__resolved_at=None))).filter(open__gt=0)
    return list(opened.order_by("-open", "name").values_list("name", "open")[:limit])


def digest() -> dict[str, int]:
    """Return the tenant metric for operators: open alerts of the endpoints that are not undeployed."""
    alerts = HealthAlert.objects.filter(resolved_at=None).exclude(endpoint__state=EndpointState.UNDEPLOYED)
    return {"open_alerts": alerts.count()}


def served(actor: Actor, limit: int = 200) -> list[tuple[UUID, str]]:
    """Return (id, name) of the endpoints to choose from: live ones first, then the newest of the others."""
    rows = visible_endpoints(actor)
    live = list(rows.exclude(state=EndpointState.UNDEPLOYED).order_by("name").values_list("id", "name")[:limit])
    gone = rows.filter(state=EndpointState.UNDEPLOYED).order_by("-id").values_list("id", "name")
    return [*live, *((one, f"{name} (undeployed)") for one, name in gone[: max(0, min(20, limit - len(live)))])]


def _endpoint(actor: Actor, endpoint_id: UUID) -> Any:
    """Return an endpoint with its version and the present time."""
    rows = visible_endpoints(actor).annotate(present=DatabaseNow())
    endpoint = rows.select_related("version").filter(id=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    return endpoint


def _against(name: str, feature: bins.Feature, counts: Sequence[int], tests: int) -> FeatureDrift:
    before, rows = feature["counts"], sum(counts)
    after = list(counts) if len(counts) == len(before) else [0] * len(before)
    return FeatureDrift(
        name=name,
        psi=drift.psi(before, after),
        noise=drift.noise(before, after, tests),
        rows=rows,
        drifted=drift.drifted(before, after, tests),
        bins=tuple(bins.names(feature)),
        before=tuple(count / (sum(before) or 1) for count in before),
        after=tuple(count / (rows or 1) for count in after),
    )


def _labels(sums: rules.Labels, metrics: dict[str, Any]) -> LabelRow:
    for name in ("accuracy", "rmse"):
        expected = metrics.get(name)
        if isinstance(expected, int | float):
            value = (sums.right / sums.count if name == "accuracy" else math.sqrt(sums.squared)) if sums.count else None
            return LabelRow(count=sums.count, figure=name, value=value, expected=float(expected))
    return LabelRow(count=sums.count, figure="", value=None, expected=None)


def _open_first(rows: Any) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["resolved_at"] is not None)
