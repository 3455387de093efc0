"""Finalising: the month closes, the draft's lines are frozen, and the invoice gets its number."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import transaction

from billing import second_person as rule
from billing.events import InvoiceFinalised, InvoicePaid
from billing.invoices.freezing import issue, store_lines
from billing.invoices.parties import Party, seller
from billing.invoices.posting import post_owed
from billing.models import BillingPeriod, Contract, Invoice, MeterSeries, Reconciliation
from billing.models.invoicing import DRAFT, FINALISED, IN_REVIEW, PAID
from billing.models.periods import CLOSED, OPEN
from billing.money import Money
from billing.periods.months import last_closed, lock_to_close
from billing.queries.drafts import contract_in, drafts
from billing.rating.calendar import local_day
from billing.wallets.applying import use_credit
from billing.wallets.blocks import lock_wallet
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, NotFound
from tenants.events.events import publish
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

INVOICE_FINALISED = AuditAction("billing.invoice.finalised")
INVOICE_REVIEWED = AuditAction("billing.invoice.reviewed")


class InvoiceStands(Conflict):
    """This invoice is finalised. It never changes: credit a line, or void it and issue another."""

    code = "invoice_stands"


class PeriodRuns(Conflict):
    """The month has not ended yet. Finalise its invoice afterwards."""

    code = "period_runs"


class GraceRuns(Conflict):
    """The contract awaits late usage of this month for some more days."""

    code = "grace_runs"


class EarlierMonthOpen(Conflict):
    """An earlier month of this organisation has an invoice that is not finalised. Finalise that one first."""

    code = "earlier_month_open"


class InvoiceParked(Conflict):
    """The figures of this organisation do not agree. Nothing of it is finalised until they do."""

    code = "invoice_parked"


class ReadingsOpen(Conflict):
    """Values that lasted to the end of this month are still being counted. Finalise its invoice in a minute."""

    code = "readings_open"


class TaxUnknown(Conflict):
    """No rate of tax applies to this invoice yet. Enter one in the console under Invoices, Tax rates."""

    code = "tax_unknown"


def set_review(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, in_review: bool) -> None:
    """Mark a draft as in review, or as a draft again. Raises NotFound, InvoiceStands."""
    operator.require("invoices.manage")
    with transaction.atomic():
        _set_review(actor=Actor.system(tenant_id, "operator"), invoice_id=invoice_id, in_review=in_review)
        target = ("invoice", invoice_id, "to review" if in_review else "back to draft")
        record_act(operator, INVOICE_REVIEWED, target=target)


@operation(INVOICE_REVIEWED)
def _set_review(*, actor: Actor, invoice_id: UUID, in_review: bool) -> None:
    invoice = locked(invoice_id)
    if invoice.state not in (DRAFT, IN_REVIEW):
        raise InvoiceStands
    wanted = IN_REVIEW if in_review else DRAFT
    Invoice.objects.filter(pk=invoice_id).update(state=wanted)
    record(INVOICE_REVIEWED, actor=actor, target=invoice, changes={"state": [invoice.state, wanted]})


def finalise(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, early: str = "") -> str:
    """Close an invoice's month, freeze its lines and give it the next number; return that. Idempotent.

    It uses the wallet's credit, and carries a total below zero over into it. `early` is the reason for not awaiting late
    usage as long as the contract says. Raises NotFound, PeriodRuns, GraceRuns, EarlierMonthOpen, InvoiceParked,
    ReadingsOpen, SellerUnknown, TaxUnknown, NeedsSecondPerson, InvoiceStands for a void one.
    """
    operator.require("invoices.manage")
    early = check_reason(early) if early else ""
    with transaction.atomic():
        label, done = finalise_as(
            actor=Actor.system(tenant_id, "operator"),
            invoice_id=invoice_id,
            by=operator.label,
            issuer=seller(),
            early=early,
        )
        if done:
            record_act(operator, INVOICE_FINALISED, target=("invoice", invoice_id, label), reason=early)
    return label


@operation(INVOICE_FINALISED)
def finalise_as(
    *, actor: Actor, invoice_id: UUID, by: str, issuer: Party, early: str, approved: Money | None = None
) -> tuple[str, bool]:
    """Finalise as the system, `by` an operator; a total that a second one `approved` must be the one that it has now.

    Return the number, and whether it is new. The caller writes the operator log. Raises as `finalise`, and AmountChanged.
    """
    invoice = locked(invoice_id)
    if invoice.state in (FINALISED, PAID):
        unchanged("it is finalised")
        return invoice.label, False
    if invoice.state not in (DRAFT, IN_REVIEW):
        raise InvoiceStands
    now = clock.now()
    if invoice.ends_at > now:
        raise PeriodRuns
    until = grace_end(invoice.ends_at, contract_in(invoice.period))
    if until > now and not early:
        raise GraceRuns(f"Late usage is awaited until {until:%-d %B %Y, %H:%M} UTC. State why if you finalise earlier.")
    _check_reconciled()
    if MeterSeries.objects.filter(due_at__lte=invoice.ends_at).exists():
        raise ReadingsOpen
    _close(invoice.period, by)
    lock_wallet(invoice.currency, make=False)
    draft = drafts([(invoice.pk, invoice.period, invoice.currency)])[invoice.pk]
    if draft.untaxed:
        raise TaxUnknown(draft.untaxed)
    rule.check(draft.total, approved)
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=current_tenant_id())
    today = local_day(now, zone)
    store_lines(invoice.pk, draft.lines)
    post_owed(invoice, draft.subtotal, draft.tax)
    use_credit(invoice, draft, today=today, by=by)
    # Billing details may change meanwhile: the invoice names the customer whose country decided its tax.
    label, due_on = issue(invoice, draft, contract=draft.contract, issuer=issuer, today=today, by=by)
    if draft.covered == draft.total:
        Invoice.objects.filter(pk=invoice.pk).update(state=PAID)
    record(
        INVOICE_FINALISED,
        actor=actor,
        target=("invoice", invoice.pk, label),
        changes={
            "state": [invoice.state, FINALISED],
            "total": [None, draft.total.json()],
            **({"paid_by_credit": [None, draft.covered.json()]} if draft.covered else {}),
        },
    )
    publish(
        InvoiceFinalised(
            tenant_id=actor.tenant_id,
            invoice_id=invoice.pk,
            number=label,
            period=invoice.period.isoformat(),
            total=draft.total.amount,
            currency=invoice.currency,
            due_on=due_on.isoformat(),
        )
    )
    if draft.covered:
        publish(
            InvoicePaid(
                tenant_id=actor.tenant_id,
                invoice_id=invoice.pk,
                number=label,
                amount=draft.covered.amount,
                due=(draft.total - draft.covered).amount,
                currency=invoice.currency,
            )
        )
    return label, True


def grace_end(ends_at: datetime, contract: Contract | None) -> datetime:
    """Return until when late usage of a month that ends then is awaited under a contract."""
    return ends_at + timedelta(days=contract.grace_days if contract else 0)


def locked(invoice_id: UUID) -> Invoice:
    """Return an invoice of the open scope, locked. Raises NotFound."""
    invoice = Invoice.objects.select_for_update(no_key=True).filter(pk=invoice_id).first()
    if invoice is None:
        raise NotFound
    return invoice


def _check_reconciled() -> None:
    checked = Reconciliation.objects.first()
    if checked is not None and checked.faults:
        raise InvoiceParked(f"The figures of this organisation do not agree: {checked.faults[0]}")


def _close(period: date, by: str) -> None:
    """Close a month for usage, and so all before it, which must be finalised."""
    lock_to_close(period)
    closed = last_closed()
    if closed is not None and closed >= period:
        return
    earlier = Invoice.objects.filter(period__lt=period, state__in=[DRAFT, IN_REVIEW], kind="period")
    if (first := earlier.order_by("period").values_list("period", flat=True).first()) is not None:
        raise EarlierMonthOpen(f"{first:%B %Y} is not finalised. Finalise that invoice first.")
    months = BillingPeriod.objects.filter(period__lte=period, state=OPEN)
    months.update(state=CLOSED, closed_at=clock.DatabaseNow(), closed_by=by[:254])
