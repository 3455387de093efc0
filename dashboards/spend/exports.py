"""The tables of the page `Spend and utilisation` as files."""

from collections.abc import Mapping, Sequence

from billing.queries.spend import MOST_ROWS
from dashboards.spend.datasets import spend_page


def export(table: str, values: Mapping[str, str]) -> tuple[Sequence[str], list[Sequence[object]]] | None:
    """Return header and rows of one of the page's tables; None for an unknown one."""
    page = spend_page(values, MOST_ROWS)  # an export is not cut as a page is
    if table == "daily":
        names = list(page.daily.series)
        return ["day", *names], [
            [day, *(page.daily.series[name][n] for name in names)] for n, day in enumerate(page.daily.days)
        ]
    if table in ("groups", "jobs"):
        rows = page.groups if table == "groups" else page.jobs
        second = ["second"] if table == "groups" and len(page.by) > 1 else []
        return ["name", *second, "project", "quantity", "unit", "amount", "currency", "per_1000_predictions", "job"], [
            [
                *row.labels,
                row.project,
                row.quantity,
                row.unit,
                row.amount,
                page.totals.currency,
                row.per_1000,
                row.job_id,
            ]
            for row in rows
        ]
    if table == "utilisation":
        data = page.utilisation
        return ["hour", "allocated_s", "busy_s"], [
            list(row) for row in zip(data.hours, data.allocated, data.used, strict=True)
        ]
    return None
