"""The charges of a document beside its usage: what rounding adds, adjustments, credits, tax, and credit notes. Pure.

Usage is exported with twelve decimals and an invoice rounds each line once, so each line whose usage does not come to its
amount has one charge of its own for the difference. With it, the charges of a document add up to its total exactly.

A savings plan's fee is a purchase: what it pays for carries its cost, so its effective cost is 0, and that of its coverage
is what the used part of the fee takes the place of. What no usage used is a charge of its own, which is billed as part of
the fee. Together they add up to what is billed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.exports.charge import ROUNDING, TAX, UNUSED, Category, Charge, Committed, Heading, Priced, Sku
from billing.money import EXACT, Money, computed
from billing.queries.issued import CreditNoteView
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine
from billing.rating.aggregation import SUM
from billing.rating.billed.lines import Kind
from billing.rating.calendar import day_start, next_period

ZERO = Decimal(0)
UNITS = {"second": "Seconds", "millisecond": "Milliseconds", "request": "Requests"}
CATEGORIES = {
    USAGE: Category.USAGE,
    CORRECTION: Category.USAGE,
    Kind.PLAN_FEE.value: Category.PURCHASE,
    Kind.CREDIT.value: Category.CREDIT,
    "top_up": Category.PURCHASE,
}
"""All other lines are adjustments."""
TITLES = {
    Kind.MODEL.value: "Price model",
    Kind.PLAN_FEE.value: "Savings plan",
    Kind.COVERED.value: "Covered by a savings plan",
    Kind.COMMITMENT.value: "Shortfall of a commitment",
    Kind.DISCOUNT.value: "Discount",
    Kind.MINIMUM.value: "Shortfall of a minimum",
    Kind.CREDIT.value: "Promotional credit",
}


#: Which lines belong to a savings plan or commitment: its type, and whether they use it.
COMMITTED = {
    Kind.PLAN_FEE.value: ("Savings plan", ""),
    Kind.COVERED.value: ("Savings plan", "Used"),
    Kind.COMMITMENT.value: ("Commitment", "Unused"),
}


def sku_of(line: InvoiceLine, list_price: Decimal | None = None) -> Sku:
    """Return what a usage line sells: the meter for these dimensions, at this price; usage without one is free.

    `list_price` is in the currency of the price.
    """
    dims = [f"{name}={value}" for name, value in sorted(line.dims.items())]
    details = {f"x_{name}": value for name, value in sorted(line.dims.items())}
    if line.aggregation != SUM:
        details["x_aggregation"] = line.aggregation
    if line.version_number is not None:
        details["x_price_version"] = str(line.version_number)
    key = "/".join([line.meter, *dims]) if line.price_id else f"{line.meter}/unpriced"
    at_list, rate = line.unit_amount if list_price is None else list_price, line.rate
    worth = rate.value if rate else Decimal(1)
    return Sku(
        key=key,
        meter=line.meter_title or line.meter,
        price_id=str(line.price_id) if line.price_id else key,
        unit=UNITS.get(line.unit, line.unit),
        unit_price=EXACT.multiply(line.unit_amount, worth),
        list_price=EXACT.multiply(at_list, worth),
        details=details if line.price_id else {},
        priced=Priced(
            currency=rate.currency,
            unit_price=line.unit_amount,
            list_price=at_list,
            rate=rate.value,
            rate_valid_from=rate.valid_from,
        )
        if rate
        else None,
    )


def month_of(heading: Heading, line: InvoiceLine, zone: str) -> dict[str, Any]:
    """Return when a line's charge applies: its month, or the closed month that it corrects."""
    if line.origin is None:
        return {"starts_at": heading.starts_at, "ends_at": heading.ends_at}
    return {"starts_at": day_start(line.origin, zone), "ends_at": day_start(next_period(line.origin), zone)}


def usage_of_line(heading: Heading, line: InvoiceLine, zone: str) -> Charge:
    """Return the usage of a line as one charge, for those who see no resource."""
    return Charge(
        heading=heading,
        category=Category.USAGE,
        kind=line.kind,
        description=line.meter_title or line.meter,
        billed=line.exact.amount,
        contracted=line.exact.amount,
        effective=line.exact.amount,
        listed=line.list_exact.amount,
        correction=line.origin is not None,
        consumed=line.measured,
        quantity=line.quantity,
        sku=sku_of(line, _list_price(line)),
        **_place(line),
        **month_of(heading, line, zone),
    )


def after_usage(
    heading: Heading, lines: Sequence[InvoiceLine], written: Mapping[UUID, Decimal], zone: str
) -> Generator[Charge, None, None]:
    """Return all other charges of a document; `written` is what the usage of each line came to."""
    paid_for, unused = _amortised(lines)
    for line in lines:
        usage = line.kind in (USAGE, CORRECTION)
        common: dict[str, Any] = {
            "heading": heading,
            "correction": line.origin is not None,
            "committed": _committed(line),
            **_place(line),
            **month_of(heading, line, zone),
        }
        if usage:
            rest = EXACT.subtract(line.amount.amount, written.get(line.id, ZERO))
            if rest:
                text = f"Rounding of {line.meter_title or line.meter} to the invoice's line"
                yield _flat(Category.ADJUSTMENT, ROUNDING, text, rest, common)
        else:
            charge = _adjustment(line, common)
            yield replace(charge, effective=paid_for[line.id]) if line.id in paid_for else charge
            if line.id in unused:
                rest_of_it = _flat(Category.ADJUSTMENT, UNUSED, f"{_title(line)}: unused", ZERO, common)
                plan = replace(rest_of_it.committed, quantity=None, status="Unused") if rest_of_it.committed else None
                yield replace(rest_of_it, effective=unused[line.id], committed=plan)
        if line.tax:
            common["committed"] = None
            text = f"Tax of {line.tax_rate.normalize():f} %" if line.tax_rate is not None else "Tax"
            yield _flat(Category.TAX, TAX, text, line.tax.amount, common)


