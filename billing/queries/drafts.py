"""What a draft comes to: its usage lines, what the contract's terms make of them, and the tax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from django.db.models import Q

from billing.credit.applied import AppliedCredit
from billing.credit.queries import open_credits
from billing.models import Contract, Invoice
from billing.models.invoicing import DRAFT, IN_REVIEW, PERIOD
from billing.money import Money
from billing.queries.lines import InvoiceLine, computed_lines, of_invoice, used_by_day, with_hours
from billing.rating.billed.bills import Bill, bill
from billing.rating.billed.credits import Credit, limited
from billing.rating.billed.lines import Kind, Line
from billing.rating.billed.reading import read_terms
from billing.rating.billed.savings import PlanFigures
from billing.rating.billed.tax import MissingRate, TaxTerms
from billing.rating.billed.terms import Per, Terms, resolved
from billing.rating.billed.usage import UsageLine
from billing.rating.hours import hours_between
from billing.taxes.queries import TaxTable, tax_day, tax_table
from billing.usage.month import month_bounds

NOTHING = Decimal(0)
#: Why no tax is charged, by the code of the European list of exemptions.
EXEMPT = {
    "VATEX-EU-AE": "Reverse charge: the customer accounts for the tax.",
    "VATEX-EU-O": "Outside the scope of tax.",
}


@dataclass(frozen=True, slots=True)
class TaxRow:
    """The tax of one rate, in per cent: what it is on, and what it comes to. `note` is the code of an exemption."""

    rate: Decimal
    taxable: Money
    tax: Money
    note: str = ""
    name: str = ""

    @property
    def sentence(self) -> str:
        """Why no tax is charged; empty where it is."""
        return EXEMPT.get(self.note, f"Exempt from tax: {self.note}.") if self.note else ""

    def stored(self) -> dict[str, str]:
        """Return the row as it is kept with a finalised invoice."""
        kept = {"rate": str(self.rate), "taxable": str(self.taxable.amount), "tax": str(self.tax.amount)}
        return kept | {name: value for name, value in (("note", self.note), ("name", self.name)) if value}

    @classmethod
    def read(cls, kept: Mapping[str, Any], currency: str) -> TaxRow:
        """Return a row that was kept."""
        taxable, tax = (Money(Decimal(kept[name]), currency) for name in ("taxable", "tax"))
        return cls(Decimal(kept["rate"]), taxable, tax, kept.get("note", ""), kept.get("name", ""))


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice's lines, their sum, its tax, and the credit that it uses.

    `carried`: what a total below zero would have come to, which goes into the wallet; a line takes it out of the total.
    `untaxed` says why its tax is not known: it is not finalised then. `contract`: the one whose details decided its tax.
    """

    lines: Sequence[InvoiceLine]
    taxes: Sequence[TaxRow]
    subtotal: Money
    tax: Money
    untaxed: str = ""
    credits: Sequence[AppliedCredit] = ()
    carried: Money | None = None
    contract: Contract | None = None

    @property
    def total(self) -> Money:
        """What is to be paid."""
        return self.subtotal + self.tax

    @property
    def covered(self) -> Money:
        """What credit pays of the total; what it takes off before tax is a line."""
        paid = (one.amount for one in self.credits if not one.before_tax)
        return sum(paid, Money.zero(self.subtotal.currency))


@dataclass(frozen=True, slots=True)
class Sources:
    """What one tenant's drafts in one currency are made of; `lines` are those of each month's usage."""

    currency: str
    contracts: Sequence[Contract]
    credits: Sequence[Credit]
    lines: Mapping[date, Sequence[InvoiceLine]]
    taxes: TaxTable


def drafts(wanted: Sequence[tuple[UUID, date, str]]) -> dict[UUID, Draft]:
    """Return the drafts of these invoices of the open scope, each given by id, month and currency."""
    if not wanted:
        return {}
    contracts, table = list(Contract.objects.all()), tax_table()
    found: dict[UUID, Draft] = {}
    for currency in {currency for _, _, currency in wanted}:
        asked = {invoice_id: period for invoice_id, period, money in wanted if money == currency}
        credits = open_credits(currency)
        before = _earlier(currency, max(asked.values())) if credits else {}
        lines = computed_lines(sorted({*asked.values(), *before.values()}), currency)
        found |= drafts_from(Sources(currency, contracts, credits, lines, table), asked, before)
    return found


