"""Callbacks of the page `Model health`. The actor comes from the request; input is validated again."""

from typing import Any
from urllib.parse import parse_qs, urlencode

from dash import Input, Output, ctx, no_update
from django.urls import reverse
from django.utils.timezone import get_current_timezone_name, localtime

from dashboards.bridge import BridgedDash, current_request
from dashboards.formatting import figure, number
from dashboards.health import charts, tables
from dashboards.health.datasets import DEFAULT_SPAN, HealthPage, health_page
from dashboards.health.layout import CHARTS, DRIFT, SPANS, WAITS
from dashboards.spend import charts as common
from dashboards.spend import tables as native
from dashboards.spend.callbacks import theme_of, tile
from dashboards.spend.charts import Figure
from models_app.queries import OUTCOMES, Health, Traffic
from tenants.web.requests import TenantRequest

PERMISSION = "endpoints.view"
NOTHING = "No endpoint yet"
QUIET = "No request in this range"


def permitted() -> TenantRequest:
    """Return the current request; raise `PermissionDenied` without the permission to see endpoints, of any project."""
    request = current_request()
    request.actor.require_somewhere(PERMISSION)
    return request


def chosen(search: Any) -> dict[str, str]:
    """Return the known keys of the query string; the browser may send anything."""
    found = parse_qs(str(search or "").removeprefix("?"))
    values = {name: texts[-1][:40] for name, texts in found.items() if name in ("endpoint", "range")}
    if values.get("range") not in SPANS:
        values["range"] = DEFAULT_SPAN
    return values


def register(app: BridgedDash) -> None:
    """Add the callbacks of the page."""

    @app.callback(
        Output("url", "search"),
        Output("range", "value"),
        Output("filters", "disabled"),
        Input("url", "search"),
        Input("range", "value"),
        Input("endpoint", "value"),
    )
    def keep_in_url(search: str | None, span: str | None, endpoint: str | None) -> tuple[Any, ...]:
        """Keep the choices and the query string in step, whichever changed."""
        values = chosen(search)
        if ctx.triggered_id in {"range", "endpoint"}:
            wanted = chosen("?" + urlencode({"endpoint": endpoint or "", "range": span or ""}))
            # Setting an equal value would call the other callback, which sets the endpoint, in an endless loop.
            return no_update if wanted == values else "?" + urlencode(wanted), no_update, False
        return no_update, values["range"], False

    @app.callback(
        Output("endpoint", "options"),
        Output("endpoint", "value"),
        Output("range-note", "children"),
        Output("tiles", "children"),
        Output("alerts-table", "children"),
        Output("latency-note", "children"),
        Output("drift-note", "children"),
        *(Output(f"{name}-chart", "figure") for name in CHARTS),
        *(Output(f"{name}-table", "children") for name in CHARTS),
        *(Output(f"{name}-csv", "href") for name in CHARTS),
        Output("tick", "disabled"),
        Input("url", "search"),
        Input("tick", "n_intervals"),
    )
    def show(search: str | None, _ticks: int | None) -> tuple[Any, ...]:
        """Load the page's numbers once and draw everything from them."""
        request = permitted()
        theme, slug = theme_of(request), request.tenant.slug
        values = chosen(search)
        page = health_page(request.actor, values)
        options = [{"value": key, "label": name} for key, name in page.endpoints]
        wanted = urlencode({"endpoint": page.endpoint, "range": values["range"]})
        links = [f"{reverse('health-export', args=(slug, name))}?{wanted}" for name in CHARTS]
        if page.traffic is None or page.health is None:
            empty = native.nothing(
                NOTHING,
                "Deploy a model version in production. Its traffic, latency and drift then appear here.",
                ("Endpoints", reverse("endpoints", args=(slug,))),
            )
            figures = [common.empty(NOTHING, theme)] * len(CHARTS)
            return options, None, "", [], empty, WAITS, DRIFT, *figures, *[""] * len(CHARTS), *links, True
        drawn = figures_of(page.traffic, page.health, theme)
        return (
            options,
            page.endpoint,
            f"{SPANS[page.traffic.span.key]}, times in {get_current_timezone_name()}",
            tiles(page.traffic, page.health),
            tables.alerts(page.health),
            aim_note(page.traffic, page.health),
            drift_note(page.health),
            *(drawn[name] for name in CHARTS),
            *tables_of(page),
            *links,
            False,
        )