def of_credit_note(
    heading: Heading, note: CreditNoteView, lines: Mapping[UUID, InvoiceLine], zone: str
) -> Generator[Charge, None, None]:
    """Return the charges of a credit note: each takes back a part of a line, or its tax, in the month of the invoice."""
    heading = replace(heading, number=note.number, credits=heading.number, issued_at=note.issued_at)
    for part in note.lines:
        line = lines[part.line_id]
        common: dict[str, Any] = {
            "heading": heading,
            "correction": True,
            "committed": _committed(line, taken_back=True),
            **_place(line),
            **month_of(heading, line, zone),
        }
        category = CATEGORIES.get(line.kind, Category.ADJUSTMENT)
        text = f"Credit note {note.number}: {_title(line)}"
        # Money comes back, no quantity does: so neither a quantity nor a price stands beside it.
        category = category if category is Category.USAGE else Category.ADJUSTMENT
        if part.amount:
            yield _flat(category, "credit_note", text, -part.amount.amount, common)
        if part.tax:
            common["committed"] = None
            yield _flat(Category.TAX, TAX, f"Credit note {note.number}: tax", -part.tax.amount, common)


def _place(line: InvoiceLine) -> dict[str, Any]:
    return {
        "project_id": str(line.project_id) if line.project_id else "",
        "project_name": line.project_name,
        "line_id": str(line.id),
    }


def _flat(category: Category, kind: str, text: str, amount: Decimal, common: Mapping[str, Any]) -> Charge:
    return Charge(
        category=category,
        kind=kind,
        description=text,
        billed=amount,
        contracted=amount,
        effective=amount,
        listed=amount,
        **common,
    )


def _adjustment(line: InvoiceLine, common: Mapping[str, Any]) -> Charge:
    amount = line.amount.amount
    category = CATEGORIES.get(line.kind, Category.ADJUSTMENT)
    charge = _flat(category, line.kind, _title(line), amount, common)
    if category is not Category.PURCHASE:
        return charge
    term = f"{line.kind}/{line.details.get('term', line.kind)}"
    unit = "Months" if line.kind == Kind.PLAN_FEE.value else "Units"
    sku = Sku(key=term, meter=_title(line), price_id=term, unit=unit, unit_price=amount, list_price=amount)
    return replace(charge, quantity=Decimal(1), sku=sku, effective=ZERO)


def _committed(line: InvoiceLine, *, taken_back: bool = False) -> Committed | None:
    """Return the savings plan or commitment that a line belongs to. A line that is `taken_back` uses nothing of it."""
    if line.kind not in COMMITTED:
        return None
    kind, status = COMMITTED[line.kind]
    term = line.details.get("term", line.kind)
    fee = line.kind == Kind.PLAN_FEE.value and not taken_back
    return Committed(
        id=f"{kind.lower().replace(' ', '_')}/{term}",
        name=term,
        kind=kind,
        quantity=Decimal(line.details.get("committed", line.amount.amount)) if fee else None,
        status="" if taken_back else status,
    )


def _amortised(lines: Sequence[InvoiceLine]) -> tuple[dict[UUID, Decimal], dict[UUID, Decimal]]:
    """Return the effective cost of what savings plans cover, which is the coverage and its part of the used fee; and of each
    fee what is unused. All are in minor units.
    """
    found: dict[UUID, Decimal] = {}
    unused: dict[UUID, Decimal] = {}
    for fee in (line for line in lines if line.kind == Kind.PLAN_FEE.value):
        term = fee.details.get("term")
        covered = [
            one for one in lines if one.kind == Kind.COVERED.value and one.details.get("term") == term and one.amount
        ]
        used = _used_part(fee) if covered else Money.zero(fee.amount.currency)
        if rest := fee.amount - used:
            unused[fee.id] = rest.amount
        if not covered:
            continue
        parts = used.allocate([abs(one.amount.minor) for one in covered])
        for one, part in zip(covered, parts, strict=True):
            found[one.id] = found.get(one.id, one.amount.amount) + part.amount
    return found, unused


def _used_part(fee: InvoiceLine) -> Money:
    """Return the part of a savings plan's fee that usage used; all of it where an older invoice does not state it."""
    committed, used = (Decimal(fee.details.get(name, 0)) for name in ("committed", "used"))
    if not committed:
        return fee.amount
    share = EXACT.divide(EXACT.multiply(fee.amount.amount, used), committed)
    return Money(computed(share), fee.amount.currency).rounded()


def _title(line: InvoiceLine) -> str:
    title = TITLES.get(line.kind) or line.meter_title or line.meter or line.kind.replace("_", " ").capitalize()
    return f"{title}: {line.term}" if line.term else title


def _list_price(line: InvoiceLine) -> Decimal | None:
    """Return the list price of a line's unit as its sums show it, in the price's currency; None if it is the contracted one."""
    if not line.quantity or line.list_exact == line.exact:
        return None
    units = EXACT.multiply(line.quantity, line.rate.value) if line.rate else line.quantity
    return computed(EXACT.divide(line.list_exact.amount, units))
