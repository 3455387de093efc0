"""What a request of reported usage leaves beside the usage: its batch, what waits for review, and the audit entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.models import HeldEvent, UsageBatch
from billing.models.outside import ACCEPTED, BEFORE_PRICES, OLD, UNPRICED, WAITING
from billing.reported.sender_limits import SenderToday
from billing.usage.intervals import KeyClaim
from tenants.access.actor import Actor
from tenants.audit import AuditAction, record
from tenants.isolation.scoping import current_tenant_id
from tenants.notifications.notifications import notify
from tenants.quotas import person_of

USAGE_RECEIVED = AuditAction("billing.usage.received")
WHY = {
    OLD: "older than 35 days",
    BEFORE_PRICES: "from before the first price",
    UNPRICED: "no price matches",
}


STORE = """
INSERT INTO billing_usagebatch (id, tenant_id, sender_kind, sender_id, sender, person, accepted, held, voided, amount, currency)
VALUES (%(id)s, %(tenant)s, %(sender_kind)s, %(sender_id)s, %(sender)s, %(person)s, %(accepted)s, %(held)s, 0, %(amount)s, %(currency)s)
"""


def new_batch(actor: Actor, batch_id: UUID, currency: str) -> UsageBatch:
    """Return the batch of a sender's request, unsaved: nothing is counted or held yet."""
    return UsageBatch(
        id=batch_id,
        sender_kind=actor.kind,
        sender_id=actor.owner_id,
        sender=actor.label[:254],
        person=person_of(actor),
        accepted=0,
        held=0,
        amount=Decimal(0),
        currency=currency,
    )


def store_batch(batch: UsageBatch, today: SenderToday) -> None:
    """Store a batch, and add what it brought to its sender's day, which stays locked. Raises ReportLimitReached."""
    columns = ("id", "sender_kind", "sender_id", "sender", "person", "accepted", "held", "amount", "currency")
    values = {name: getattr(batch, name) for name in columns}
    today.count(batch.accepted + batch.held, batch.amount, STORE, {**values, "tenant": current_tenant_id()})


def close_batch(actor: Actor, batch: UsageBatch, waiting: Sequence[HeldEvent], amount: Decimal) -> None:
    """Let these events wait for review, and record the request with what it cost. Call it within the operation."""
    if waiting and not HeldEvent.objects.filter(state=WAITING).exists():
        notify(
            permission="invoices.manage",
            kind="usage",
            title="Reported usage is waiting for review",
            body=f"{batch.sender} reported usage that is old or has no price. It is counted only after a member accepts it.",
            path="reported/",
        )
    HeldEvent.objects.bulk_create(waiting)
    changes: dict[str, Any] = {"accepted": [None, batch.accepted], "held": [None, batch.held]}
    changes |= {"amount": [None, amount], "currency": [None, batch.currency]} if amount else {}
    record(USAGE_RECEIVED, actor=actor, target=batch, changes=changes)


def waits(batch: UsageBatch, item: KeyClaim, reason: str, **values: Any) -> HeldEvent:
    """Return a claimed event that waits for review, unsaved; `values` in place of those of its interval."""
    usage = item.interval
    given = {"quantity": usage.quantity, **values}
    return HeldEvent(
        batch=batch,
        key_hash=item.key_hash,
        source=usage.source,
        key=usage.key,
        meter=usage.meter,
        resource=usage.resource,
        project_id=usage.project_id,
        starts_at=usage.start,
        ends_at=usage.end,
        dims=dict(usage.dims),
        reason=reason,
        **given,
    )


def undecided(listed: Sequence[KeyClaim]) -> Mapping[bytes, tuple[str, str]]:
    """Return the state and reason of those of these events that wait or were rejected, now or earlier, by key."""
    if not listed:
        return {}
    rows = HeldEvent.objects.filter(key_hash__in=[item.key_hash for item in listed]).exclude(state=ACCEPTED)
    return {bytes(key): (state, WHY[reason]) for key, state, reason in rows.values_list("key_hash", "state", "reason")}