def drafts_from(of: Sources, asked: Mapping[UUID, date], before: Mapping[UUID, date]) -> dict[UUID, Draft]:
    """Return the drafts of the invoices that are asked for, given with their months.

    Credit is used by the earliest month first: what a draft would use, no later one shows. So if there is any, `before`
    are the drafts of earlier months. Pure, unless a contract `plans_by_hour` or a credit `ends_within` a month: that usage
    is read in the open scope.
    """
    credits, found = list(of.credits), dict[UUID, Draft]()
    for invoice_id, period in sorted({**before, **asked}.items(), key=lambda one: (one[1], one[0])):
        contract = next((one for one in of.contracts if runs_in(one, period)), None)
        usage = of_invoice(invoice_id, of.lines[period])
        tax, agreed = of.taxes.terms(contract, period), _agreed(usage, contract, period, of.currency)
        untaxed, at = "", tax_day(period)
        usable = limited(credits, period, at, partial(used_by_day, usage, period))
        try:
            made = bill(*agreed, credits=usable, tax=tax, at=at)
        except MissingRate as missing:
            made, untaxed = bill(*agreed, credits=usable, at=at), str(missing)
        left, given = {use.key: use.left for use in made.credits}, {one.key: one.title for one in credits}
        credits = [replace(one, left=left.get(one.key, one.left)) for one in credits]
        if invoice_id in asked:
            found[invoice_id] = replace(draft_of(invoice_id, usage, made, given, untaxed), contract=contract)
    return found


def _earlier(currency: str, before: date) -> dict[UUID, date]:
    """Return the drafts of months before this one."""
    rows = Invoice.objects.filter(kind=PERIOD, state__in=[DRAFT, IN_REVIEW], currency=currency, period__lt=before)
    return dict(rows.values_list("id", "period"))


def billed(
    lines: Sequence[InvoiceLine],
    contract: Contract | None,
    period: date,
    currency: str,
    *,
    terms: Mapping[str, Any] | None = None,
    tax: TaxTerms | None = None,
) -> Bill:
    """Return the bill of these usage lines under a contract; `terms` in place of the contract's own.

    The day of tax and credits is the last of the period. Raises MissingRate.
    """
    return bill(*_agreed(lines, contract, period, currency, terms), tax=tax, at=tax_day(period))


def _agreed(
    lines: Sequence[InvoiceLine],
    contract: Contract | None,
    period: date,
    currency: str,
    terms: Mapping[str, Any] | None = None,
) -> tuple[list[UsageLine], Terms]:
    """Return usage lines as a bill takes them, and the terms that they meet."""
    own = contract.terms if contract and contract.currency == currency else {}
    agreed = read_terms({"currency": currency, **(own if terms is None else terms)})
    if any(plan.per is Per.HOUR for plan in agreed.savings_plans):
        lines = with_hours(lines, period)
        used = {hour for line in lines for hour, _ in line.hours}
        agreed = replace(agreed, hours=max(hours_between(*month_bounds(period)), len(used)))
    usage = [_usage(line) for line in lines]
    return usage, resolved(agreed, usage)


