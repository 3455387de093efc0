"""Platform events of this app: figures that do not agree, payments that need a person, and disputes of invoices."""

from tenants.operators.platform_events.catalogue import PlatformEventType, register

DIFFERENCE = "reconciliation.difference"
NEEDS_PERSON = "payment.needs_person"
DISPUTED = "payment.disputed"
LOST = "payment.dispute_lost"
MAIL_REFUSED = "invoice.mail_refused"
LINE_DISPUTED = "invoice.disputed"
APPROVAL_WAITS = "invoice.approval_waits"

register(
    PlatformEventType(
        name=DIFFERENCE,
        title="The figures of an organisation do not agree",
        reads="invoices.view",
        acts="invoices.manage",
    ),
    PlatformEventType(
        name=NEEDS_PERSON,
        title="The payment provider refused a step of an invoice",
        reads="invoices.view",
        acts="invoices.manage",
    ),
    PlatformEventType(
        name=MAIL_REFUSED,
        title="An address refuses emails about an invoice",
        reads="invoices.view",
        acts="invoices.manage",
    ),
    PlatformEventType(
        name=DISPUTED,
        title="A payment of an invoice is disputed",
        reads="invoices.view",
        acts="invoices.manage",
    ),
    PlatformEventType(
        name=LOST,
        title="A dispute is lost: the payer's bank keeps the payment of an invoice",
        reads="invoices.view",
        acts="invoices.manage",
    ),
    PlatformEventType(
        name=APPROVAL_WAITS,
        title="An act on an invoice waits for a second operator",
        reads="invoices.view",
        acts="invoices.manage",
    ),
    PlatformEventType(
        name=LINE_DISPUTED,
        title="An organisation disputes a line of an invoice, or wrote about it",
        reads="invoices.view",
        acts="invoices.manage",
    ),
)
