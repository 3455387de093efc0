"""Voiding: a finalised invoice that nobody has paid or been credited for is withdrawn; its number stays used."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from django.db import transaction

from billing import second_person as rule
from billing.events import InvoiceVoided
from billing.invoices.finalising import locked
from billing.invoices.paying import settle_state
from billing.invoices.posting import post_owed
from billing.models import Invoice
from billing.models.invoicing import FINALISED, PAID, PERIOD, VOID
from billing.money import Money
from billing.rating.calendar import local_day
from billing.wallets.applying import may_undo, undo_credit
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict
from tenants.events.events import publish
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

INVOICE_VOIDED = AuditAction("billing.invoice.voided")


class CannotVoid(Conflict):
    """Only a finalised invoice that no money from outside paid, and without credit note, can be voided. Issue a credit note instead."""

    code = "invoice_not_voidable"


def void(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, reason: str, reissue: bool) -> UUID | None:
    """Void a finalised invoice; with `reissue`, open a draft of the same month in its place and return its id.

    Credit that it used goes back to the wallet. The month stays closed: the draft has the same usage, and the contract's
    details as they are now; a top-up is not issued again. Raises NotFound, CannotVoid, NeedsSecondPerson.
    """
    operator.require("invoices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        label, made = void_as(
            actor=Actor.system(tenant_id, "operator"),
            invoice_id=invoice_id,
            reason=reason,
            reissue=reissue,
            by=operator.label,
        )
        record_act(operator, INVOICE_VOIDED, target=("invoice", invoice_id, label), reason=reason)
    return made


@operation(INVOICE_VOIDED)
def void_as(
    *, actor: Actor, invoice_id: UUID, reason: str, reissue: bool, by: str, approved: Money | None = None
) -> tuple[str, UUID | None]:
    """Void as the system, `by` an operator, as `finalise_as` finalises; return the number and the new draft."""
    invoice = locked(invoice_id)
    if invoice.state not in (FINALISED, PAID) or invoice.credited or not may_undo(invoice):
        raise CannotVoid
    rule.check(Money(invoice.total or Decimal(0), invoice.currency), approved)
    reissue = reissue and invoice.kind == PERIOD
    before, now = invoice.state, clock.now()
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=actor.tenant_id)
    back = undo_credit(invoice, today=local_day(now, zone), by=by, reissued=reissue)
    settle_state(invoice, returned=back)
    Invoice.objects.filter(pk=invoice_id).update(state=FINALISED)
    subtotal, tax = (Money(getattr(invoice, name) or Decimal(0), invoice.currency) for name in ("subtotal", "tax"))
    post_owed(invoice, -subtotal, -tax, kind="voided")
    Invoice.objects.filter(pk=invoice_id).update(state=VOID, voided_at=now, voided_by=by[:254], void_reason=reason)
    made = None
    if reissue:
        made = Invoice.objects.create(
            period=invoice.period,
            starts_at=invoice.starts_at,
            ends_at=invoice.ends_at,
            currency=invoice.currency,
            replaces=invoice,
        ).pk
    changes = {"state": [before, VOID], "total": [(subtotal + tax).json(), None]}
    record(INVOICE_VOIDED, actor=actor, target=invoice, changes=changes, reason=reason)
    publish(InvoiceVoided(tenant_id=actor.tenant_id, invoice_id=invoice_id, number=invoice.label, reason=reason))
    return invoice.label, made
