"""The numbers of the page `Model health`: one endpoint, one time range, from the queries of `models_app`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from models_app.queries import Health, Step, Traffic, endpoint_health, endpoint_traffic, endpoints_served
from tenants.access.actor import Actor
from tenants.errors import NotFound

DEFAULT_SPAN = "24h"
STEP = ("starts", "requests", "rows", "refused", "failed", "p50_ms", "p95_ms", "busy_share")
DRIFT = ("input", "stability_index", "chance_explains", "rows", "drifted")
PREDICTIONS = ("prediction", "share_in_training", "share_now")


@dataclass(frozen=True)
class HealthPage:
    """All that the page shows. Without an endpoint only the empty list."""

    endpoints: Sequence[tuple[str, str]] = ()
    endpoint: str = ""
    traffic: Traffic | None = None
    health: Health | None = None


def health_page(actor: Actor, values: Mapping[str, str]) -> HealthPage:
    """Return the page's content for a query string.

    An endpoint hidden from the actor is replaced by the first visible one.
    """
    offered = [(str(key), name) for key, name in endpoints_served(actor)]
    if not offered:
        return HealthPage()
    for chosen in (values.get("endpoint", ""), offered[0][0]):
        try:
            endpoint = UUID(chosen)
            traffic = endpoint_traffic(actor, endpoint, values.get("range", DEFAULT_SPAN))
            return HealthPage(offered, str(endpoint), traffic, endpoint_health(actor, endpoint))
        except (ValueError, NotFound):
            continue
    return HealthPage(offered)


def export(table: str, page: HealthPage) -> tuple[Sequence[str], list[Sequence[object]]] | None:
    """Return header and rows of one of the page's tables; None for an unknown one."""
    headers = {"requests": STEP, "latency": STEP, "busy": STEP, "drift": DRIFT, "predictions": PREDICTIONS}
    if table not in headers:
        return None
    if page.traffic is None or page.health is None:
        return headers[table], []
    if table in ("requests", "latency", "busy"):
        return STEP, [_step(step, page.traffic.span.step.total_seconds()) for step in page.traffic.steps]
    if table == "drift":
        return DRIFT, [(row.name, row.psi, row.noise, row.rows, row.drifted) for row in page.health.drift]
    output = page.health.output
    if output is None:
        return PREDICTIONS, []
    return PREDICTIONS, [tuple(row) for row in zip(output.bins, output.before, output.after, strict=True)]


def _step(step: Step, step_s: float) -> Sequence[object]:
    waits = (step.percentile(0.5), step.percentile(0.95))
    busy = step.compute_ms / 1000 / step_s
    return (step.starts.isoformat(), step.requests, step.rows, step.refused, step.failed, *waits, busy)
