"""Callbacks of the Dash pages. The actor comes from the request; input is validated again."""

from typing import Any
from urllib.parse import urlencode

from dash import Input, Output, ctx, html, no_update
from django.http import HttpRequest
from django.urls import reverse

from dashboards.bridge import BridgedDash, current_request
from dashboards.formatting import duration_text
from dashboards.spend import charts, datasets, tables
from dashboards.spend.groupings import group_title
from dashboards.spend.links import CONTROLS, chosen, in_address, is_custom, job_url, link_of, narrowed_to
from tenants.currencies import money_text
from tenants.web.requests import TenantRequest

PERMISSION = "spend.view"


def permitted() -> TenantRequest:
    """Return the current request; raise `PermissionDenied` without the permission to see spend."""
    request = current_request()
    request.actor.require(PERMISSION)
    return request


def theme_of(request: HttpRequest) -> str:
    """Return light or dark; if the page follows the system, its script has stored the theme in a cookie."""
    theme = str(getattr(request.user, "theme", "light"))
    return request.COOKIES.get("scheme", "light") if theme == "auto" else theme


def register(app: BridgedDash) -> None:
    """Add the callbacks of the page `Spend and utilisation`."""

    @app.callback(
        Output("url", "search"),
        *(Output(name, "value") for name in CONTROLS),
        Output("custom-days", "hidden"),
        Output("group", "options"),
        Output("second", "options"),
        Output("filters", "disabled"),
        Input("url", "search"),
        *(Input(name, "value") for name in CONTROLS),
    )
    def keep_in_url(search: str | None, *values: str | None) -> tuple[Any, ...]:
        """Keep the choices and the query string in step, whichever changed."""
        if ctx.triggered_id in CONTROLS:
            typed = dict(zip(CONTROLS, (str(value or "") for value in values), strict=True))
            wanted = chosen("?" + urlencode({**typed, "only": chosen(search).get("only", "")}))
            unchanged = (no_update for _ in CONTROLS)
            return "?" + urlencode(in_address(wanted)), *unchanged, not is_custom(wanted), no_update, no_update, False
        known = chosen(search)
        permitted()
        offered = datasets.groupings(known)
        beside = [{"value": "", "label": "Nothing else"}, *offered]
        return no_update, *(known.get(name, "") for name in CONTROLS), not is_custom(known), offered, beside, False

    @app.callback(
        Output("tiles", "children"),
        Output("budgets-table", "children"),
        Output("budgets-note", "children"),
        Output("range-note", "children"),
        Output("daily-note", "children"),
        Output("daily-chart", "figure"),
        Output("daily-table", "children"),
        Output("narrowed", "children"),
        Output("groups-table", "children"),
        Output("jobs-table", "children"),
        Output("jobs-card", "hidden"),
        Output("utilisation-chart", "figure"),
        Output("utilisation-table", "children"),
        *(Output(f"{name}-csv", "href") for name in ("daily", "groups", "jobs", "utilisation")),
        Output("tick", "disabled"),
        Input("url", "search"),
        Input("tick", "n_intervals"),
    )
    def show(search: str | None, _ticks: int | None) -> tuple[Any, ...]:
        """Load the page's numbers once and draw everything from them."""
        request = permitted()
        theme, slug = theme_of(request), request.tenant.slug
        values = chosen(search)
        page = datasets.spend_page(values, with_budgets=request.actor.can("budgets.view"))
        in_file = in_address(values)
        return (
            tiles(page),
            budgets(page),
            f"{month_of(page)}: what is spent, and what running and waiting jobs hold of each.",
            range_note(page),
            daily_note(page),
            daily_figure(page, theme),
            tables.daily(page.daily, page.totals.currency) if page.daily.series else "",
            narrowed_to(page, values),
            costs(page, slug, values),
            jobs(page, slug),
            "job" in page.by,  # the table above is the same then
            utilisation_figure(page, theme),
            tables.utilisation(page.utilisation) if any(page.utilisation.allocated) else "",
            *(
                f"{reverse('spend-export', args=(slug, name))}?{urlencode(in_file)}"
                for name in ("daily", "groups", "jobs", "utilisation")
            ),
            page.running == 0,
        )


