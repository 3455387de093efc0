"""Tables of the page `Model health`: the numbers behind each chart."""

from datetime import datetime
from typing import Any

from dash import html
from django.utils.timezone import get_current_timezone_name as zone_name
from django.utils.timezone import localtime

from dashboards.formatting import number
from dashboards.spend.tables import table
from models_app.queries import FeatureDrift, Health, Traffic

KINDS = {
    "drift": "Input drift",
    "output": "Predictions moved",
    "accuracy": "Accuracy",
    "latency": "Latency",
    "errors": "Errors",
}


def traffic(found: Traffic, label: str) -> Any:
    """Return the requests of each step that had any; `label` distinguishes the tables of one page."""
    header = [
        (f"From ({zone_name()})", False), ("Requests", True), ("Rows", True), ("Client errors", True), ("Server errors", True), ("p50", True),
        ("p95", True), ("p99", True), ("Busy", True),
    ]  # fmt: skip
    step_s = found.span.step.total_seconds()
    rows = [
        [
            moment(step.starts), number(step.requests), number(step.rows), number(step.refused), number(step.failed),
            wait(step.percentile(0.5)), wait(step.percentile(0.95)), wait(step.percentile(0.99)), share(step.compute_ms / 1000 / step_s),
        ]
        for step in found.steps
        if step.requests or step.rows
    ]  # fmt: skip
    return table(header, rows, label)


def drift(rows: tuple[FeatureDrift, ...]) -> Any:
    """Return the PSI of every input and what chance explains of it; no PSI for too few rows."""
    header = [("Input", False), ("PSI", True), ("By chance", True), ("Rows", True), ("State", False)]
    body = [
        [row.name, f"{row.psi:.3f}" if row.enough else "\u2013", f"{row.noise:.3f}", number(row.rows), state_of(row)]
        for row in rows
    ]
    return table(header, body, "Drift by input in numbers")


def predictions(output: FeatureDrift) -> Any:
    """Return the share of each prediction in training and now."""
    header = [("Prediction", False), ("Training", True), ("Last rows", True)]
    rows = zip(output.bins, output.before, output.after, strict=True)
    body = [[name, share(before), share(after)] for name, before, after in rows if before or after]
    return table(header, body, "Predictions in numbers")


def alerts(found: Health) -> Any:
    """Return the newest alerts, open ones first."""
    if not found.alerts:
        return html.P("No alert so far.", className="card-body")
    header = [("Alert", False), ("What happened", False), (f"Opened ({zone_name()})", False), ("State", False)]
    body = [
        [
            KINDS.get(alert.kind, alert.kind),
            alert.message,
            moment(alert.opened_at),
            html.Span("Open", className="x-state bad")
            if alert.resolved_at is None
            else html.Span(f"Ended {moment(alert.resolved_at)}", className="x-state idle"),
        ]
        for alert in found.alerts
    ]
    return table(header, body, "Alerts")


def state_of(row: FeatureDrift) -> Any:
    """Return an input's state as a dot and a word."""
    if not row.enough:
        return html.Span("Too few rows", className="x-state idle")
    return (
        html.Span("Drifted", className="x-state bad") if row.drifted else html.Span("Steady", className="x-state good")
    )


def moment(at: datetime) -> str:
    """Format a time in the organisation's zone, short."""
    there = localtime(at)
    return f"{there.day} {there:%b %H:%M}"


def wait(ms: float | None) -> str:
    """Format a latency."""
    return "\u2013" if ms is None else f"{number(ms, 1)}\u00a0ms"


def share(value: float | None) -> str:
    """Format a share of one in percent."""
    if value is None:
        return "\u2013"
    return "< 0.1\u00a0%" if 0 < value < 0.001 else f"{100 * value:.1f}\u00a0%"
