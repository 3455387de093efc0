"""Send an email about an invoice: no transaction is open while its document is made and the mail server is asked."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from billing.documents import downloads
from billing.documents.compiling import typeset
from billing.documents.finding import document_of_invoice
from billing.events import InvoiceMailDue
from billing.invoices.parties import dunning_schedule
from billing.mailing.orders import FINAL, REMINDER, STOPPED
from billing.models import Invoice
from billing.models.invoicing import FINALISED, PAID
from billing.models.settling import STOP
from billing.platform_events import MAIL_REFUSED
from billing.queries.invoices import InvoiceView
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.notifications import emails
from tenants.operators.platform_events.raising import raise_event

SENT = AuditAction("billing.invoice.sent", while_closing=True)


def send(event: InvoiceMailDue) -> None:
    """Send one email about an invoice, and record that. Raises the mail client's errors: it is then sent again.

    Nothing is sent of an invoice that is void, and no reminder of one that is paid.
    """
    with tenant_scope(event.tenant_id):
        view, sheet = document_of_invoice(event.invoice_id)
        slug, name = Tenant.objects.values_list("slug", "name").get(pk=event.tenant_id)
    if view.state not in ((FINALISED,) if event.kind in (REMINDER, FINAL, STOPPED) else (FINALISED, PAID)):
        return
    attached = (downloads.filename(view, ".pdf"), typeset(sheet))
    url = emails.link(f"t/{slug}/invoices/{event.invoice_id}/")
    delivered = emails.send(
        event.to, _subject(event.kind, view), _text(event.kind, view, name, url), event.order_id, attached
    )
    actor = Actor.system(event.tenant_id, "mail")
    if delivered:
        _sent(actor=actor, invoice_id=event.invoice_id, kind=event.kind)
    else:
        _refused(event)


@operation(SENT)
def _sent(*, actor: Actor, invoice_id: UUID, kind: str) -> None:
    invoice = Invoice.objects.get(pk=invoice_id)
    Invoice.objects.filter(pk=invoice_id, sent_at=None).update(sent_at=DatabaseNow())
    record(SENT, actor=actor, target=invoice, changes={"email": [None, kind]})


def _refused(event: InvoiceMailDue) -> None:
    """Raise that the address is refused permanently: somebody enters another one."""
    with tenant_scope(event.tenant_id):
        raise_event(
            MAIL_REFUSED,
            of=("invoice", event.invoice_id),
            path=f"invoices/{event.invoice_id}/",
            once=event.order_id,
            about=event.tenant_id,
        )


def _subject(kind: str, view: InvoiceView) -> str:
    words = {REMINDER: "Reminder: invoice", FINAL: "Final notice: invoice", STOPPED: "Launches are stopped: invoice"}
    what = words.get(kind, "Invoice")
    return f"{what} {view.number} from {view.seller.get('name', '')}"


def _text(kind: str, view: InvoiceView, organisation: str, url: str) -> str:
    due = f"{view.due_on.day} {view.due_on:%B %Y}" if view.due_on else ""
    first = {
        REMINDER: f"Invoice {view.number} was due on {due}, and is not paid.",
        FINAL: f"Invoice {view.number} was due on {due}, and is still not paid. This is the last reminder.{_warning(view)}",
        STOPPED: f"Invoice {view.number} was due on {due}, and is not paid. Until it is, nothing new is launched or deployed. "
        "What runs goes on.",
    }.get(kind, f"Invoice {view.number} for {view.period:%B %Y} is attached.")
    asked = f"Amount due: {view.due.plain()}, by {due}." if view.due else "It is paid: nothing is due."
    paragraphs = [first, asked, f"The invoice and ways to pay it: {url}"]
    if view.due and (pay := view.seller.get("how_to_pay")):
        paragraphs.append(f"How to pay:\n{pay}")
    foot = f"-- \nYou receive this email because your address is the billing address, or you manage invoices, of {organisation}."
    return "\n\n".join([*paragraphs, foot]) + "\n"


def _warning(view: InvoiceView) -> str:
    """Return from when launches stop if the invoice stays unpaid; empty without such a step."""
    stop = next((one for one in dunning_schedule() if one.step == STOP), None)
    if stop is None or view.due_on is None:
        return ""
    day = view.due_on + timedelta(days=stop.days)
    return f" From {day.day} {day:%B %Y} nothing new is launched or deployed until it is paid."
