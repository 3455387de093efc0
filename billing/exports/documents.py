"""The charges of a range of days: those of each invoice and credit note of its months.

A range that has a month as a whole has all that its invoice states: usage, rounding, adjustments, credits, tax, corrections of
months before it, and the credit notes of that invoice. So its charges add up to the invoice and credit notes to the
cent. Of a month that lies in the range in part, only the usage of these days is there.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from django.db.models import Q

from billing.exports import lines as of_lines
from billing.exports.charge import Charge, Heading
from billing.exports.profiles import SERVICE
from billing.exports.usage import Part, UsageOf
from billing.models import Invoice, Seller
from billing.models.invoicing import PERIOD, VOID
from billing.queries.calendar import tenant_today
from billing.queries.invoices import InvoiceView, with_lines
from billing.queries.issued import credit_notes
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine
from billing.rating.calendar import day_start, local_day, next_period, period_of
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

MOST_MONTHS = 12
GRANULARITIES = ("day", "hour")


@dataclass(frozen=True, slots=True)
class Days:
    """Local days `[first, end)`, and the grain of usage in them."""

    first: date
    end: date
    granularity: str = "day"

    @property
    def label(self) -> str:
        """The days for the name of a file: a month by its name."""
        if self.first.day == 1 and self.end == next_period(self.first):
            return f"{self.first:%Y-%m}"
        return f"{self.first}-to-{self.end - timedelta(days=1)}"

    def months(self) -> list[date]:
        """Return the months that it touches."""
        found = [period_of(self.first)]
        while (following := next_period(found[-1])) < self.end:
            found.append(following)
        return found

    def check(self) -> None:
        """Raise Invalid for more months than one file holds."""
        if len(self.months()) > MOST_MONTHS:
            text = f"An export has at most {MOST_MONTHS} months. Ask for a shorter range, and take the rest in a second file."
            raise Invalid(text, fields={"to": [text]})

    def part_of(self, month: date) -> Part:
        """Return which days of a month are in it."""
        first, end = max(self.first, month), min(self.end, next_period(month))
        whole = (first, end) == (month, next_period(month))
        return Part(first=first, end=end, whole=whole, granularity=self.granularity)


def charges(days: Days, *, by_line: bool = False) -> Generator[Charge, None, None]:
    """Return the charges of the open scope's tenant, month by month; `by_line` sums usage by line and names no project."""
    zone, issuer = tenant_today().zone, Seller.objects.values_list("name", flat=True).first()
    account = Tenant.objects.get(pk=current_tenant_id()).name
    for month in days.months():
        part = days.part_of(month)
        found = Invoice.objects.filter(~Q(state=VOID), period=month).order_by("currency", "kind", "id")
        for invoice_id in list(found.values_list("id", flat=True)):
            view, lines = with_lines(invoice_id)
            heading = Heading(
                account_id=str(current_tenant_id()),
                account_name=view.customer.get("name") or account,
                issuer=view.seller.get("name") or issuer or SERVICE,
                currency=view.currency,
                starts_at=view.starts_at,
                ends_at=view.ends_at,
                number=view.number,
                **_payable(view, zone),
            )
            if by_line:
                lines = [replace(line, project_name="") for line in lines]
            yield from _of_invoice(heading, view, lines, part, zone, by_line=by_line)


def details(found: Iterable[Charge]) -> Generator[Charge, None, None]:
    """Return the lines of documents in place of their charges: one for each `detail_id`, with the sum of what is billed."""
    sums: dict[str, Charge] = {}
    document = ""
    for charge in found:
        if charge.heading.number != document:
            yield from sums.values()
            sums, document = {}, charge.heading.number
        if charge.detail_id:
            before = sums.get(charge.detail_id)
            sums[charge.detail_id] = replace(before, billed=before.billed + charge.billed) if before else charge
    yield from sums.values()


def _payable(view: InvoiceView, zone: str) -> dict[str, Any]:
    if view.finalised_at is None or view.due_on is None:
        return {}
    days = (view.due_on - local_day(view.finalised_at, zone)).days
    return {"issued_at": view.finalised_at, "due_at": day_start(view.due_on, zone), "payment_days": days}


def _of_invoice(
    heading: Heading, view: InvoiceView, lines: Sequence[InvoiceLine], part: Part, zone: str, **chosen: Any
) -> Generator[Charge, None, None]:
    written = {}
    if chosen["by_line"]:
        for line in (line for line in lines if line.kind in (USAGE, CORRECTION)):
            written[line.id] = line.exact.amount
            yield of_lines.usage_of_line(heading, line, zone)
    elif view.kind == PERIOD:
        usage = UsageOf(heading, view, lines, part, zone)
        yield from usage.charges()
        written = usage.written
    if not part.whole:
        return
    yield from of_lines.after_usage(heading, lines, written, zone)
    if view.credited and view.id:
        by_id = {line.id: line for line in lines}
        for note in credit_notes(view.id):
            yield from of_lines.of_credit_note(heading, note, by_id, zone)
