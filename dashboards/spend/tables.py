"""Tables of the Dash pages, as native HTML.

Header cells have a scope, money is right-aligned, a share has a bar and its figure.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from dash import html
from django.utils.timezone import get_current_timezone_name

from billing.queries.budgets import BudgetStatus
from dashboards.formatting import duration_text, limit_tone, money_column, percent_text, quantity_text, shares
from dashboards.spend.datasets import CostRow, Daily, Utilisation
from tenants.currencies import money_text

Header = Sequence[tuple[str, bool]]
#: Seconds of each unit of time.
SECONDS = {"second": Decimal(1), "millisecond": Decimal("0.001")}


def aria(**words: str) -> dict[str, Any]:
    """Return ARIA attributes: `aria(label="Jobs")`."""
    return {f"aria-{name}": word for name, word in words.items()}


def table(header: Header, rows: Iterable[Sequence[Any]], label: str) -> Any:
    """Return a table; a header cell states whether its column is right-aligned."""
    head = html.Tr([html.Th(text, scope="col", className="end" if end else "") for text, end in header])
    body = [
        html.Tr(
            [html.Td(value, className="end num" if end else "") for value, (_, end) in zip(row, header, strict=True)]
        )
        for row in rows
    ]
    return html.Div(
        html.Table([html.Thead(head), html.Tbody(body)], className="x-table compact"),
        className="x-table-wrap",
        tabIndex=0,
        role="region",
        **aria(label=f"Table: {label}"),
    )


def nothing(title: str, text: str, link: tuple[str, str] | None = None) -> Any:
    """Return an empty state: what is missing, and the next step."""
    parts: list[Any] = [html.H3(title), html.P(text)]
    if link:
        parts.append(html.Div(html.A(link[0], href=link[1], className="btn btn-primary"), className="x-actions"))
    return html.Div(parts, className="x-empty")


def costs(
    linked: Sequence[tuple[CostRow, str]], *, total: Decimal, currency: str, label: str, headings: Sequence[str]
) -> Any:
    """Return the cost of each combination of groups, with its share of the range's `total` and a link to what it sums."""
    rows = [row for row, _ in linked]
    with_project = any(row.project for row in rows)
    predicts = any(row.per_1000 is not None for row in rows)
    header: list[tuple[str, bool]] = [(heading, False) for heading in headings]
    header += [("Project", False)] if with_project else []
    header += [
        ("Quantity", True),
        ("Cost", True),
        *([("Per 1,000 predictions", True)] if predicts else []),
        ("Share", True),
    ]
    body = []
    amounts = [row.amount for row in rows]
    for (row, url), percent, cost in zip(linked, shares(amounts, total), money_column(amounts, currency), strict=True):
        cells: list[Any] = [html.A(row.labels[0], href=url) if url else row.labels[0], *row.labels[1:]]
        cells += [row.project] if with_project else []
        cells += [quantity(row.quantity, row.unit), cost]
        if predicts:
            cells.append("\u2013" if row.per_1000 is None else money_text(row.per_1000, currency))
        cells.append(share_bar(percent, row.label, some=row.amount > 0))
        body.append(cells)
    return table(header, body, label)


def quantity(value: Decimal | None, unit: str) -> Any:
    """Return a quantity; time as people read it, with its exact amount in the title and in the export."""
    if value is None or unit not in SECONDS:
        return quantity_text(value, unit)
    return html.Span(duration_text(value * SECONDS[unit]), className="duration", title=quantity_text(value, unit))


def budgets(rows: Sequence[BudgetStatus], month: str) -> Any:
    """Return the use of each budget of a month. What is held is reserved, not spent."""
    header: Header = [
        ("Budget of", False),
        ("Period", False),
        ("Spent", True),
        ("Held", True),
        ("Free", True),
        ("Amount", True),
        ("Share spent", True),
    ]
    body = [
        [
            row.project_name or "The whole organisation",
            row.span,
            *(money_text(part.amount, row.currency, short=True) for part in (row.spent, row.held, row.left, row.limit)),
            share_bar(
                row.used_percent,
                f"the budget of {row.project_name or 'the whole organisation'} spent",
                limit_tone(row.used_percent),
            ),
        ]
        for row in rows
    ]
    return table(header, body, f"Budgets of {month}")


def share_bar(percent: int, label: str, tone: str = "", *, some: bool = False) -> Any:
    """Return a whole percentage as a bar with its figure. `tone` is wait or bad near or beyond a limit.

    `some`: there is something, so that a share that rounds to none reads as less than one.
    """
    return html.Span(
        [
            html.Progress(
                value=f"{min(percent, 100)}",
                max="100",
                className=f"x-bar {tone}".strip(),
                **aria(label=f"Share of {label}"),
            ),
            html.Span("< 1\u00a0%" if some and percent == 0 else percent_text(percent), className="num"),
        ],
        className="x-share",
    )


def daily(data: Daily, currency: str) -> Any:
    """Return the numbers behind the chart of daily spend."""
    names = list(data.series)
    header: list[tuple[str, bool]] = [("Day", False), *((name, True) for name in names), ("Sum", True)]
    days = [(day, [data.series[name][index] for name in names]) for index, day in enumerate(data.days)]
    spent = [(day, [*values, sum(values, Decimal(0))]) for day, values in days if any(values)]
    texts = iter(money_column([amount for _, amounts in spent for amount in amounts], currency))
    rows = [[f"{day.day} {day:%b %Y}", *(next(texts) for _ in amounts)] for day, amounts in spent]
    return table(header, rows, "Daily spend in numbers")


def utilisation(data: Utilisation) -> Any:
    """Return the numbers behind the chart of utilisation."""
    header: Header = [
        (f"Hour ({get_current_timezone_name()})", False),
        ("Allocated", True),
        ("Busy", True),
        ("Busy share", True),
    ]
    rows = [
        [_hour(hour), f"{leased / 60:.1f} min", f"{busy / 60:.1f} min", f"{busy / leased:.0%}" if leased else "\u2013"]
        for hour, leased, busy in zip(data.hours, data.allocated, data.used, strict=True)
        if leased or busy
    ]
    return table(header, rows, "Device minutes in numbers")


def _hour(hour: datetime) -> str:
    return f"{hour.day} {hour:%b %H:00}"
