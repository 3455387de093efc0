"""Place, extend and release holds for outside work, and end those that expired. Each is audited.

Locks: set of budgets, the sender's turn to place one, hold, counters, ledger, audit chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.budgets import counters, holds
from billing.dunning.stops import require_launches
from billing.metering import meters
from billing.models import Hold, Meter
from billing.models.holds import OPEN
from billing.money import Money
from billing.pricing import price_books
from billing.pricing.price_books import PriceMissing, point_in
from billing.rating.flat import LARGEST_CHARGE, charge
from billing.rating.quantity import count_refusal
from billing.rating.selection import starts_within
from billing.rating.tags import tags_in
from billing.reported.cloudevents import EventRefused, dimensions
from billing.reported.sender_limits import limits, sender_of
from tenants import clock
from tenants.access.actor import Actor
from tenants.access.standing import Begins
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound, RateLimited
from tenants.ids import uuid7
from tenants.isolation.limits import is_full
from tenants.models import Project
from tenants.projects.sight import in_sight
from tenants.quotas import person_of

HOLD_PLACED = AuditAction("billing.hold.placed")
HOLD_EXTENDED = AuditAction("billing.hold.extended")
HOLD_RELEASED = AuditAction("billing.hold.released", while_closing=True)
HOLD_EXPIRED = AuditAction("billing.hold.expired", while_closing=True)
#: What one needs to place or extend a hold: work begins with it. Reporting what it used needs `usage.ingest` alone.
HOLDS = Begins("usage.ingest")
MOST_OPEN = 1_000
"""How many holds of one sender may be open."""
LONGEST_S = 86_400
NOTHING = Decimal(0)


class HoldEnded(Conflict):
    """This hold was released or has expired. Place a new one."""

    code = "hold_ended"


class TooManyHolds(RateLimited):
    """This sender has too many open holds."""

    code = "too_many_holds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: so many units of a meter, for some seconds. `dims` may hold tags, as `tag:NAME`."""

    project_id: UUID
    meter: str
    quantity: Decimal
    dims: Mapping[str, str]
    expires_in_s: int


@operation(HOLD_PLACED)
def place(*, actor: Actor, asked: Asked) -> UUID:
    """Hold the highest price of a quantity until the hold expires, and return its id.

    Raises Invalid, NotFound for a project out of sight, PriceMissing, TooManyHolds, BudgetExceeded or LaunchesStopped (402).
    """
    actor.require(HOLDS)
    counters.lock_budget_set()
    if not _sees(actor, asked.project_id):
        raise NotFound
    dims = _checked(asked)
    require_launches()
    mine = Hold.objects.filter(placed_by_id__in=actor.own_ids, state=OPEN, expires_at__isnull=False)
    if is_full(mine, MOST_OPEN, sender_of(actor)):
        text = f"{MOST_OPEN:,} holds of this sender are open. Release some, or wait until they expire."
        raise TooManyHolds(text, retry_after=60)
    now = clock.now()
    until = now + timedelta(seconds=asked.expires_in_s)
    amount = _price(asked.meter, dims, asked.quantity, (now, until))
    _check_size(amount, limits().amount)
    hold_id = holds.hold(
        project_id=asked.project_id,
        subject=f"outside:{uuid7()}",
        amount=amount,
        actor=actor,
        tags=tags_in(dims),
        person=person_of(actor),
    )
    Hold.objects.filter(pk=hold_id).update(meter=asked.meter, quantity=asked.quantity, dims=dims, expires_at=until)
    changes = {"amount": [None, amount.json()], "quantity": [None, asked.quantity], "meter": [None, asked.meter]}
    record(HOLD_PLACED, actor=actor, target=_target(hold_id), changes=changes)
    return hold_id


@operation(HOLD_EXTENDED)
def extend(*, actor: Actor, hold_id: UUID, quantity: Decimal = NOTHING, expires_in_s: int | None = None) -> None:
    """Add units to an open hold, or let it expire so many seconds from now, or both.

    Raises Invalid, NotFound, HoldEnded, PriceMissing, BudgetExceeded (402).
    """
    actor.require(HOLDS)
    faults = {} if expires_in_s is None else _expiry_fault(expires_in_s)
    if quantity and (reason := count_refusal(quantity, timed=False)):
        faults["quantity"] = [reason]
    if not quantity and expires_in_s is None:
        faults["quantity"] = ["Give a quantity, a new time to expire, or both."]
    if faults:
        raise Invalid(fields=faults)
    counters.lock_budget_set()
    row, now = _locked(actor, hold_id), clock.now()
    if row.state != OPEN or row.expires_at is None or row.expires_at <= now:
        raise HoldEnded
    until = row.expires_at if expires_in_s is None else now + timedelta(seconds=expires_in_s)
    changes: dict[str, Any] = {"expires_at": [row.expires_at, until]} if until != row.expires_at else {}
    if quantity:
        more = _price(row.meter, row.dims, quantity, (now, max(until, row.expires_at)))
        if more.currency != row.currency:
            raise HoldEnded(
                f"This hold is in {row.currency}, and the organisation now pays in {more.currency}. Place a new one."
            )
        _check_size(Money(row.amount - row.settled, row.currency) + more, limits().amount)
        if more.amount:
            holds.extend(hold_id=hold_id, amount=more)
        changes["amount"] = [
            Money(row.amount, row.currency).json(),
            Money(row.amount + more.amount, row.currency).json(),
        ]
    Hold.objects.filter(pk=hold_id).update(expires_at=until, quantity=(row.quantity or NOTHING) + quantity)
    record(HOLD_EXTENDED, actor=actor, target=_target(hold_id), changes=changes)


