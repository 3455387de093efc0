"""What operators do about a step that failed: have it repeated, or an invoice of earlier pushed."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from billing.collecting.steps import order
from billing.invoices.finalising import locked
from billing.models import Collection
from billing.models.collecting import FAILED, WAITING
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow
from tenants.errors import Conflict
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

COLLECTING_RETRIED = AuditAction("billing.collecting.retried", while_closing=True)


class NothingToRetry(Conflict):
    """Nothing of this invoice waits for a person at the payment provider. Reload the page."""

    code = "nothing_to_retry"


def retry(*, operator: Operator, tenant_id: UUID, invoice_id: UUID) -> None:
    """Have the failed steps of an invoice repeated, and those taken that it has not yet. Raises NotFound, NothingToRetry."""
    operator.require("invoices.manage")
    with transaction.atomic():
        label = _retry(actor=Actor.system(tenant_id, "operator"), invoice_id=invoice_id)
        record_act(operator, COLLECTING_RETRIED, target=("invoice", invoice_id, label))


@operation(COLLECTING_RETRIED)
def _retry(*, actor: Actor, invoice_id: UUID) -> str:
    invoice = locked(invoice_id)
    failed = list(Collection.objects.select_for_update(no_key=True).filter(invoice=invoice, state=FAILED))
    ordered = order(invoice_id)
    if not failed and not ordered:
        raise NothingToRetry
    for step in failed:
        # It failed for certain, and the provider keeps its answer for a day: the next attempt has another key.
        Collection.objects.filter(pk=step.pk).update(
            state=WAITING, attempt=step.attempt + 1, next_at=DatabaseNow(), error_code="", error=""
        )
    steps = [step.step for step in failed] or ["push"]
    record(COLLECTING_RETRIED, actor=actor, target=invoice, changes={"steps": [None, steps]})
    return invoice.label
