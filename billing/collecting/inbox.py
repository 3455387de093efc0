"""Events of the payment provider: the web process stores each once, the ops worker handles it.

What an event says about money is not believed: it makes the worker read the object back. So the order, repetitions and
losses of events change nothing but the time at which a payment is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from billing.collecting import disputes
from billing.collecting.finishing import needs_person
from billing.models import Collection, GatewayEvent, Payment, PaymentAccount
from billing.models.collecting import DISPUTE_KINDS, FAILED, GIVE_BACK, PUSH
from billing.payments.chosen import payment_gateway
from billing.payments.events import EventKind, PaymentEvent
from tenants import clock
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.parsing import uuid_in

BATCH = 500
#: How long an event of a dispute waits for the payment that it names: it carries no id of ours, and may arrive before
#: the payment is read back.
UNKNOWN_FOR = timedelta(hours=1)
REFUND_FAILED = "refund_failed"
log = structlog.get_logger(__name__)


def store(event: PaymentEvent) -> None:
    """Store a verified event, unless it is stored (web process, in no scope)."""
    row = GatewayEvent(
        id=event.id,
        kind=event.kind,
        tenant_given=event.tenant_id[:64],
        our_id=event.our_id[:120],
        external_id=event.external_id[:255],
        payment=event.payment[:255],
        customer=event.customer[:255],
        amount=event.amount.amount if event.amount and event.kind in DISPUTE_KINDS else None,
        currency=event.amount.currency if event.amount and event.kind in DISPUTE_KINDS else "",
        occurred_at=event.occurred_at,
    )
    GatewayEvent.objects.bulk_create([row], ignore_conflicts=True)


def handle_waiting() -> int:
    """Handle the events that wait, the earliest first; return how many (control role)."""
    waiting = GatewayEvent.objects.filter(handled_at=None).order_by("received_at").values_list("id", flat=True)
    return sum(_handled(event_id) for event_id in list(waiting[:BATCH]))


def _handled(event_id: str) -> bool:
    """Handle one event once: its effect and the mark that it is handled are one transaction."""
    try:
        with transaction.atomic():
            rows = GatewayEvent.objects.select_for_update(no_key=True, skip_locked=True)
            event = rows.filter(id=event_id, handled_at=None).first()
            if event is None:
                return False
            tenant_id = _tenant_of(event)
            if tenant_id is not None:
                with tenant_scope(tenant_id):
                    _apply(event)
            elif event.kind in DISPUTE_KINDS and event.received_at > clock.now() - UNKNOWN_FOR:
                return False
            GatewayEvent.objects.filter(id=event_id).update(handled_at=DatabaseNow(), about=tenant_id)
    except Exception:
        log.exception("gateway_event.failed", event_id=event_id)
        return False
    return True


def _tenant_of(event: GatewayEvent) -> UUID | None:
    """Return whose object an event is about: by what we put on it, by the customer, by the payment; None for no tenant's."""
    given = uuid_in(event.tenant_given)
    with all_tenants("an event is about a tenant that is not known yet"):
        known = Q(tenant_id=given) | Q(external_id=event.customer) if event.customer else Q(tenant_id=given)
        account = PaymentAccount.objects.filter(known).values_list("tenant_id", flat=True).first()
        if account is not None or not event.payment:
            return account
        paid = Payment.objects.filter(method=payment_gateway().name, external_id=event.payment)
        return paid.values_list("tenant_id", flat=True).first()


def _apply(event: GatewayEvent) -> None:
    if event.kind in DISPUTE_KINDS:
        disputes.apply(event)
    elif event.kind == EventKind.REFUND_FAILED:
        _refund_failed(event)
    elif event.kind == EventKind.METHOD_SAVED:
        PaymentAccount.objects.update(look_at=DatabaseNow())
    else:
        about = Q(external_id=event.external_id) | Q(object_id=uuid_in(event.our_id))
        _look_at(Collection.objects.filter(about, step=PUSH).values_list("id", flat=True))


def _look_at(pushes: Iterable[UUID]) -> None:
    Collection.objects.filter(id__in=list(pushes)).update(look_at=DatabaseNow())


def _refund_failed(event: GatewayEvent) -> None:
    """Let a person return the money that the provider could not: a new refund, or a transfer."""
    refunds = Collection.objects.filter(step=GIVE_BACK).filter(
        Q(external_id=event.external_id) | Q(object_id=uuid_in(event.our_id.partition(":")[0]))
    )
    step = refunds.first()
    if step is None or (step.state == FAILED and step.error_code == REFUND_FAILED):
        return
    words = "The payment provider could not return the money: the bank of the payer refused it."
    Collection.objects.filter(pk=step.pk).update(state=FAILED, error_code=REFUND_FAILED, error=words)
    needs_person(step, event.id)