@operation(HOLD_RELEASED)
def release(*, actor: Actor, hold_id: UUID) -> None:
    """Return what is left of a hold to its budgets. Idempotent, also after it expired. Raises NotFound."""
    actor.require("usage.ingest")
    counters.lock_budget_set()
    row = _locked(actor, hold_id)
    if row.state != OPEN:
        unchanged("it had ended before")
        return
    left = holds.release(hold_id=hold_id)
    record(HOLD_RELEASED, actor=actor, target=_target(hold_id), changes={"held": [left.json(), None]})


@operation(HOLD_EXPIRED)
def expire(*, actor: Actor, hold_id: UUID) -> bool:
    """End a hold whose time is over by the database's clock; return whether this call did. `actor` is the system."""
    counters.lock_budget_set()
    row = Hold.objects.select_for_update(no_key=True).filter(pk=hold_id, state=OPEN).first()
    if row is None or row.expires_at is None or row.expires_at > clock.now():
        unchanged("it was released or extended meanwhile")
        return False
    left = holds.release(hold_id=hold_id)
    record(HOLD_EXPIRED, actor=actor, target=_target(hold_id), changes={"held": [left.json(), None]})
    return True


def _sees(actor: Actor, project_id: UUID) -> bool:
    """Return whether the actor may name a project of the open scope."""
    return Project.objects.filter(in_sight(actor, "usage.ingest", "pk"), pk=project_id).exists()


def _locked(actor: Actor, hold_id: UUID) -> Hold:
    rows = Hold.objects.select_for_update(no_key=True).filter(in_sight(actor, "usage.ingest"), expires_at__isnull=False)
    row = rows.filter(pk=hold_id).first()
    if row is None:
        raise NotFound
    return row


def _checked(asked: Asked) -> dict[str, str]:
    """Return the dimensions. Raises Invalid with every fault."""
    if not Meter.objects.exists():
        meters.provide()
    faults = _expiry_fault(asked.expires_in_s)
    if not Meter.objects.filter(key=asked.meter).exists():
        faults["meter"] = ["There is no such meter. GET /api/v1/meters/ lists them."]
    if reason := count_refusal(asked.quantity, timed=False):
        faults["quantity"] = [reason]
    dims: dict[str, str] = {}
    try:
        dims = dimensions(asked.dims)
    except EventRefused as fault:
        faults["dims"] = [str(fault)]
    if faults:
        raise Invalid(fields=faults)
    return dims


def _expiry_fault(seconds: int) -> dict[str, list[str]]:
    return {} if 1 <= seconds <= LONGEST_S else {"expires_in_s": [f"Use 1 to {LONGEST_S:,} seconds."]}


def _price(meter: str, dims: Mapping[str, str], quantity: Decimal, between: tuple[datetime, datetime]) -> Money:
    """Return the cost of a quantity at the highest price between two moments, in the currency of the first.

    A hold pays no usage in another. Raises PriceMissing.
    """
    since, until = between
    terms = price_books.terms(since, until, meters=[meter])
    if point_in(terms.lists, meter, dims, since) is None:
        raise PriceMissing(meter=meter, dims=dict(dims))
    moments = [since, *starts_within(terms.lists, since, until)]
    points = [point_in(terms.lists, meter, dims, at) for at in moments]
    costs = [charge(quantity, one.unit_amount) for one in points if one and one.currency == terms.currency]
    return Money(max(costs, default=NOTHING), terms.currency)


def _check_size(amount: Money, most: Money) -> None:
    if amount.amount > min(most.amount, LARGEST_CHARGE):
        text = f"It would hold {amount.plain()}, more than the {most.plain()} that a sender may report a day. Ask finance to raise the limit."
        raise Invalid(fields={"quantity": [text]})


def _target(hold_id: UUID) -> tuple[str, UUID, str]:
    return ("hold", hold_id, f"hold {hold_id}")
