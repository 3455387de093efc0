"""Credit notes: what is taken back of the lines of a standing invoice, with its tax, and where the money goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from django.db import connection, transaction

from billing import second_person as rule
from billing.events import InvoiceCredited
from billing.invoices import numbers
from billing.invoices.finalising import locked
from billing.invoices.paying import due_of, settle_state
from billing.invoices.posting import Back, post_credit
from billing.invoices.refunds import ways_back
from billing.models import CreditNote, CreditNoteLine, Invoice, Payment
from billing.models.invoicing import FINALISED, PAID, TOP_UP
from billing.models.settling import REFUND
from billing.models.wallets import CREDITED as CREDIT_NOTE
from billing.models.wallets import PROMOTIONAL
from billing.money import Money, fineness_fault
from billing.queries.lines import InvoiceLine, frozen_lines
from billing.rating.billed.lines import money_of
from billing.rating.calendar import local_day
from billing.rating.tax import tax_of_part
from billing.wallets import unused
from billing.wallets.applying import promotional_part, refundable
from billing.wallets.blocks import Terms, add
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid
from tenants.events.events import publish
from tenants.isolation.scoping import current_tenant_id
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act
from tenants.rows import named_rows

INVOICE_CREDITED = AuditAction("billing.invoice.credited")
MOST_LINES = 1_000
CREDITED = """
SELECT l.line_id, sum(l.amount) AS amount, sum(l.tax) AS tax FROM billing_creditnoteline l
JOIN billing_creditnote n ON n.tenant_id = l.tenant_id AND n.id = l.note_id
WHERE l.tenant_id = %s AND n.invoice_id = %s GROUP BY 1
"""
PaidBack = Literal["refund", "wallet"]
#: States of an invoice that can be credited.
CREDITABLE = (FINALISED, PAID)


class CannotCredit(Conflict):
    """Only a finalised invoice is credited. Change a draft's usage or terms instead; void a top-up that is not paid."""

    code = "invoice_not_creditable"


