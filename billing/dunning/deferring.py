"""Deferring the stop of launches: an operator gives an organisation more time for one invoice, with a reason."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

from django.db import transaction

from billing.invoices.finalising import locked
from billing.models import StopDeferral
from billing.models.invoicing import FINALISED
from billing.rating.calendar import local_day
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

STOP_DEFERRED = AuditAction("billing.launch_stop.deferred")
LONGEST_DAYS = 365


class NotOverdue(Conflict):
    """Only an invoice that waits for its payment can stop launches."""

    code = "invoice_not_payable"


def defer(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, until: date, reason: str) -> None:
    """Let launches go on despite an unpaid invoice, up to and including a day of the tenant; a later call replaces it.

    A day before today ends a deferral. Raises NotFound, Invalid, NotOverdue.
    """
    operator.require("invoices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        label = _defer(
            actor=Actor.system(tenant_id, "operator"),
            invoice_id=invoice_id,
            until=until,
            reason=reason,
            by=operator.label,
        )
        record_act(operator, STOP_DEFERRED, target=("invoice", invoice_id, f"{label} until {until}"), reason=reason)


@operation(STOP_DEFERRED)
def _defer(*, actor: Actor, invoice_id: UUID, until: date, reason: str, by: str) -> str:
    invoice = locked(invoice_id)
    if invoice.state != FINALISED:
        raise NotOverdue
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=actor.tenant_id)
    today = local_day(clock.now(), zone)
    if not today - timedelta(days=1) <= until <= today + timedelta(days=LONGEST_DAYS):
        raise Invalid(
            fields={"until": [f"Use a day within the next {LONGEST_DAYS} days, or yesterday to end a deferral."]}
        )
    newest = StopDeferral.objects.filter(invoice=invoice).order_by("-id").first()
    StopDeferral.objects.create(invoice=invoice, until=until, reason=reason, deferred_by=by[:254])
    before = str(newest.until) if newest is not None else None
    record(STOP_DEFERRED, actor=actor, target=invoice, changes={"until": [before, str(until)]}, reason=reason)
    return invoice.label
