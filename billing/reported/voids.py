"""Voiding of reported usage: counter-entries, never edits. Keys stay used."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F

from billing.budgets import counters
from billing.models import HeldEvent, MeterReading, UsageBatch, UsageKey
from billing.models.outside import REJECTED, WAITING
from billing.queries.calendar import tenant_today
from billing.rating.calendar import quarter_of
from billing.reported.counter_entries import BEFORE_SENDERS, OF_BATCHES, claim_voids, of_events, reverse
from billing.reported.readings.deciding import void_readings
from billing.reported.receiving import MOST_QUARTERS
from billing.reported.returns import Taken
from billing.usage.intervals import digest
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.operations import check_text

USAGE_VOIDED = AuditAction("billing.usage.voided")
MOST_EVENTS = 1_000


class UsageVoided(Conflict):
    """This usage is already voided. A void cannot be undone: report the correct usage under new ids."""

    code = "usage_voided"


@operation(USAGE_VOIDED)
def void_batch(*, actor: Actor, batch_id: UUID, reason: str) -> Decimal:
    """Void all counted events of a request, and reject those that wait; return the amount.

    It is below zero if readings that count in the place of voided ones cost more.

    Raises NotFound, UsageVoided if nothing is left to void.
    """
    actor.require("invoices.manage")
    reason = check_text(reason, "reason", 200)
    counters.lock_budget_set()
    batch = UsageBatch.objects.select_for_update(no_key=True).filter(pk=batch_id).first()
    if batch is None:
        raise NotFound
    waiting = HeldEvent.objects.filter(batch=batch, state=WAITING)
    decision = {"decided_at": clock.now(), "decided_by_id": actor.id, "decided_by": actor.label[:254]}
    rejected = waiting.update(state=REJECTED, **decision)
    readings = _readings(batch_id=batch_id)
    voided, amount = _void(of_events(OF_BATCHES, [batch_id], None), readings, reason)
    if not voided and not rejected:
        raise UsageVoided
    UsageBatch.objects.filter(pk=batch_id).update(voided=F("voided") + len(voided), held=F("held") - rejected)
    _record(actor, batch, len(voided), amount, reason, rejected)
    return amount


@operation(USAGE_VOIDED)
def void_events(
    *, actor: Actor, reason: str, events: Sequence[tuple[str, str]] = (), keys: Sequence[bytes] = ()
) -> Decimal:
    """Void single events, all or none, named by (source, id) or by the hash of their key; return the amount.

    Raises Invalid for unreported or measured usage, UsageVoided for already voided events.
    """
    actor.require("invoices.manage")
    reason = check_text(reason, "reason", 200)
    named = {digest(source, key): f"{source} {key}" for source, key in events} | {key: key.hex() for key in keys}
    if not 1 <= len(named) <= MOST_EVENTS:
        raise Invalid(fields={"events": [f"Name 1 to {MOST_EVENTS:,} events."]})
    counters.lock_budget_set()
    found = {bytes(row.key_hash): row.batch_id for row in UsageKey.objects.filter(key_hash__in=list(named))}
    early = of_events(BEFORE_SENDERS, [], [key for key in found if found[key] is None])
    reported = {key for key in found if found[key] is not None} | {item.segment.key_hash for item in early}
    if unknown := [said for key, said in named.items() if key not in reported]:
        text = "These events were not reported from outside. Usage that the platform measures cannot be voided."
        raise Invalid(text, unknown=unknown)
    uncounted = HeldEvent.objects.filter(key_hash__in=list(named)).exclude(state="accepted")
    if held := [f"{row.source} {row.key}" for row in uncounted]:
        raise Invalid("These events are not counted: they wait for review or were rejected.", held=held)
    batches = sorted({batch for batch in found.values() if batch is not None})
    locked = {
        batch.pk: batch
        for batch in UsageBatch.objects.select_for_update(no_key=True).order_by("id").filter(pk__in=batches)
    }
    if early:
        early = _given_a_batch(early)
    readings = _readings(key_hash__in=list(named))
    voided, amount = _void([*of_events(OF_BATCHES, batches, list(named)), *early], readings, reason)
    if known := [said for key, said in named.items() if key not in voided]:
        raise UsageVoided(voided=known)
    for batch_id in batches:
        count = sum(found[key] == batch_id for key in voided)
        UsageBatch.objects.filter(pk=batch_id).update(voided=F("voided") + count)
    _record(actor, locked[batches[0]] if len(batches) == 1 and not early else None, len(voided), amount, reason)
    return amount


def _given_a_batch(early: Sequence[Taken]) -> list[Taken]:
    """Assign usage older than recorded senders to a new request, because every counter-entry names one."""
    events = len({item.segment.key_hash for item in early})
    batch = UsageBatch.objects.create(
        sender_kind="system",
        sender="before senders were recorded",
        accepted=events,
        held=0,
        voided=events,
        amount=sum((item.segment.amount for item in early), Decimal(0)),
        currency=early[0].segment.currency,
    )
    return [replace(item, segment=replace(item.segment, batch_id=batch.pk)) for item in early]


def _readings(**which: Any) -> set[bytes]:
    """Return the keys of readings that are not voided."""
    return set(map(bytes, MeterReading.objects.filter(voided_at=None, **which).values_list("key_hash", flat=True)))


def _void(taken: Sequence[Taken], readings: Set[bytes], reason: str) -> tuple[set[bytes], Decimal]:
    """Write counter-entries for what is not voided yet; return those keys and the amount."""
    voided = claim_voids({item.segment.key_hash for item in taken})
    taken = [item for item in taken if item.segment.key_hash in voided]
    if len({(item.segment.key_hash, quarter_of(item.segment.start)) for item in taken}) > MOST_QUARTERS:
        raise Invalid(
            f"The times of these events span more than {MOST_QUARTERS:,} quarter hours. Name fewer events at once: those of "
            "one request can be voided in several parts, too."
        )
    at = tenant_today()
    amount = at.currencies.worth((item.segment for item in taken), at.currency)
    if readings:
        done, less = void_readings(readings, taken, reason)
        return voided | done, amount + less
    reverse(taken, reason)
    return voided, amount


def _record(
    actor: Actor, batch: UsageBatch | None, events: int, amount: Decimal, reason: str, rejected: int = 0
) -> None:
    changes = {"events": [events, 0], "amount": [amount, Decimal(0)]}
    if rejected:
        changes["waiting"] = [rejected, 0]
    record(USAGE_VOIDED, actor=actor, target=batch, changes=changes, reason=reason)