def draft_of(
    invoice_id: UUID, lines: Sequence[InvoiceLine], made: Bill, credits: Mapping[str, str], untaxed: str = ""
) -> Draft:
    """Return the draft of a bill: usage keeps its lines, adjustments follow them. `credits` has the titles of credit."""
    usage = {f"usage:{line.id}": line for line in lines}
    names = {line.project_id: (line.project_name, line.project_slug) for line in lines}
    titles = {line.meter: line.meter_title for line in lines}
    # Usage keeps its order, of first use; adjustments follow in that of the bill.
    ordered = sorted(made.lines, key=lambda one: usage[one.key].n if one.key in usage else len(usage) + 1)
    plans = {plan.key: plan for plan in made.plans}
    listed = []
    for number, one in enumerate(ordered, 1):
        line = usage.get(one.key) or _adjustment(invoice_id, one, names, titles)
        if one.kind is Kind.CREDIT and (title := credits.get(one.term or "")):
            line = replace(line, details={**line.details, "reason": title})
        if one.kind is Kind.PLAN_FEE and one.term in plans:
            line = replace(line, details={**line.details, **_plan_details(plans[one.term])})
        listed.append(replace(line, n=number, tax_rate=one.tax_percent, tax=one.tax))
    if made.carried:
        listed.append(line_of(invoice_id, Kind.CARRIED, len(listed) + 1, made.carried))
    taxes = [TaxRow(row.percent, row.taxable, row.tax, row.note or "", row.name) for row in made.taxes]
    used = [AppliedCredit(UUID(use.key), use.kind.value, use.amount, use.before_tax) for use in made.credits]
    return Draft(listed, taxes, made.subtotal + made.carried, made.tax, untaxed, used, made.carried or None)


def contract_in(period: date) -> Contract | None:
    """Return the contract that runs in a month of the open scope's tenant."""
    return Contract.objects.filter(Q(ends_on=None) | Q(ends_on__gt=period), starts_on__lte=period).first()


def plans_by_hour(contract: Contract) -> bool:
    """Return whether a contract has a savings plan by the hour."""
    return any(plan.get("per") == Per.HOUR for plan in contract.terms.get("savings_plans", ()))


def runs_in(contract: Contract, period: date) -> bool:
    """Return whether a contract runs in a month."""
    return contract.starts_on <= period and (contract.ends_on is None or period < contract.ends_on)


def _usage(line: InvoiceLine) -> UsageLine:
    if line.project_id is None:
        raise ValueError("usage belongs to a project")
    return UsageLine(
        key=str(line.id),
        project_id=line.project_id,
        meter=line.meter,
        price_id=line.price_id,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        amount=line.exact,
        listed=line.list_exact,
        dims=line.dims,
        outside=line.outside,
        origin=line.origin,
        hours=line.hours,
    )


def _plan_details(plan: PlanFigures) -> dict[str, str]:
    """Return how well a savings plan fits its month, as its line keeps it."""
    sums = {name: getattr(plan, name) for name in ("committed", "used", "covered", "eligible")}
    return {name: format(money.amount.normalize(), "f") for name, money in sums.items()}


def _adjustment(
    invoice_id: UUID,
    one: Line,
    names: Mapping[UUID | None, tuple[str, str]],
    titles: Mapping[str, str],
) -> InvoiceLine:
    """Return the line of an adjustment; pages write its text from `kind` and `details`."""
    name, slug = names.get(one.project_id, ("", ""))
    details = {
        # A block of credit is named by the end of its id, as the page of the wallet names it.
        "term": one.term[-8:] if one.term and one.kind is Kind.CREDIT else one.term,
        "percent": None if one.percent is None else format(one.percent.normalize(), "f"),
        "base": None if one.base is None else format(one.base.amount.normalize(), "f"),
    }
    return InvoiceLine(
        id=uuid5(invoice_id, one.key),
        n=0,
        kind=Kind(one.kind).value,
        project_id=one.project_id,
        project_name=name,
        project_slug=slug,
        meter_id=None,
        meter=one.meter or "",
        meter_title=titles.get(one.meter or "", one.meter or ""),
        unit="",
        price_id=one.price_id,
        unit_amount=one.unit_amount or NOTHING,
        dims={},
        version_id=None,
        version_number=None,
        price_effective_at=None,
        price_published_by="",
        measured=NOTHING,
        quantity=one.quantity or NOTHING,
        intervals=0,
        exact=one.exact,
        amount=one.amount,
        list_exact=one.exact,
        details={name: value for name, value in details.items() if value is not None},
    )


def line_of(invoice_id: UUID, kind: str, n: int, amount: Money) -> InvoiceLine:
    """Return an untaxed line that no usage caused: a top-up, or what takes a sum below zero into the wallet."""
    line = Line(kind=Kind(kind), key=kind, exact=amount, amount=amount)
    return replace(_adjustment(invoice_id, line, {}, {}), n=n, tax=Money.zero(amount.currency))
