"""The life of a look inside a tenant: asked for, answered by a second operator where needed, opened by a ticket, ended.

An administrator of the platform looks for up to 30 minutes a day alone. What goes beyond, and any look of somebody else,
waits for a second operator. What the look reads is bounded by the database (`tenants/migrations/0027_break_glass.py`).
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events import events
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import BreakGlass, Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act
from tenants.operators.platform_events import own_events

ASKED = AuditAction("tenants.break_glass.asked")
DECLINED = AuditAction("tenants.break_glass.declined")
BEGAN = AuditAction("tenants.break_glass.began")
ENDED = AuditAction("tenants.break_glass.ended")
ALONE, LONGEST = 30, 240
#: In this time one administrator looks into one tenant alone for `ALONE` minutes, in as many looks as they like.
ALONE_IN = timedelta(days=1)
#: A question that nobody answers goes away.
ASKED_FOR = timedelta(days=1)
TICKET_FOR = timedelta(minutes=2)
LOOKS = "tenants.look_inside"


class NotOpen(Conflict):
    """This look is over, or was not allowed. Ask for a new one."""

    code = "break_glass_over"


class SecondOperator(PermissionDenied):
    """A second operator answers this: somebody else than the one who asked."""

    code = "second_operator"


def ask(*, operator: Operator, tenant_id: UUID, reason: str, minutes: int = ALONE) -> BreakGlass:
    """Ask to look inside a tenant for some minutes (1 to 240); it begins at once if no second operator is needed.

    Raises NotFound, Conflict for a closed tenant, Invalid.
    """
    operator.require(LOOKS)
    reason = check_reason(reason)
    if not 1 <= minutes <= LONGEST:
        raise Invalid(fields={"minutes": [f"Use 1 to {LONGEST} minutes; more than {ALONE} need a second operator."]})
    slug = slug_of(tenant_id)
    with transaction.atomic():
        look = _asked(actor=Actor.system(tenant_id, "operator"), operator=operator, reason=reason, minutes=minutes)
        if look.needs_second:
            own_events.look_asked(look)
        record_act(operator, ASKED if look.needs_second else BEGAN, target=target_of(look, slug), reason=reason)
    return look


def approve(*, operator: Operator, look_id: UUID) -> BreakGlass:
    """Let another operator's look begin, for the time that they asked for. Raises NotFound, NotOpen, SecondOperator."""
    with transaction.atomic():
        look = _locked(operator, look_id)
        look = _allowed(actor=Actor.system(look.tenant_id, "operator"), operator=operator, look_id=look_id)
        record_act(operator, BEGAN, target=target_of(look, slug_of(look.tenant_id)), reason=look.reason)
    return look


def decline(*, operator: Operator, look_id: UUID, reason: str) -> None:
    """Decline another operator's look. Raises NotFound, NotOpen, SecondOperator, Invalid."""
    reason = check_reason(reason)
    with transaction.atomic():
        look = _locked(operator, look_id)
        _declined(actor=Actor.system(look.tenant_id, "operator"), operator=operator, look_id=look_id, reason=reason)
        record_act(operator, DECLINED, target=target_of(look, slug_of(look.tenant_id)), reason=reason)


def ticket(*, operator: Operator, look_id: UUID) -> str:
    """Return a ticket that opens the operator's own look once, within two minutes; an earlier one is void.

    Raises NotFound for another's look, NotOpen.
    """
    operator.require(LOOKS)
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        look = _find(look_id)
        if look.operator != operator.id:
            raise NotFound
        with tenant_scope(look.tenant_id):
            moment = now()
            kept = BreakGlass.objects.filter(id=look_id, ended_at=None, ends_at__gt=moment)
            if not kept.update(ticket_hash=digest(secret), ticket_ends_at=moment + TICKET_FOR):
                raise NotOpen
    return secret


def end(*, operator: Operator, look_id: UUID) -> None:
    """End a look at once: one's own, or another's as an administrator of the platform. Raises NotFound, NotOpen."""
    operator.require(LOOKS)
    with transaction.atomic():
        look = _find(look_id)
        if look.operator != operator.id and "platform_admin" not in operator.roles:
            raise NotFound
        if look.ends_at is not None and look.ends_at <= now():
            raise NotOpen
        close(actor=Actor.system(look.tenant_id, "operator"), look_id=look_id, by=operator.label)
        record_act(operator, ENDED, target=target_of(look, slug_of(look.tenant_id)))