def tiles(page: datasets.SpendPage) -> list[Any]:
    """Return the tiles: spend against the budget, then billable, measured and excluded device time."""
    totals = page.totals
    budget = (
        ""
        if page.budgets is None
        else f"{money_text(totals.budget_spent, totals.currency)} of {money_text(totals.budget, totals.currency)} budget in {month_of(page)}"
        if totals.budget is not None
        else "No organisation budget; see the project budgets below."
        if page.budgets
        else "No budget: spend is not limited."
    )
    earlier = "".join(
        f"{money_text(amount, paid_in)} before the change of currency. " for paid_in, amount in totals.others
    )
    return [
        tile("Spend", money_text(totals.amount, totals.currency), earlier + budget),
        tile("Billable device time", duration_text(totals.billable_s), "Basis of the invoice"),
        tile("Measured device time", duration_text(totals.measured_s), "All device time held"),
        tile(
            "Excluded device time",
            duration_text(totals.excluded_s),
            "Outside a hold, or waived after a platform failure",
        ),
    ]


def tile(label: str, value: str, note: str) -> Any:
    """Return one stat tile."""
    return html.Div(
        [
            html.Span(label, className="x-tile-label"),
            html.Span(value, className="x-tile-value"),
            html.Span(note, className="x-tile-note"),
        ],
        className="x-tile",
    )


def budgets(page: datasets.SpendPage) -> Any:
    """Return every budget of the range's month."""
    if page.budgets is None:
        return tables.nothing("Budgets", "Your roles do not show budgets. Ask an owner or admin for one that does.")
    if not page.budgets:
        return tables.nothing(
            "No budget", "Spend is not limited. Finance or an admin can set a budget for the organisation or a project."
        )
    return tables.budgets(page.budgets, month_of(page))


def range_note(page: datasets.SpendPage) -> str:
    """Return which days are shown, and why they differ from those requested."""
    return f"{page.range.problem} {page.range.label}, days in {page.zone}".strip()


def month_of(page: datasets.SpendPage) -> str:
    """Return the month of the budgets shown, as text."""
    return f"{page.month:%B %Y}" if page.month else ""


def daily_note(page: datasets.SpendPage) -> str:
    """Return what the chart stacks, and what its line is or why it has none."""
    titles = [str(group_title(name)) for name in page.by]
    told = f"Cost of each day by {' and '.join(title[:1].lower() + title[1:] for title in titles)}, stacked."
    allowed = page.daily.budget_per_day
    if allowed is None:
        return told
    money = money_text(allowed, page.totals.currency, short=True)
    if charts.line_fits(page.daily.series, allowed):
        return f"{told} The dashed line is what the budget of {month_of(page)} allows a day: {money}."
    return f"{told} The budget of {month_of(page)} allows {money} a day, far above these bars."


def daily_figure(page: datasets.SpendPage, theme: str) -> charts.Figure:
    """Return the chart of daily spend, or the reason why it is empty."""
    if not page.daily.series:
        return charts.empty("No usage in this range", theme)
    data = page.daily
    return charts.daily_spend(
        data.days, data.series, currency=page.totals.currency, budget_per_day=data.budget_per_day, theme=theme
    )


def utilisation_figure(page: datasets.SpendPage, theme: str) -> charts.Figure:
    """Return the chart of utilisation, or the reason why it is empty."""
    data = page.utilisation
    if not any(data.allocated):
        return charts.empty("No device was used in this range", theme)
    return charts.utilisation(data.hours, data.allocated, data.used, theme=theme)


def costs(page: datasets.SpendPage, slug: str, values: dict[str, str]) -> Any:
    """Return costs by the chosen groups; a row leads to what it sums."""
    if not page.groups:
        return tables.nothing(
            "No usage in this range",
            "Costs appear here as soon as a job runs. Choose a longer range, or launch one.",
            ("New job", reverse("job-launch", args=(slug,))),
        )
    return tables.costs(
        [(row, link_of(page, row, slug, values)) for row in page.groups],
        total=page.totals.amount,
        currency=page.totals.currency,
        label="Cost by group",
        headings=[str(group_title(name)) for name in page.by],
    )


def jobs(page: datasets.SpendPage, slug: str) -> Any:
    """Return costs by project and job."""
    if not page.jobs:
        return tables.nothing("No job cost anything in this range", "Jobs are listed here with what each cost.")
    return tables.costs(
        [(row, job_url(row, slug)) for row in page.jobs],
        total=page.totals.amount,
        currency=page.totals.currency,
        label="Cost by project and job",
        headings=["Job"],
    )
