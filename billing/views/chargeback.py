"""The page of chargeback: a month's invoice by one or two dimensions, as shares and as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.allocation.chargeback import ChargebackRow, chargeback, dimensions
from billing.allocation.shared_costs import shared_costs, shared_month
from billing.allocation.spread import WHOLE_ORGANISATION
from billing.money import EXACT
from billing.queries.calendar import tenant_today
from billing.queries.spend import Span, tag_names
from billing.rating.calendar import next_period
from billing.resource_names import WITHHELD
from billing.usage.groups import DIMS, TITLES
from tenants.errors import Invalid
from tenants.fields.days import MonthField
from tenants.parsing import parse_month
from tenants.web.pagination import csv_response, refuse_unknown
from tenants.web.requests import TenantRequest
from tenants.web.views import page

MOST_SHOWN = 200
#: Lines of the invoice that a row of the page links; the invoice has all.
MOST_LINES = 3
CODES = ("tier", "device_class")


class ChargebackForm(forms.Form):
    """The month and the dimensions to show."""

    period = MonthField(label="Month", required=False)
    first = forms.ChoiceField(label="By", required=False)
    second = forms.ChoiceField(label="And by", required=False)

    def __init__(self, data: Any, *, names: Sequence[str]) -> None:
        super().__init__(data)
        choices = [(name, title_of(name)) for name in names]
        cast("forms.ChoiceField", self.fields["first"]).choices = choices
        cast("forms.ChoiceField", self.fields["second"]).choices = [("", "Nothing else"), *choices]


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of the page: its names in order, its share of the total, and the query of Spend that shows its jobs.

    With each name stands whether it is a code, to be put into words.
    `lines`: the numbers of the first lines of the invoice that it has a part of; `more`: how many others there are.
    """

    row: ChargebackRow
    names: list[tuple[str, bool]]
    share: Decimal
    query: str
    lines: Sequence[int]
    more: int


@require_safe
@page("invoices.view")
def chargeback_page(request: TenantRequest) -> HttpResponse:
    """Show a month by `?first=` and `?second=`; `?export=csv` for a file."""
    refuse_unknown(request, "period", "first", "second", "export")
    month = _month(request)
    chosen = [request.GET.get("first") or "project", request.GET.get("second", "")]
    by = [name for name in dict.fromkeys(chosen) if name]
    found = chargeback(month, by)
    titles = [title_of(name) for name in by]
    if request.GET.get("export") == "csv":
        return csv_response(
            request, f"chargeback-{month:%Y-%m}", _header(by), (_cells(month, by, row) for row in found.rows)
        )
    tags = [f"tag:{name}" for name in tag_names(Span(month, next_period(month)))]
    names = list(dict.fromkeys([*(name for name in TITLES if name in dimensions()), *tags, *by]))
    period = request.GET.get("period") or f"{month:%Y-%m}"
    form = ChargebackForm({"period": period, "first": by[0], "second": by[1] if len(by) > 1 else ""}, names=names)
    context = {
        "form": form,
        "found": found,
        "month": month,
        "titles": titles,
        "may_follow": request.actor.can("spend.view"),
        "rows": [_shown(row, month, by, found.total.amount) for row in found.rows[:MOST_SHOWN]],
        "left_out": max(len(found.rows) - MOST_SHOWN, 0),
        "can_manage": request.actor.can("invoices.manage"),
        "shared": shared_month(month) if by == ["project"] and shared_costs() else None,
        "predicts": any(row.predictions for row in found.rows),
    }
    return render(request, "billing/chargeback.html", context, status=422 if form.errors else 200)


def _month(request: TenantRequest) -> date:
    """Return the month to show: the running one for a text that is no month, which the form then marks and a file refuses."""
    try:
        return parse_month(request.GET.get("period", "")) or tenant_today().period
    except Invalid:
        if request.GET.get("export") == "csv":
            raise
        return tenant_today().period


def title_of(name: str) -> str:
    """Return what people read for a dimension. Raises Invalid."""
    if name.startswith("tag:"):
        return f"Tag {name.removeprefix('tag:')}"
    if name not in TITLES:
        raise Invalid(fields={"first": [f"Choose among {', '.join(TITLES)} and tags."]})
    return TITLES[name]


def _shown(row: ChargebackRow, month: date, by: Sequence[str], total: Decimal) -> ShownRow:
    share = EXACT.divide(row.cost.amount, total) if total else Decimal(0)
    names, more = [(row.names[name], name in CODES) for name in by], max(len(row.lines) - MOST_LINES, 0)
    return ShownRow(row, names, share, _query(row, month), row.lines[:MOST_LINES], more)


def _query(row: ChargebackRow, month: date) -> str:
    """Return the query of Spend for the jobs of a row; empty for what no work that the reader sees caused."""
    if {WITHHELD, WHOLE_ORGANISATION} & set(row.keys.values()):
        return ""
    only = {f"dim:{name}" if name in DIMS else name: value for name, value in row.keys.items()}
    last = next_period(month) - timedelta(days=1)
    group = "resource" if "job" in only else "job"
    return urlencode({"range": "custom", "from": month, "to": last, "group": group, "only": json.dumps(only)})


def _header(by: Sequence[str]) -> list[str]:
    keys = [column for name in by for column in (name, f"{name}_name")]
    return ["month", *keys, "cost", "currency", "quantity", "unit", "predictions", "per_1000"]


def _cells(month: date, by: Sequence[str], row: ChargebackRow) -> list[object]:
    keys = [value for name in by for value in (row.keys[name], row.names[name])]
    per_1000 = row.per_1000.amount if row.per_1000 else None
    figures = [row.cost.amount, row.cost.currency, row.quantity, row.unit, row.predictions, per_1000]
    return [f"{month:%Y-%m}", *keys, *figures]