@dataclass(frozen=True, slots=True)
class Part:
    """What to take off one line, without tax."""

    line_id: UUID
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a credit note takes off, why, and where what was paid goes. `approved`: with tax, by a second operator."""

    parts: Sequence[Part]
    reason: str
    paid_back: PaidBack = "refund"
    approved: Money | None = None


@dataclass(frozen=True, slots=True)
class _Credit:
    line: InvoiceLine
    amount: Money
    tax: Money

    @property
    def gross(self) -> Money:
        """The amount with its tax."""
        return self.amount + self.tax


def credit(
    *,
    operator: Operator,
    tenant_id: UUID,
    invoice_id: UUID,
    parts: Sequence[Part],
    reason: str,
    paid_back: PaidBack = "refund",
) -> UUID:
    """Issue a credit note on lines of a standing invoice; return its id. Without parts it credits all that is left.

    It comes off what is due first; what was paid already goes back as `paid_back` says. Of a top-up, what is left in the
    wallet goes back to the payer, and TopUpUsed is raised for more. Raises NotFound, CannotCredit,
    NeedsSecondPerson, and Invalid for an unknown line or more than is left of one.
    """
    operator.require("invoices.manage")
    reason = check_reason(reason)
    if len(parts) > MOST_LINES:
        raise Invalid(fields={"lines": [f"Credit at most {MOST_LINES:,} lines at once."]})
    with transaction.atomic():
        note, label = credit_as(
            actor=Actor.system(tenant_id, "operator"),
            invoice_id=invoice_id,
            wanted=Wanted(parts, reason, paid_back),
            by=operator.label,
        )
        record_act(operator, INVOICE_CREDITED, target=("invoice", invoice_id, label), reason=reason)
    return note


@operation(INVOICE_CREDITED)
def credit_as(*, actor: Actor, invoice_id: UUID, wanted: Wanted, by: str) -> tuple[UUID, str]:
    """Credit as the system, `by` an operator, as `finalise_as` finalises; return the note's id and number."""
    invoice, reason = locked(invoice_id), wanted.reason
    top_up = invoice.kind == TOP_UP
    if invoice.state not in CREDITABLE or (top_up and not invoice.paid):
        raise CannotCredit
    credits = _checked(invoice, [Part(*unused.rest_of(invoice))] if top_up and not wanted.parts else wanted.parts)
    zero = Money.zero(invoice.currency)
    subtotal = sum((one.amount for one in credits), zero)
    tax = sum((one.tax for one in credits), zero)
    total = subtotal + tax
    # Several small credits of one invoice count together.
    rule.check(Money(invoice.credited, invoice.currency) + total, wanted.approved)
    # Of a top-up only money goes back, to the payer. What is due of it fills the wallet when it is paid.
    if top_up:
        unused.refund(invoice, total)
    off_due = zero if top_up else min(total, due_of(invoice))
    back = total - off_due
    # What credit paid goes back to the wallet: no money left for it that could go to the payer.
    refunded = min(back, refundable(invoice)) if top_up or wanted.paid_back == "refund" else zero
    to_wallet = back - refunded
    number = numbers.take(numbers.CREDIT_NOTES)
    note = CreditNote.objects.create(
        invoice=invoice,
        series_id=number.series_id,
        number=number.number,
        label=number.label,
        reason=reason,
        subtotal=subtotal.amount,
        tax=tax.amount,
        total=total.amount,
        off_due=off_due.amount,
        refunded=refunded.amount,
        to_wallet=to_wallet.amount,
        content_hash=_hash(number.label, invoice, credits, reason),
        issued_by=by[:254],
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(note=note, line_id=one.line.id, amount=one.amount.amount, tax=one.tax.amount) for one in credits
    )
    for method, amount in ways_back(invoice, refunded):
        Payment.objects.create(
            invoice=invoice,
            kind=REFUND,
            method=method,
            amount=amount.amount,
            currency=invoice.currency,
            reference=number.label,
            received_on=local_day(clock.now(), "UTC"),
            recorded_by=by[:254],
        )
    if not top_up:
        went = Back(off_due=off_due, refunded=refunded, to_wallet=to_wallet, promotional=zero)
        post_credit(invoice, subtotal, tax, _into_wallet(invoice, went, back, number.label, by))
    settle_state(invoice, credited=total, returned=back)
    record(
        INVOICE_CREDITED,
        actor=actor,
        target=("invoice", invoice.pk, invoice.label),
        changes={"credit_note": [None, number.label], "total": [None, total.json()]},
        reason=reason,
    )
    publish(
        InvoiceCredited(
            tenant_id=actor.tenant_id,
            invoice_id=invoice.pk,
            number=number.label,
            total=total.amount,
            currency=invoice.currency,
            reason=reason,
        )
    )
    return note.pk, number.label


def _into_wallet(invoice: Invoice, went: Back, back: Money, label: str, by: str) -> Back:
    """Make blocks of what goes into the wallet: paid credit, and promotional of what promotional credit had paid."""
    promotional = min(promotional_part(invoice, back), went.to_wallet)
    bought = went.to_wallet - promotional
    terms = Terms(starts_on=local_day(clock.now(), "UTC"), reason=label)
    block_id = None
    if bought:
        add(source=CREDIT_NOTE, amount=bought, by=by, terms=terms, invoice=invoice)
    if promotional:
        block_id = add(source=CREDIT_NOTE, kind=PROMOTIONAL, amount=promotional, by=by, terms=terms, invoice=invoice).pk
    return replace(went, to_wallet=bought, promotional=promotional, block_id=block_id)


