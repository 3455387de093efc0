"""How a step ended: it is stored with what follows from it, in one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from billing.collecting.doing import Outcome
from billing.collecting.reading import Work
from billing.collecting.steps import order, order_charge
from billing.invoices.finalising import locked
from billing.models import Collection, PaymentAccount
from billing.models.collecting import DECLINED, DONE, FAILED, PUSH, WAITING
from billing.models.invoicing import FINALISED
from billing.payments.errors import Declined, GatewayRefused
from billing.platform_events import NEEDS_PERSON
from tenants import clock
from tenants.clock import DatabaseNow
from tenants.errors import ExchequerError
from tenants.isolation.scoping import tenant_scope
from tenants.notifications.notifications import notify
from tenants.operators.platform_events.raising import raise_event

NOTICE = "payment"


def done(work: Work, outcome: Outcome) -> None:
    """Store that a step took effect. A pushed invoice is read back at once, and charged if the tenant wants that."""
    step = work.step
    with tenant_scope(work.tenant_id):
        invoice = locked(work.invoice.pk)
        _store(
            step, state=DONE, finished_at=DatabaseNow(), external_id=outcome.external_id, url=outcome.url, error="",
            error_code="",
        )  # fmt: skip
        # What was just done may have brought money, or shown that it arrived.
        Collection.objects.filter(invoice=invoice, step=PUSH).update(look_at=DatabaseNow())
        if step.step == PUSH:
            order(invoice.pk)
            if invoice.state == FINALISED and PaymentAccount.objects.filter(autopay=True).exists():
                order_charge(invoice, attempt=1)


def declined(work: Work, error: Declined) -> None:
    """Store that a charge was declined, and notify who manages invoices: the next attempt needs the payer."""
    text = f"{work.invoice.label} could not be charged: {error.message}"
    with tenant_scope(work.tenant_id):
        locked(work.invoice.pk)
        _store(work.step, state=DECLINED, finished_at=DatabaseNow(), **_fault(error))
        notify(
            permission="invoices.manage",
            kind=NOTICE,
            title=f"The payment of {work.invoice.label} was declined",
            body=f"{text} Pay it on its page, or choose another payment method.",
            path=f"invoices/{work.invoice.pk}/",
        )


def refused(work: Work, error: GatewayRefused) -> None:
    """Store that a step needs a person, and raise a platform event."""
    with tenant_scope(work.tenant_id):
        locked(work.invoice.pk)
        _store(work.step, state=FAILED, **_fault(error))
        needs_person(work.step, f"{work.step.tries}")


def put_off(work: Work, seconds: int, error: ExchequerError) -> None:
    """Store when a step is repeated: its outcome is unknown, or the provider accepts it later."""
    with tenant_scope(work.tenant_id):
        Collection.objects.filter(pk=work.step.pk, state=WAITING).update(
            next_at=clock.now() + timedelta(seconds=seconds), **_fault(error)
        )


def needs_person(step: Collection, occurrence: str) -> None:
    """Raise a platform event about a step that failed, within its scope."""
    raise_event(
        NEEDS_PERSON,
        of=("invoice", step.invoice_id),
        path=f"invoices/{step.invoice_id}/",
        once=f"{step.pk} {occurrence}",
        about=step.tenant_id,
        data={"step": step.step},
    )


def _store(step: Collection, **values: Any) -> None:
    Collection.objects.filter(pk=step.pk).update(**values)


def _fault(error: ExchequerError) -> dict[str, str]:
    reason = getattr(error, "reason", "") or getattr(error, "decline_code", "") or error.code
    return {"error_code": str(reason)[:60], "error": error.message[:400]}
