"""Send the reminders that are due: each step of the schedule once for each unpaid invoice, by the database's clock."""

from __future__ import annotations

from uuid import UUID

from billing.collecting.steps import order_charge
from billing.invoices.finalising import locked
from billing.invoices.parties import dunning_schedule
from billing.invoices.reminders import Step, reached
from billing.mailing.orders import FINAL, REMINDER, STOPPED, order_mails
from billing.models import Collection, Invoice, PaymentAccount, Reminder
from billing.models.collecting import CHARGE, DECLINED
from billing.models.invoicing import FINALISED, PERIOD
from billing.models.settling import FINAL_NOTICE, STOP
from billing.queries.owed.collecting import kept_by_banks
from billing.rating.calendar import local_day
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.isolation.locks import alone
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Tenant
from tenants.notifications.notifications import notify

REMINDED = AuditAction("billing.invoice.reminded", while_closing=True)
#: Which email a step sends, if not a reminder.
EMAILS = {FINAL_NOTICE: FINAL, STOP: STOPPED}


def remind_all() -> int:
    """Send the reminders that are due in all tenants; return how many invoices were reminded of (control role).

    A failure of one tenant stops no other, and is raised at the end (SweepFailed). Of two workers one does it.
    """
    done = 0
    with alone("billing.dunning") as mine:
        steps = dunning_schedule() if mine else []
        tenants = Tenant.objects.order_by("id").values_list("id", flat=True) if steps else []
        with sweep("reminders of unpaid invoices") as each:
            for tenant_id in each.over(tenants):
                with each(tenant=tenant_id):
                    done += _remind(tenant_id, steps)
    return done


def _remind(tenant_id: UUID, steps: list[Step]) -> int:
    with tenant_scope(tenant_id):
        zone = Tenant.objects.values_list("timezone", flat=True).get(pk=tenant_id)
        today = local_day(clock.now(), zone)
        unpaid = Invoice.objects.filter(state=FINALISED, due_on__lt=today).order_by("due_on", "id")
        overdue = [(pk, (today - due_on).days) for pk, due_on in unpaid.values_list("id", "due_on") if due_on]
    actor = Actor.system(tenant_id, "dunning")
    return sum(_remind_of(actor=actor, invoice_id=pk, overdue=days, steps=steps) for pk, days in overdue)


@operation(REMINDED)
def _remind_of(*, actor: Actor, invoice_id: UUID, overdue: int, steps: list[Step]) -> bool:
    invoice = locked(invoice_id)
    done = [Step(*one) for one in Reminder.objects.filter(invoice=invoice).values_list("days", "step")]
    # An unpaid top-up is no debt: it is reminded of, and stops nothing. What a bank took of a used one is a debt.
    owed = invoice.kind == PERIOD or bool(kept_by_banks(invoice.pk))
    steps = [one for one in steps if owed or one.step != STOP]
    now = reached(steps, overdue, done)
    if invoice.state != FINALISED or not now:
        unchanged("no step is due")
        return False
    last = now[-1]
    # Of several that are reached at once, as after a stop of the worker, the last one is sent.
    Reminder.objects.bulk_create(
        Reminder(invoice=invoice, days=one.days, step=one.step, sent=one == last) for one in now
    )
    order_mails(invoice_id, EMAILS.get(last.step, REMINDER))
    _charge_again(invoice)
    stops = last.step == STOP
    if stops or invoice.customer.get("email"):  # else the email itself went to those who manage invoices
        notify(
            permission="invoices.manage",
            kind="payment",
            title=f"{invoice.label} is past due",
            body=f"It was due {overdue} days ago. {'New launches and deploys wait for it. ' if stops else ''}Pay it on its page.",
            path=f"invoices/{invoice_id}/",
        )
    record(REMINDED, actor=actor, target=invoice, changes={"step": [None, last.stored()]})
    return True


def _charge_again(invoice: Invoice) -> None:
    """Order another charge where the tenant wants charges and the last one was declined."""
    charges = Collection.objects.filter(invoice=invoice, step=CHARGE)
    last = charges.order_by("-attempt").first()
    wanted = PaymentAccount.objects.filter(tenant_id=current_tenant_id(), autopay=True).exists()
    if wanted and last is not None and last.state == DECLINED:
        order_charge(invoice, attempt=last.attempt + 1)