def _checked(invoice: Invoice, parts: Sequence[Part]) -> list[_Credit]:
    """Return what is credited of each line, with its part of the tax."""
    lines = {line.id: line for line in frozen_lines({invoice.pk: invoice.currency})[invoice.pk]}
    before = _credited(invoice)
    wanted = {part.line_id: part.amount for part in parts} or _left(lines, before)
    faults = _faults(invoice, lines, before, wanted, named=len(wanted) == len(parts) or not parts)
    if faults:
        raise Invalid(fields={"lines": faults})
    credits = [_part(invoice, lines[line_id], before.get(line_id), amount) for line_id, amount in wanted.items()]
    left = Money((invoice.total or Decimal(0)) - invoice.credited, invoice.currency)
    over = sum((one.gross for one in credits), Money.zero(invoice.currency)) - left
    if over.amount > 0 and parts:
        text = (
            f"At most {left.plain()} with tax is left to credit of this invoice: other lines take off what these add."
        )
        raise Invalid(fields={"lines": [text]})
    return _without(invoice, credits, before, over) if over.amount > 0 else credits


def _part(invoice: Invoice, line: InvoiceLine, before: Any, amount: Decimal) -> _Credit:
    return _Credit(line, Money(amount, invoice.currency), _tax(line, before, amount))


def _without(invoice: Invoice, credits: Sequence[_Credit], before: Mapping[UUID, Any], over: Money) -> list[_Credit]:
    """Return what is credited of an invoice whose lines exceed it, as some take off: the last lines give the rest up."""
    kept = list(credits)
    while kept and over.amount > 0:
        last = kept.pop()
        target = last.gross - over
        over -= last.gross
        units = last.amount.minor * target.minor // last.gross.minor + 1 if target.amount > 0 else 0
        while units > 0:
            part = _part(invoice, last.line, before.get(last.line.id), money_of(units, invoice.currency).amount)
            if part.gross <= target:
                kept.append(part)
                break
            units -= 1
    return kept


def _left(lines: Mapping[UUID, InvoiceLine], before: Mapping[UUID, Any]) -> dict[UUID, Decimal]:
    """Return what is left to credit of each line, where something is."""
    left = {key: line.amount.amount - (before[key].amount if key in before else 0) for key, line in lines.items()}
    return {key: amount for key, amount in left.items() if amount > 0}


def _faults(
    invoice: Invoice,
    lines: Mapping[UUID, InvoiceLine],
    before: Mapping[UUID, Any],
    wanted: Mapping[UUID, Decimal],
    *,
    named: bool,
) -> list[str]:
    if not named:
        return ["Name each line once."]
    if not wanted:
        return ["Nothing is left to credit."]
    faults, left = [], _left(lines, before)
    for line_id, amount in wanted.items():
        if line_id not in lines:
            faults.append(f"{line_id} is no line of this invoice.")
        elif not amount.is_finite() or amount <= 0:
            faults.append("Give an amount above 0.")
        elif fault := fineness_fault(amount, invoice.currency):
            faults.append(fault)
        elif amount > (most := left.get(line_id, Decimal(0))):
            at_most = Money(most, invoice.currency).plain()
            faults.append(f"At most {at_most} is left of line {lines[line_id].n}.")
    return faults


def _tax(line: InvoiceLine, before: Any, amount: Decimal) -> Money:
    credited = before.amount if before else Decimal(0)
    taxed = Money(before.tax if before else Decimal(0), line.amount.currency)
    whole = line.tax or Money.zero(line.amount.currency)
    return tax_of_part(whole, line.amount, Money(credited + amount, line.amount.currency)) - taxed


def _credited(invoice: Invoice) -> dict[UUID, Any]:
    with connection.cursor() as cursor:
        cursor.execute(CREDITED, [current_tenant_id(), invoice.pk])
        return {row.line_id: row for row in named_rows(cursor)}


def _hash(label: str, invoice: Invoice, credits: Sequence[_Credit], reason: str) -> bytes:
    parts = [f"{one.line.id} {one.amount} {one.tax}" for one in credits]
    return sha256("\n".join([label, str(invoice.pk), invoice.label, reason, *parts]).encode()).digest()
