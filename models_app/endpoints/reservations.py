"""Reservations: money held in slices for the future requests of an endpoint.

A slice pays for about `FULL_REQUESTS` requests and `FULL_MS` of compute, or for as much as the budgets have headroom
for. A node records usage with the slice's `hold_id` and `project_id`. It takes the next slice when four fifths are used
or `until` is reached, and closes a slice once all its usage is recorded, which releases the rest at once. What a node
left open when it died is closed after its spool was replayed (`close_left_behind`) or, if it never returns, by the
sweep (`close_forgotten`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from billing.budgets import holds
from billing.budgets.holds import BudgetExceeded
from billing.money import Money, computed_up
from billing.pricing import price_books
from billing.queries import headroom
from billing.rating.flat import charge
from billing.rating.quantity import FUTURE_LIMIT
from compute.fleet import nodes
from models_app.models import Endpoint, EndpointState, ServingSlice
from tenants.access.actor import Actor
from tenants.clock import DatabaseNow
from tenants.errors import NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Tenant
from tenants.quotas import person_behind

__all__ = [
    "RETRY_AFTER_S",
    "BudgetExceeded",
    "Slice",
    "SliceClosed",
    "close",
    "close_forgotten",
    "close_forgotten_everywhere",
    "close_left_behind",
    "take",
]

REQUESTS, COMPUTE_MS = "inference_requests", "inference_ms"
FULL_REQUESTS, FULL_MS = 5_000, 60_000
LEAST_REQUESTS, LEAST_MS = 50, 1_000
LIFE = FUTURE_LIMIT - timedelta(minutes=1)
"""A price starts at least five minutes after its publication: no unknown price starts within a slice, nor in the
minute that it pays on while the database is unreachable."""
RETRY_AFTER_S = 30
"""Retry-After for a client, in seconds, if no slice was granted (402)."""

FORGOTTEN_AFTER = timedelta(hours=1)
NODE_GONE_AFTER = timedelta(hours=24)
NODE_THERE = timedelta(minutes=5)
TRIES = 5
NOTHING = Decimal(0)


class SliceClosed(Exception):
    """The slice of this number was closed, or was taken under other prices: a number is never used again, take the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Money held for one run of a serving node; `db_now` is the database's time when it was read.

    `hold_id` is None only while serving is free; usage is then recorded without a hold. Do not use the slice after
    `until`: it lives four minutes, and no price changes within it. Unit prices are for one request and one millisecond,
    in `currency`.
    """

    endpoint_id: UUID
    boot: UUID
    number: int
    hold_id: UUID | None
    project_id: UUID
    amount: Decimal
    currency: str
    request_price: Decimal
    ms_price: Decimal
    db_now: datetime
    until: datetime

    @property
    def free(self) -> bool:
        """Return whether serving is free. A slice with an amount of zero has no money, which is different."""
        return self.hold_id is None

    def cost(self, requests: int, compute_ms: Decimal | int) -> Decimal:
        """Return the cost of `requests` and `compute_ms` at this slice's prices."""
        return charge(Decimal(requests), self.request_price) + charge(Decimal(compute_ms), self.ms_price)


def take(tenant_id: UUID, endpoint_id: UUID, boot: UUID, number: int) -> Slice:
    """Hold money for the next requests of an endpoint.

    Repeating (boot, number) returns the same slice while it is open.

    Raises SliceClosed if it is closed, BudgetExceeded (402, nothing held) below 50 requests and a second of compute,
    NotFound for an endpoint that is undeployed or does not exist.
    """
    with tenant_scope(tenant_id):
        endpoint = Endpoint.objects.exclude(state=EndpointState.UNDEPLOYED).filter(id=endpoint_id).first()
        if endpoint is None:
            raise NotFound
        asked = _priced(endpoint, boot, number)
        fresh = ServingSlice(endpoint=endpoint, boot=boot, number=number)
        ServingSlice.objects.bulk_create([fresh], ignore_conflicts=True)
        row = ServingSlice.objects.select_for_update(no_key=True).get(endpoint=endpoint, boot=boot, number=number)
        if row.id == fresh.id:
            held = _hold(endpoint, asked)
            ServingSlice.objects.filter(id=row.id).update(hold_id=held.hold_id)
            return held
        if row.closed_at is not None or (row.hold_id is None and asked.amount):
            raise SliceClosed
        return replace(asked, hold_id=row.hold_id, amount=_amount_of(row.hold_id))


def close(tenant_id: UUID, slice_: Slice) -> Money:
    """Release what is left of a slice after all its usage is recorded. Idempotent."""
    with tenant_scope(tenant_id):
        row = (
            ServingSlice.objects.select_for_update(no_key=True)
            .filter(endpoint_id=slice_.endpoint_id, boot=slice_.boot, number=slice_.number)
            .first()
        )
        if row is None:
            raise NotFound
        return Money(_close(row), slice_.currency)


def without_money(endpoint_id: UUID) -> bool:
    """Return whether an endpoint refuses every request for lack of budget: no slice is open and none affordable."""
    endpoint = Endpoint.objects.get(id=endpoint_id)
    left = headroom(endpoint.project_id, person=person_behind(endpoint.created_by))
    if left is None or ServingSlice.objects.filter(endpoint=endpoint, closed_at=None).exists():
        return False
    return left < _priced(endpoint, endpoint.id, 0).cost(LEAST_REQUESTS, LEAST_MS)