def digest(secret: str) -> bytes:
    """Return SHA-256 of a ticket or of a session's secret: 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


@operation(ASKED)
def _asked(*, actor: Actor, operator: Operator, reason: str, minutes: int) -> BreakGlass:
    # Two that are asked for at once are counted one after the other.
    tenant = Tenant.objects.select_for_update(no_key=True).get(id=actor.tenant_id)
    if tenant.standing == "closed":
        raise Conflict("This organisation is closed: nobody looks inside it.")
    alone = "platform_admin" in operator.roles and minutes + _alone_already(operator) <= ALONE
    look = BreakGlass.objects.create(
        operator=operator.id,
        operator_label=operator.label[:254],
        reason=reason,
        minutes=minutes,
        needs_second=not alone,
        ends_at=now() + timedelta(minutes=minutes) if alone else None,
    )
    changes = {"minutes": [None, minutes], "second_operator": [None, not alone]}
    record(ASKED, actor=actor, target=("break_glass", look.id, tenant.slug), changes=changes, reason=reason)
    if alone:
        _begin(actor, look)
    return look


def _alone_already(operator: Operator) -> int:
    """Return for how many minutes an operator looked inside the open tenant alone, or asked to, within `ALONE_IN`."""
    own = BreakGlass.objects.filter(operator=operator.id, needs_second=False, asked_at__gt=now() - ALONE_IN)
    return own.aggregate(minutes=Sum("minutes"))["minutes"] or 0


@operation(BEGAN)
def _allowed(*, actor: Actor, operator: Operator, look_id: UUID) -> BreakGlass:
    moment = now()
    look = _waiting(look_id)
    look.answered_by, look.answered_label, look.answered_at = operator.id, operator.label[:254], moment
    look.ends_at = moment + timedelta(minutes=look.minutes)
    look.save(update_fields=["answered_by", "answered_label", "answered_at", "ends_at"])
    _begin(actor, look)
    return look


@operation(DECLINED)
def _declined(*, actor: Actor, operator: Operator, look_id: UUID, reason: str) -> None:
    moment = now()
    look = _waiting(look_id)
    look.answered_by, look.answered_label, look.answered_at = operator.id, operator.label[:254], moment
    look.ended_at, look.ended_label = moment, operator.label[:254]
    look.save(update_fields=["answered_by", "answered_label", "answered_at", "ended_at", "ended_label"])
    record(DECLINED, actor=actor, target=("break_glass", look.id, ""), reason=reason)


@operation(ENDED)
def close(*, actor: Actor, look_id: UUID, by: str, reason: str = "", at: datetime | None = None) -> None:
    """End a look, now or at a time that is over, once. Raises NotOpen if it has ended."""
    running = BreakGlass.objects.filter(id=look_id, ended_at=None)
    if not running.update(ended_at=at or now(), ended_label=by[:254]):
        raise NotOpen
    record(ENDED, actor=actor, target=("break_glass", look_id, ""), reason=reason)


def _begin(actor: Actor, look: BreakGlass) -> None:
    until = look.ends_at.isoformat() if look.ends_at else ""
    record(
        BEGAN, actor=actor, target=("break_glass", look.id, ""), changes={"until": [None, until]}, reason=look.reason
    )
    events.publish(events.GlassBroken(tenant_id=look.tenant_id, look_id=look.id))


def _waiting(look_id: UUID) -> BreakGlass:
    rows = BreakGlass.objects.select_for_update(no_key=True).filter(id=look_id, ends_at=None, ended_at=None)
    look = rows.filter(asked_at__gt=now() - ASKED_FOR).first()
    if look is None:
        raise NotOpen
    return look


def _locked(operator: Operator, look_id: UUID) -> BreakGlass:
    """Return a look that the operator may answer."""
    operator.require("tenants.manage")
    look = _find(look_id)
    if operator.key_id is not None or look.operator == operator.id:
        raise SecondOperator
    return look


def _find(look_id: UUID) -> BreakGlass:
    with all_tenants("the look names its tenant"):
        look = BreakGlass.objects.filter(id=look_id).first()
    if look is None:
        raise NotFound
    return look


def slug_of(tenant_id: UUID) -> str:
    """Return a tenant's short name. Raises NotFound."""
    slug = Tenant.objects.filter(id=tenant_id).values_list("slug", flat=True).first()
    if slug is None:
        raise NotFound
    return slug


def target_of(look: BreakGlass, slug: str) -> tuple[str, UUID, str]:
    """Return how the operator log names a look."""
    return ("tenant", look.tenant_id, f"{slug}: {look.minutes} minutes")
