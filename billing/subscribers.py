"""Event subscribers: for other apps' events, and for this app's own that are handled after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from billing import provisioning
from billing.budgets import alerts
from billing.collecting import steps
from billing.events import (
    BudgetThresholdReached,
    InvoiceCredited,
    InvoiceDisputed,
    InvoiceEvent,
    InvoiceFinalised,
    InvoiceMailDue,
    InvoicePaid,
    InvoiceSendOrdered,
    InvoiceVoided,
    PaymentReversed,
    TopUpAsked,
    UsageWaived,
)
from billing.invoices import topping_up
from billing.mailing import orders, sending
from billing.models.disputes import TENANT
from billing.platform_events import LINE_DISPUTED
from billing.usage import draft_bounds
from tenants.access.actor import Actor
from tenants.events.events import TenantCreated, TimeZoneChanged, subscribe
from tenants.notifications.notifications import notify
from tenants.operators.platform_events.raising import raise_event
from tenants.webhooks.catalogue import EventType, Fact, register


@subscribe(TenantCreated)
def give_first_prices(event: TenantCreated) -> None:
    """Give a new tenant its meters, and a contract unless an operator chose one."""
    provisioning.provision_defaults(event.tenant_id)


@subscribe(TimeZoneChanged)
def move_end_of_month(event: TimeZoneChanged) -> None:
    """Let the draft of the running month end when the month does."""
    draft_bounds.follow_time_zone()


def collect(event: Any) -> None:
    """Order what an invoice needs at the payment provider."""
    steps.order(event.invoice_id)


for _of_invoice in (InvoiceFinalised, InvoiceVoided, InvoiceCredited, InvoicePaid, PaymentReversed):
    subscribe(_of_invoice)(collect)


@subscribe(InvoiceFinalised)
def send_new_invoice(event: InvoiceFinalised) -> None:
    """Order the email of a new invoice, if the seller wants that."""
    orders.send_if_wanted(event.invoice_id)


@subscribe(InvoiceSendOrdered)
def send_ordered_invoice(event: InvoiceSendOrdered) -> None:
    """Order the email that an operator wants."""
    orders.order_mails(event.invoice_id, orders.INVOICE)


@subscribe(InvoiceMailDue)
def mail_invoice(event: InvoiceMailDue) -> None:
    """Send one email about an invoice."""
    sending.send(event)


@subscribe(BudgetThresholdReached)
def notify_threshold(event: BudgetThresholdReached) -> None:
    """Notify those who manage budgets."""
    alerts.handle_threshold(event)


@subscribe(TopUpAsked)
def invoice_top_up(event: TopUpAsked) -> None:
    """Make the invoice of a top-up."""
    topping_up.issue(actor=Actor.system(event.tenant_id, "billing"), top_up_id=event.top_up_id)


@subscribe(InvoiceDisputed)
def pass_dispute_on(event: InvoiceDisputed) -> None:
    """Notify the side that did not write: operators by a platform event, else those who manage invoices."""
    if event.side == TENANT:
        raise_event(
            LINE_DISPUTED,
            of=("dispute", event.dispute_id),
            path=f"disputes/{event.dispute_id}/",
            about=event.tenant_id,
            data={"state": event.state, "line": event.line},
        )
        return
    words = {"open": "The seller wrote about", "agreed": "The seller agrees to", "declined": "The seller declines"}
    notify(
        permission="invoices.manage",
        kind="dispute",
        title=f"{words[event.state]} your dispute of line {event.line}",
        path=f"disputes/{event.dispute_id}/",
    )


def _threshold(event: BudgetThresholdReached) -> Fact | None:
    if event.quiet:
        return None
    figures = {"percent": event.percent, "spent": str(event.spent), "limit": str(event.limit)}
    data = figures | {"currency": event.currency, "period": event.period}
    return Fact(type="budget.alert", kind="budget", id=event.budget_id, path=f"budgets/{event.budget_id}/", data=data)


register(
    BudgetThresholdReached,
    EventType("budget.alert", "A budget crossed one of its thresholds", "budgets.view"),
    describe=_threshold,
)
register(
    UsageWaived,
    EventType("usage.waived", "Usage was waived because the platform failed", "spend.view"),
    describe=lambda event: Fact(
        type="usage.waived",
        kind="attempt",
        id=event.attempt_id,
        path="invoice/",
        data={"amount": str(event.amount), "currency": event.currency},
    ),
)


def invoice_fact(type_: str, invoice_id: UUID, **data: object) -> Fact:
    """Return what a webhook says of an invoice, with the address of its page."""
    path = f"invoices/{invoice_id}/"
    return Fact(type=type_, kind="invoice", id=invoice_id, path=path, data={name: str(it) for name, it in data.items()})


#: What webhooks receive of an invoice: the type, its title, and the fields of the event that hold no text of a person.
INVOICE_EVENTS: dict[type[InvoiceEvent], tuple[str, str, Sequence[str]]] = {
    InvoiceFinalised: (
        "invoice.finalised",
        "An invoice was finalised",
        ("number", "period", "total", "currency", "due_on"),
    ),
    InvoiceVoided: ("invoice.voided", "An invoice was voided", ("number",)),
    InvoiceCredited: ("invoice.credited", "A credit note was issued", ("number", "total", "currency")),
    InvoiceDisputed: (
        "invoice.disputed",
        "A dispute of a line was opened, answered or ended",
        ("dispute_id", "line", "side", "state"),
    ),
    InvoicePaid: ("invoice.paid", "A payment arrived for an invoice", ("number", "amount", "due", "currency")),
    PaymentReversed: (
        "invoice.payment_reversed",
        "A payment that was wrongly recorded is reversed, or the payer's bank took one back",
        ("number", "amount", "due", "currency"),
    ),
}


def _pass_on(event_class: type[InvoiceEvent], name: str, title: str, fields: Sequence[str]) -> None:
    def describe(event: InvoiceEvent) -> Fact:
        return invoice_fact(name, event.invoice_id, **{field: getattr(event, field) for field in fields})

    register(event_class, EventType(name, title, "invoices.view"), describe=describe)


for each, described in INVOICE_EVENTS.items():
    _pass_on(each, *described)
