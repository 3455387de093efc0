"""Events that billing publishes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from tenants.events.events import Event, ExternalEvent


@dataclass(frozen=True, kw_only=True)
class BudgetThresholdReached(Event):
    """Spending crossed a share (`percent`) of a budget in the local month that starts on `period`.

    `quiet`: the same charge crossed a higher threshold, whose report covers both.
    """

    budget_id: UUID
    period: str
    percent: int
    spent: Decimal
    limit: Decimal
    currency: str
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class UsageWaived(Event):
    """The usage of an attempt is waived, because the platform failed."""

    attempt_id: UUID
    amount: Decimal
    currency: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class InvoiceEvent(Event):
    """What happened to an invoice."""

    invoice_id: UUID


@dataclass(frozen=True, kw_only=True)
class InvoiceFinalised(InvoiceEvent):
    """An invoice has its number and never changes; `due_on` is the local day by which it is to be paid."""

    number: str
    period: str
    total: Decimal
    currency: str
    due_on: str


@dataclass(frozen=True, kw_only=True)
class InvoiceVoided(InvoiceEvent):
    """A finalised invoice is withdrawn; its number stays used."""

    number: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class InvoiceCredited(InvoiceEvent):
    """A credit note was issued on an invoice; `number` is the note's."""

    number: str
    total: Decimal
    currency: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class InvoicePaid(InvoiceEvent):
    """A payment arrived for an invoice; `due` is what is left to pay."""

    number: str
    amount: Decimal
    due: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True)
class PaymentReversed(InvoiceEvent):
    """A payment that was wrongly recorded by hand is reversed, or the payer's bank took one back permanently; `due` is what is to
    be paid again.
    """

    number: str
    amount: Decimal
    due: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True)
class TopUpAsked(Event):
    """A tenant, or the rule of its wallet, asks for the invoice of a top-up."""

    top_up_id: UUID


@dataclass(frozen=True, kw_only=True)
class InvoiceSendOrdered(Event):
    """An operator wants an invoice sent by email."""

    invoice_id: UUID


@dataclass(frozen=True, kw_only=True)
class InvoiceMailDue(ExternalEvent):
    """An email about an invoice is due for one address; `kind` is invoice, reminder or final, `order_id` names the email."""

    invoice_id: UUID
    to: str
    kind: str
    order_id: UUID


@dataclass(frozen=True, kw_only=True)
class InvoiceDisputed(InvoiceEvent):
    """A dispute of a line was opened, written in or ended: by this side (tenant, seller), and is in this state now."""

    dispute_id: UUID
    line: int
    side: str
    state: str