def tiles(traffic: Traffic, health: Health) -> list[Any]:
    """Return the tiles: requests, latency, errors, drift, accuracy, slot."""
    totals, labels = traffic.totals, health.labels
    bad = [row for row in health.drift if row.drifted]
    enough_rows = any(row.enough for row in health.drift)
    worst = (
        f"worst: {health.drift[0].name}, {health.drift[0].psi:.2f}; newest rows of 7 days"
        if enough_rows
        else "needs at least 300 rows"
    )
    kept = figure(labels.expected) if labels.expected is not None else "\u2013"
    came = f"newest {labels.count:,} ground truth label{'' if labels.count == 1 else 's'} of any time"
    return [
        tile(
            "Requests", number(totals.requests), f"{number(totals.rows)} row{'' if totals.rows == 1 else 's'} predicted"
        ),
        tile(
            "p95 latency",
            tables.wait(totals.p95),
            f"p50 {tables.wait(totals.p50)} · p99 {tables.wait(totals.p99)} · SLO {health.slo_ms:,}\u00a0ms",
        ),
        tile(
            "Error rate",
            tables.share(totals.error_share),
            f"server errors; client errors {tables.share(totals.refused_share)}",
        ),
        tile(
            "Inputs that drifted",
            f"{len(bad)} of {len(health.drift)}" if enough_rows else "\u2013",
            worst if health.has_baseline else "this version has no baseline",
        ),
        tile(
            {"rmse": "Error (RMSE)"}.get(labels.figure, "Accuracy"),
            "\u2013" if labels.value is None else figure(labels.value),
            f"{came}; {kept} on test rows" if labels.count else "no ground truth yet",
        ),
        tile("Slot busy", tables.share(totals.busy_share), "of the time, computing"),
    ]


def figures_of(traffic: Traffic, health: Health, theme: str) -> dict[str, Figure]:
    """Return every chart, or the reason for its emptiness."""
    steps, step = traffic.steps, traffic.span.step
    starts = [localtime(one.starts) for one in steps]
    drawn = dict.fromkeys(CHARTS, common.empty(QUIET, theme))
    if traffic.totals.requests:
        refused, failed = [one.refused for one in steps], [one.failed for one in steps]
        limited = [sum(one.errors.values()) - one.refused - one.failed for one in steps]
        answered = [one.requests - sum(one.errors.values()) for one in steps]
        counts = (answered, [a + b for a, b in zip(refused, limited, strict=True)], failed)
        parts = list(zip(OUTCOMES, counts, strict=True))
        drawn["requests"] = charts.by_step(starts, parts, step=step, unit="requests", theme=theme)
        waits = [
            (name, [one.percentile(q) for one in steps]) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        ]
        drawn["latency"] = charts.lines(
            starts, waits, step=step, unit="ms", theme=theme, aim=health.slo_ms if _near(traffic, health) else None
        )
        busy = [("busy", [100 * one.compute_ms / 1000 / step.total_seconds() for one in steps])]
        drawn["busy"] = charts.lines(starts, busy, step=step, unit="%", theme=theme)
    rows = health.drift[0].rows if health.drift else 0
    if not health.has_baseline:
        drawn["drift"] = drawn["predictions"] = common.empty("This version has no training baseline", theme)
        return drawn
    drawn["drift"] = (
        charts.drift([(row.name, row.psi) for row in health.drift if row.enough], theme=theme)
        if any(row.enough for row in health.drift)
        else common.empty(
            f"Too few rows to measure drift: {rows:,} so far" if rows else "No prediction in the last seven days", theme
        )
    )
    if health.output is not None and health.output.rows:
        output = health.output
        used = [at for at in range(len(output.bins)) if output.before[at] or output.after[at]]
        drawn["predictions"] = charts.shares(
            [output.bins[at] for at in used],
            [output.before[at] for at in used],
            [output.after[at] for at in used],
            theme=theme,
        )
    return drawn


def tables_of(page: HealthPage) -> list[Any]:
    """Return the numbers behind each chart, in the order of CHARTS."""
    if page.traffic is None or page.health is None:
        return [""] * len(CHARTS)
    output, any_requests = page.health.output, page.traffic.totals.requests > 0
    steps = [
        tables.traffic(page.traffic, f"{name} in numbers") if any_requests else ""
        for name in ("Requests", "Latency", "Slot busy")
    ]
    return [
        steps[0],
        steps[1],
        tables.drift(page.health.drift) if page.health.drift else "",
        tables.predictions(output) if output is not None and output.rows else "",
        steps[2],
    ]


def aim_note(traffic: Traffic, health: Health) -> str:
    """Return the note beside the latency chart: the SLO, and that its line is dashed if it is drawn."""
    drawn = bool(traffic.totals.requests) and _near(traffic, health)
    return f"{WAITS} SLO {health.slo_ms:,} ms{', dashed' if drawn else ''}."


def drift_note(health: Health) -> str:
    """Return the note beside the drift chart about excluded inputs, if any."""
    few = [row for row in health.drift if row.rows and not row.enough]
    return f"{DRIFT} Inputs with too few rows are not drawn." if few else DRIFT


def _near(traffic: Traffic, health: Health) -> bool:
    """Return whether the SLO is near enough to draw: far above, it would flatten all lines."""
    highest = max((one.percentile(0.95) or 0.0 for one in traffic.steps), default=0.0)
    return highest * 5 >= health.slo_ms
