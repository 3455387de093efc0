"""Requests to a payment provider and its answers. Pure; amounts are `Money`, or whole minor units where a line says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from uuid import UUID

from billing.money import EXACT, Money, minor_decimals

InvoiceState = Literal["draft", "open", "paid", "void", "uncollectible"]
Purpose = Literal["invoice", "top_up", "method"]


class Kind(StrEnum):
    """What an object at the provider is."""

    CUSTOMER = "customer"
    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"
    REFUND = "refund"
    CHARGE = "charge"
    CHECKOUT = "checkout"


@dataclass(frozen=True, slots=True)
class Timing:
    """When the first call for an object was sent, as its row says, and the present time; both from the database's clock.

    The caller commits `first_at` before the first call. It decides the idempotency keys: see `attempts`. `again`: how often
    a person had the step repeated after the provider refused it.
    """

    first_at: datetime
    now: datetime
    again: int = 0


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays: one customer for each tenant."""

    tenant_id: UUID
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice or a credit note; `amount` in whole minor units of ISO 4217, negative for a credit."""

    our_id: str
    description: str
    amount: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A finalised invoice of ours, to be collected. The same `our_id` always has the same content."""

    our_id: str
    tenant_id: UUID
    customer: str
    currency: str
    number: str
    days_until_due: int
    lines: tuple[Line, ...]

    @property
    def total(self) -> Money:
        """The sum of the lines."""
        return from_minor(sum(line.amount for line in self.lines), self.currency)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A collected invoice at the provider; `payment_url` is the page where it can be paid, if there is one."""

    external_id: str
    payment_url: str
    total: Money
    state: InvoiceState


@dataclass(frozen=True, slots=True)
class InvoiceRef:
    """An invoice that was pushed."""

    our_id: str
    tenant_id: UUID
    external_id: str


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A credit of ours on a finalised invoice; amounts of lines are positive.

    On an unpaid invoice it lowers the amount due. What was paid already is returned by the provider with `refund`, else
    outside it.
    """

    our_id: str
    invoice: InvoiceRef
    currency: str
    lines: tuple[Line, ...]
    refund: bool = False

    @property
    def total(self) -> Money:
        """The sum of the lines."""
        return from_minor(sum(line.amount for line in self.lines), self.currency)


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund of a payment, named by its external id."""

    our_id: str
    tenant_id: UUID
    payment: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge of a saved payment method; `attempt` counts from 1 and rises after `Declined`."""

    our_id: str
    tenant_id: UUID
    customer: str
    method: str
    amount: Money
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Payment:
    """A successful payment."""

    external_id: str
    amount: Money


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """A page for one payment, or to save a payment method (purpose `method`: the amount is zero, in the currency to pay in).

    A pushed invoice has a page of its own, `Pushed.payment_url`: purpose `invoice` is for one that was not pushed.
    """

    our_id: str
    tenant_id: UUID
    customer: str
    purpose: Purpose
    amount: Money
    description: str
    success_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True)
class CheckoutPage:
    """A page of the provider that a person opens."""

    external_id: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """A saved payment method, as people recognise it: `visa` ending in `4242`."""

    external_id: str
    brand: str
    last4: str
    expires: str
    default: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """An object to find. `within` is the external id of what it belongs to, and narrows the search.

    The customer for invoices, charges and pages; the invoice for credit notes; the payment for refunds. Without it the
    provider's search answers, which lags behind by up to a minute.
    """

    kind: Kind
    our_id: str
    within: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An object as the provider has it."""

    kind: Kind
    our_id: str
    external_id: str
    state: str
    amount: Money | None


def from_minor(units: int, currency: str) -> Money:
    """Return an amount given in whole minor units of ISO 4217."""
    return Money(Decimal(units).scaleb(-minor_decimals(currency), EXACT), currency)