def close_left_behind(tenant_id: UUID, endpoint_id: UUID, boot: UUID) -> int:
    """Close what an earlier run (`boot`) of a node left open for an endpoint, after its spool was replayed.

    Returns how many slices were open. Slices of other runs stay: their spool may lie on another machine.
    """
    with tenant_scope(tenant_id):
        found = list(
            ServingSlice.objects.filter(endpoint_id=endpoint_id, boot=boot, closed_at=None)
            .order_by("number")
            .values_list("id", flat=True)
        )
    return _close_each(tenant_id, found)


def close_forgotten(tenant_id: UUID) -> int:
    """Close a tenant's slices whose node never came back for them; return how many.

    A slice is forgotten after an hour, many times its life, if its node is present and did not close it, has restarted
    since, or has been silent for a day. Slices of a node silent for less are kept, because its spool may come back.
    Later usage still counts, without a charge.
    """
    silent = set(nodes.boots_seen(NODE_GONE_AFTER)) - set(nodes.boots_seen(NODE_THERE))
    with tenant_scope(tenant_id):
        found = list(
            ServingSlice.objects.filter(closed_at=None, opened_at__lt=DatabaseNow() - FORGOTTEN_AFTER)
            .exclude(boot__in=silent)
            .order_by("id")
            .values_list("id", flat=True)[:500]
        )
    return _close_each(tenant_id, found, skip_locked=True)


def close_forgotten_everywhere() -> int:
    """Close the forgotten slices of every tenant; return how many. Raises SweepFailed."""
    closed = 0
    with sweep("forgotten slices") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            with each(tenant=tenant_id):
                closed += close_forgotten(tenant_id)
    return closed


def _priced(endpoint: Endpoint, boot: UUID, number: int) -> Slice:
    """Return the slice that an endpoint requests, with the prices in force and their end."""
    terms = price_books.terms()
    present, ends = terms.now, terms.now + LIFE
    lists = price_books.terms(present, ends).lists
    starts = [listed.effective_at for listed in lists if present < listed.effective_at < ends]
    unit = {}
    for meter in (REQUESTS, COMPUTE_MS):
        point = price_books.point_in(lists, meter, {"endpoint": endpoint.name}, present)
        # Usage without a matching price is free. A converted price may have more digits than are kept: rounded up, its
        # hold always suffices.
        unit[meter] = computed_up(point.unit_amount) if point else NOTHING
    wanted = Slice(
        endpoint_id=endpoint.id,
        boot=boot,
        number=number,
        hold_id=None,
        project_id=endpoint.project_id,
        amount=NOTHING,
        currency=terms.currency,
        request_price=unit[REQUESTS],
        ms_price=unit[COMPUTE_MS],
        db_now=present,
        until=min([ends, *starts]),
    )
    return replace(wanted, amount=wanted.cost(FULL_REQUESTS, FULL_MS))


def _hold(endpoint: Endpoint, asked: Slice) -> Slice:
    """Hold a full slice, or as much as the tightest budget has headroom for. Raises BudgetExceeded below the minimum."""
    if not asked.amount:
        return asked
    least = asked.cost(LEAST_REQUESTS, LEAST_MS)
    # Lets an explained invoice line name the person who deployed.
    payer = replace(
        Actor.system(endpoint.tenant_id, "serving node"), id=endpoint.created_by, label=endpoint.created_by_label
    )
    refused: BudgetExceeded | None = None
    person = person_behind(endpoint.created_by)
    for _ in range(TRIES):
        left = headroom(endpoint.project_id, endpoint.tags, person)
        amount = asked.amount if left is None else max(min(asked.amount, left), least)
        try:
            hold_id = holds.hold(
                project_id=endpoint.project_id,
                subject=f"{endpoint.subject}:{asked.boot}:{asked.number}",
                amount=Money(amount, asked.currency),
                actor=payer,
                tags=endpoint.tags,
                person=person,
            )
            return replace(asked, hold_id=hold_id, amount=amount)
        except BudgetExceeded as error:  # another request took the headroom meanwhile, or it was too small: check again
            refused = error
            if amount == least:
                break
    raise refused or BudgetExceeded


def _amount_of(hold_id: UUID | None) -> Decimal:
    return holds.lock(hold_id).left if hold_id is not None else NOTHING


def _close_each(tenant_id: UUID, found: Sequence[UUID], *, skip_locked: bool = False) -> int:
    """Close slices that are still open, one transaction each; return how many.

    In a single transaction the second hold would be locked after the counters of the first. Late usage of the second
    slice locks them in the reverse order, and all spending would wait for the counters until the last slice is closed.
    """
    closed = 0
    for slice_id in found:
        with tenant_scope(tenant_id):
            row = (
                ServingSlice.objects.select_for_update(skip_locked=skip_locked, no_key=True)
                .filter(id=slice_id, closed_at=None)
                .first()
            )
            if row is None:
                continue
            _close(row)
        closed += 1
    return closed


def _close(row: ServingSlice) -> Decimal:
    """Release a locked slice's hold; return what was left of it."""
    if row.closed_at is not None:
        return NOTHING
    left = holds.release(hold_id=row.hold_id).amount if row.hold_id is not None else NOTHING
    ServingSlice.objects.filter(id=row.id).update(closed_at=DatabaseNow())
    return left
