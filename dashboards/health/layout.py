"""Layout of the page `Model health`: structure only, one object for all tenants, so it contains no tenant's data."""

from typing import Any

from dash import dcc, html

from dashboards.spend.layouts import chart_card, select, table_card
from dashboards.spend.tables import aria
from models_app.queries import HEALTH_SPANS

SPANS = {key: choice.label for key, choice in HEALTH_SPANS.items()}
WAITS = "Percentiles of the answered requests."
DRIFT = "Population stability index (PSI) of the latest rows against the training data. Check inputs above 0.1; an alert opens at 0.2."
CHARTS = ("requests", "latency", "drift", "predictions", "busy")


def health() -> Any:
    """Return the page."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=15_000, disabled=True),
            html.Fieldset(
                [
                    select("endpoint", "Endpoint", {}, ""),
                    select("range", "Time range", SPANS, "24h"),
                    html.P(id="range-note", className="x-range-note"),
                ],
                id="filters",
                className="x-toolbar",
                disabled=True,  # until the address has set them: an earlier choice would be overwritten
                **aria(label="Filters"),
            ),
            html.Div(id="tiles", className="x-tiles", **aria(live="polite")),
            table_card(
                "alerts", "Alerts", "Open alerts first. An alert resolves when its cause is gone.", export=False
            ),
            chart_card(
                "requests", "Requests", "Requests by outcome: answered, client errors (4xx) and server errors (5xx)."
            ),
            chart_card("latency", "Latency", html.Span(WAITS, id="latency-note")),
            chart_card("drift", "Drift by input", html.Span(DRIFT, id="drift-note")),
            chart_card("predictions", "Predictions against training", "Share of rows by predicted value."),
            chart_card("busy", "Slot busy", "Share of the time in which the endpoint's slot computed."),
        ],
        className="x-dash",
    )
