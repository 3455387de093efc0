"""Voiding of reported usage: counter-entries, never edits. Keys stay used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F

from billing.budgets import counters
from billing.models import HeldEvent, UsageBatch, UsageKey
from billing.models.outside import REJECTED, WAITING
from billing.pg_arrays import array, bytea, parsed
from billing.rating.calendar import hour_of, quarter_of
from billing.rating.tags import tags_in
from billing.reported.receiving import MOST_QUARTERS
from billing.reported.returns import Taken, return_money
from billing.usage.corrections import take_back
from billing.usage.intervals import digest, void_key
from billing.usage.reserved_sources import own_sources
from billing.usage.rollups import Place, Segment
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant
from tenants.operations import check_text
from tenants.rows import named_rows

USAGE_VOIDED = AuditAction("billing.usage.voided")
MOST_EVENTS = 1_000
SEGMENTS = """
SELECT e.key_hash, e.part, e.series_hash AS series, e.started_at AS start, e.ended_at AS "end", e.period, e.day, e.meter_id, e.project_id, e.price_id, e.rate_id,
  e.measured, e.billable, e.amount, e.discount, e.batch_id, e.hold_id, e.recorded_at, s.dims, b.person
FROM billing_usageevent e JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash
LEFT JOIN billing_usagebatch b ON b.tenant_id = e.tenant_id AND b.id = e.batch_id
WHERE e.tenant_id = %(tenant)s AND e.kind = 'usage' AND (%(keys)s::bytea[] IS NULL OR e.key_hash = ANY(%(keys)s::bytea[]))
  AND """
OF_BATCHES = SEGMENTS + "e.batch_id = ANY(%(batches)s::uuid[])"
# Reported before senders were recorded: from none of the platform's own sources, and not paid from a hold.
BEFORE_SENDERS = SEGMENTS + "e.batch_id IS NULL AND e.hold_id IS NULL AND s.source <> ALL(%(own)s::text[])"
OF_PLACE = ("day", "period", "meter_id", "project_id", "price_id", "rate_id")
NAMES = ("part", "start", "end", "measured", "billable", "amount", "discount", "batch_id", "hold_id")
CLAIM = """
INSERT INTO billing_usagekey (tenant_id, key_hash, payload_hash, event_at, batch_id)
SELECT %s, k, k, exchequer_now(), NULL FROM unnest(%s::bytea[]) AS k ORDER BY k ON CONFLICT DO NOTHING RETURNING key_hash
"""
# In the lock order of usage.
ROLLUPS = """
SELECT r.id, r.series_hash, r.hour, r.day, r.period, r.project_id, r.meter_id, r.price_id, r.rate_id FROM billing_usagerollup r
WHERE r.tenant_id = %s AND r.series_hash = ANY(%s::bytea[]) AND r.hour = ANY(%s::timestamptz[])
ORDER BY r.series_hash, r.hour, r.day, r.period, r.project_id, r.meter_id, r.price_id, r.rate_id FOR NO KEY UPDATE OF r
"""


class UsageVoided(Conflict):
    """This usage is already voided. A void cannot be undone: report the correct usage under new ids."""

    code = "usage_voided"


@operation(USAGE_VOIDED)
def void_batch(*, actor: Actor, batch_id: UUID, reason: str) -> Decimal:
    """Void all counted events of a request, and reject those that wait; return the amount.

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
    voided, amount = _void(_taken(OF_BATCHES, [batch_id], None), reason)
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
    early = _taken(BEFORE_SENDERS, [], [key for key in found if found[key] is None])
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
    voided, amount = _void([*_taken(OF_BATCHES, batches, list(named)), *early], reason)
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
        currency=Tenant.objects.values_list("currency", flat=True).get(pk=current_tenant_id()),
    )
    return [replace(item, segment=replace(item.segment, batch_id=batch.pk)) for item in early]


def _void(taken: Sequence[Taken], reason: str) -> tuple[set[bytes], Decimal]:
    """Write counter-entries for what is not voided yet; return those keys and the amount."""
    marks = {void_key(item.segment.key_hash): item.segment.key_hash for item in taken}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [current_tenant_id(), array(marks, bytea)])
        voided = {marks[bytes(key)] for (key,) in cursor.fetchall()}
    taken = [item for item in taken if item.segment.key_hash in voided]
    if len({(item.segment.key_hash, quarter_of(item.segment.start)) for item in taken}) > MOST_QUARTERS:
        raise Invalid(
            f"The times of these events span more than {MOST_QUARTERS:,} quarter hours. Name fewer events at once: those of "
            "one request can be voided in several parts, too."
        )
    if taken:
        return_money(taken, reason)
        _return_usage(taken)
    return voided, sum((item.segment.amount for item in taken), Decimal(0))


def _taken(which: str, batches: Collection[UUID], keys: Sequence[bytes] | None) -> list[Taken]:
    arguments: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "batches": list(batches),
        "keys": None if keys is None else array(keys, bytea),
        "own": own_sources(),
    }
    with connection.cursor() as cursor:
        cursor.execute(which, arguments)
        rows = named_rows(cursor)
    return [
        Taken(
            Segment(
                Place(
                    series=bytes(row.series),
                    hour=hour_of(row.start),
                    **{name: getattr(row, name) for name in OF_PLACE},
                ),
                key_hash=bytes(row.key_hash),
                **{name: getattr(row, name) for name in NAMES},
            ),
            row.recorded_at,
            tags_in(parsed(row.dims)),
            row.person,
        )
        for row in rows
    ]


def _return_usage(taken: Sequence[Taken]) -> None:
    segments = [item.segment for item in taken]
    with connection.cursor() as cursor:
        series = array({segment.series for segment in segments}, bytea)
        hours = list({segment.place.hour for segment in segments})
        cursor.execute(ROLLUPS, [current_tenant_id(), series, hours])
        sums = {(bytes(series), *place): rollup_id for rollup_id, series, *place in cursor.fetchall()}
    entries = []
    for segment in segments:
        at = segment.place
        place = (at.series, at.hour, at.day, at.period, at.project_id, at.meter_id, at.price_id, at.rate_id)
        counter_entry = replace(
            segment,
            place=replace(at),  # its period may become a later one
            key_hash=void_key(segment.key_hash),
            measured=-segment.measured,
            billable=-segment.billable,
            amount=-segment.amount,
            discount=-segment.discount,
            kind="void",
        )
        entries.append((sums[place], counter_entry))
    zone, currency = Tenant.objects.values_list("timezone", "currency").get(pk=current_tenant_id())
    take_back(entries, currency=currency, zone=zone)


def _record(
    actor: Actor, batch: UsageBatch | None, events: int, amount: Decimal, reason: str, rejected: int = 0
) -> None:
    changes = {"events": [events, 0], "amount": [amount, Decimal(0)]}
    if rejected:
        changes["waiting"] = [rejected, 0]
    record(USAGE_VOIDED, actor=actor, target=batch, changes=changes, reason=reason)
