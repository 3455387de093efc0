"""Layouts of the Dash pages: structure only. A layout is one object for all tenants, so it contains no tenant's data."""

from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from dashboards.ranges import CHOICES
from dashboards.spend.charts import WAITING
from dashboards.spend.groupings import GROUPS, ORDERS
from dashboards.spend.tables import aria

GRAPH: Any = {"displaylogo": False, "displayModeBar": False, "responsive": True}
ROUNDED = "Spend is shown as metered. An invoice rounds each of its lines, so its total may differ by a few cents."


def spend() -> Any:
    """Return the page `Spend and utilisation`."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=15_000, disabled=True),
            html.Fieldset(
                [
                    select(
                        "range",
                        "Time range",
                        CHOICES,
                        "month",
                    ),
                    html.Div(
                        [day_field("from", "First day"), day_field("to", "Last day")], id="custom-days", hidden=True
                    ),
                    select("group", "By", GROUPS, "project"),
                    select("second", "And by", {"": "Nothing else", **GROUPS}, ""),
                    select("sort", "Sort tables by", ORDERS, "cost"),
                    html.P(id="range-note", className="x-range-note"),
                ],
                id="filters",
                className="x-toolbar",
                disabled=True,  # until the address has set them: an earlier choice would be overwritten
                **aria(label="Filters"),
            ),
            html.Div(id="narrowed", className="x-actions", **aria(live="polite")),
            html.Div(id="tiles", className="x-tiles", **aria(live="polite")),
            html.P(ROUNDED, className="x-range-note"),
            table_card(
                "budgets",
                "Budgets",
                html.Span("What is spent, and what running and waiting jobs hold of each.", id="budgets-note"),
                export=False,
            ),
            chart_card(
                "daily",
                "Daily spend",
                html.Span("Cost of each day, stacked.", id="daily-note"),
            ),
            table_card(
                "groups",
                "Cost by group",
                "All usage in this range, highest cost first unless sorted otherwise. A row leads to its jobs or endpoints.",
            ),
            table_card(
                "jobs",
                "Cost by project and job",
                "The fifty most expensive jobs of this range; each links to its page.",
            ),
            chart_card(
                "utilisation",
                "Devices: allocated and busy",
                "Minutes leased in each hour, and the minutes in which the device was busy.",
            ),
        ],
        className="x-dash",
    )


def day_field(name: str, label: str) -> Any:
    """Return a labelled date field with the browser's calendar; it takes effect on blur or Enter."""
    field = dcc.Input(id=name, type="date", debounce=True, className="form-control")  # type: ignore[arg-type]
    return html.Div([dbc.Label(label, html_for=name, className="form-label"), field])


def select(name: str, label: str, options: dict[str, str], value: str) -> Any:
    """Return a labelled choice."""
    return html.Div(
        [
            dbc.Label(label, html_for=name, className="form-label"),
            dbc.Select(id=name, options=[{"value": key, "label": text} for key, text in options.items()], value=value),
        ]
    )


def chart_card(name: str, title: str, text: Any) -> Any:
    """Return a card with a chart, its numbers as a table, and their export. `text` may be a dynamic component."""
    return html.Section(
        [
            html.Header(
                [
                    html.H2(title, id=f"{name}-title"),
                    html.A("Export CSV", id=f"{name}-csv", className="btn btn-sm", href=""),
                    html.P(text),
                ],
                className="card-header",
            ),
            html.Div(
                [
                    html.Div(
                        dcc.Graph(id=f"{name}-chart", config=GRAPH, figure=WAITING),
                        role="img",
                        **aria(labelledby=f"{name}-title"),
                    ),
                    html.Details(
                        [html.Summary("Show the numbers"), html.Div(id=f"{name}-table", className="x-table-wrap")],
                        className="x-more",
                    ),
                ],
                className="card-body",
            ),
        ],
        className="card",
        **aria(labelledby=f"{name}-title"),
    )


def table_card(name: str, title: str, text: Any, *, export: bool = True) -> Any:
    """Return a card with a table."""
    link = html.A("Export CSV", id=f"{name}-csv", className="btn btn-sm", href="")
    return html.Section(
        [
            html.Header(
                [
                    html.H2(title, id=f"{name}-title"),
                    *([link] if export else []),
                    html.P(text),
                ],
                className="card-header",
            ),
            html.Div(id=f"{name}-table", className="x-table-wrap"),
        ],
        id=f"{name}-card",
        className="card",
        **aria(labelledby=f"{name}-title"),
    )
