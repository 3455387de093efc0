"""The life of a tenant, by operators: create, suspend, resume, close with seven days to undo.

Each act stands in the tenant's own chain, as that of the operator, and in the operator log with the person's name.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.access.standing import CHANGE_NOTHING, Standing
from tenants.audit import AuditAction, operation, record
from tenants.clock import now
from tenants.currencies import currency_fault
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events import events
from tenants.ids import uuid7
from tenants.isolation.sweeps import sweep
from tenants.models import Membership, Tenant, TenantDigest
from tenants.operations import TENANT_CREATED, TenantExists, check_email, check_slug, check_text, check_timezone
from tenants.operators import first_contract
from tenants.operators.first_contract import STANDARD, FirstContract
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

OWNER_AWAITED = AuditAction("tenants.tenant.owner_awaited")
SUSPENDED = AuditAction("tenants.tenant.suspended")
RESUMED = AuditAction("tenants.tenant.resumed")
CLOSING = AuditAction("tenants.tenant.closing")
RESTORED = AuditAction("tenants.tenant.restored")
CLOSED = AuditAction("tenants.tenant.closed")
UNDO_FOR = timedelta(days=7)
#: The operator log is for ever, so it names nobody of a tenant: the address stands in the tenant's log, under a pseudonym.
INVITED = "Its first owner is invited; the organisation's audit log says who."
#: From which standing each act leads to which.
MOVES: dict[AuditAction, tuple[tuple[Standing, ...], Standing]] = {
    SUSPENDED: (("active",), "suspended"),
    RESUMED: (("suspended",), "active"),
    CLOSING: (("active", "suspended"), "closing"),
    RESTORED: (("closing",), "active"),
}


class WrongStanding(Conflict):
    """The organisation is not in the standing that this starts from. Reload the page."""

    code = "wrong_standing"


def create(
    *,
    operator: Operator,
    name: str,
    slug: str,
    owner_email: str,
    timezone: str = "UTC",
    currency: str = "EUR",
    contract: FirstContract = STANDARD,
) -> UUID:
    """Create a tenant with its first contract and have its owner invited by mail; return its id.

    The ops worker makes what belongs in the tenant. Raises TenantExists, or `Invalid` naming each wrong field.
    """
    operator.require("tenants.manage")
    check_slug(slug)
    name, owner_email = check_text(name, "name"), _owner(owner_email)
    check_timezone(timezone)
    if fault := currency_fault(currency):
        raise Invalid(fields={"currency": [fault]})
    tenant = Tenant(id=uuid7(), name=name, slug=slug, timezone=timezone, currency=currency)
    actor = Actor.system(tenant.id, "operator")
    try:
        with transaction.atomic():
            _open(actor=actor, tenant=tenant, owner_email=owner_email)
            first_contract.sign(actor, contract)
            target = ("tenant", tenant.id, slug)
            record_act(operator, TENANT_CREATED, target=target, reason=INVITED)
    except IntegrityError as error:
        if "slug" in str(error):
            raise TenantExists(slug=slug) from error
        raise
    return tenant.id


def invite_owner(*, operator: Operator, tenant_id: UUID, email: str) -> None:
    """Have somebody invited as the owner of a tenant that nobody has joined yet, in place of an earlier one.

    Raises NotFound, Conflict for a tenant with members, Invalid.
    """
    operator.require("tenants.manage")
    email = _owner(email)
    with transaction.atomic():
        found = Tenant.objects.filter(id=tenant_id).values_list("slug", "standing").first()
        if found is None:
            raise NotFound
        slug, standing = found
        if standing in CHANGE_NOTHING:
            raise WrongStanding(f"This organisation is {standing}: nobody joins it.")
        _await_owner(actor=Actor.system(tenant_id, "operator"), email=email)
        record_act(operator, OWNER_AWAITED, target=("tenant", tenant_id, slug), reason=INVITED)


@operation(OWNER_AWAITED)
def _await_owner(*, actor: Actor, email: str) -> None:
    if Membership.objects.exists():
        raise Conflict("This organisation has members. They invite further ones.")
    tenant = Tenant.objects.get(id=actor.tenant_id)
    record(OWNER_AWAITED, actor=actor, target=tenant, changes={"owner": [None, email]})
    events.publish(events.OwnerAwaited(tenant_id=tenant.id, email=email))


def suspend(*, operator: Operator, tenant_id: UUID, reason: str) -> None:
    """Suspend a tenant: it reads and starts nothing; running jobs end by themselves, endpoints stop
    and keep their keys.

    Raises NotFound, WrongStanding, Invalid.
    """
    _move(operator, tenant_id, SUSPENDED, reason)


def resume(*, operator: Operator, tenant_id: UUID, reason: str) -> None:
    """Let a suspended tenant work again; what its suspension stopped is deployed again. Raises as `suspend` does."""
    _move(operator, tenant_id, RESUMED, reason)


def close(*, operator: Operator, tenant_id: UUID, reason: str) -> datetime:
    """Begin to close a tenant: it reads and exports for seven days, in which `restore` undoes it.

    Returns when it closes. Raises as `suspend` does.
    """
    closes_at = now() + UNDO_FOR
    _move(operator, tenant_id, CLOSING, reason, closes_at)
    return closes_at


def restore(*, operator: Operator, tenant_id: UUID, reason: str) -> None:
    """Undo `close` before its date: the tenant is what it was before, suspended too. Raises as `suspend` does."""
    _move(operator, tenant_id, RESTORED, reason)


def close_due() -> int:
    """Close the tenants whose seven days are over (control role); return how many.

    Nobody enters a closed tenant any more, and its open jobs are cancelled. Its rows stay.
    """
    due = Tenant.objects.filter(standing="closing", closes_at__lte=now()).order_by("closes_at")
    ids = list(due.values_list("id", flat=True))
    with sweep("tenants to close") as each:
        for tenant_id in each.over(ids):
            with each(tenant=tenant_id), suppress(WrongStanding):  # restored meanwhile
                operation(CLOSED)(_end)(actor=Actor.system(tenant_id, "operator"))
    return len(ids)


def _end(*, actor: Actor) -> None:
    tenant = Tenant.objects.select_for_update(no_key=True).get(id=actor.tenant_id)
    if tenant.standing != "closing" or tenant.closes_at is None or tenant.closes_at > now():
        raise WrongStanding
    Tenant.objects.filter(id=tenant.id).update(standing="closed")
    record(CLOSED, actor=actor, target=tenant, changes={"standing": ["closing", "closed"]})
    events.publish(events.StandingChanged(tenant_id=tenant.id, standing="closed"))


def _move(
    operator: Operator, tenant_id: UUID, action: AuditAction, reason: str, closes_at: datetime | None = None
) -> None:
    operator.require("tenants.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        slug = Tenant.objects.filter(id=tenant_id).values_list("slug", flat=True).first()
        if slug is None:
            raise NotFound
        change = operation(action)(_change)
        change(actor=Actor.system(tenant_id, "operator"), action=action, reason=reason, closes_at=closes_at)
        record_act(operator, action, target=("tenant", tenant_id, slug), reason=reason)


def _change(*, actor: Actor, action: AuditAction, reason: str, closes_at: datetime | None) -> None:
    before, after = MOVES[action]
    tenant = Tenant.objects.select_for_update(no_key=True).get(id=actor.tenant_id)
    if tenant.standing not in before:
        raise WrongStanding(f"This organisation is {tenant.standing}. Reload the page.")
    if action == RESTORED:
        if tenant.closes_at is None or tenant.closes_at <= now():
            raise WrongStanding("Its seven days are over. It is closed within the hour.")
        after = cast(Standing, tenant.standing_before or "active")
    # The reason of a suspension outlives a closing that is undone.
    shown = tenant.reason_before if action == RESTORED else reason
    Tenant.objects.filter(id=tenant.id).update(
        standing=after,
        standing_before=tenant.standing if action == CLOSING else "",
        reason_before=tenant.standing_reason if action == CLOSING else "",
        standing_reason="" if after == "active" else shown or reason,
        closes_at=closes_at,
    )
    record(action, actor=actor, target=tenant, changes={"standing": [tenant.standing, after]}, reason=reason)
    events.publish(events.StandingChanged(tenant_id=tenant.id, standing=after))


@operation(TENANT_CREATED)
def _open(*, actor: Actor, tenant: Tenant, owner_email: str) -> None:
    tenant.save(force_insert=True)
    changes = {"name": [None, tenant.name], "owner": [None, owner_email]}
    record(TENANT_CREATED, actor=actor, target=tenant, changes=changes)
    # The list has it at once; its figures follow with the next refresh.
    TenantDigest.objects.create(
        tenant=tenant, slug=tenant.slug, name=tenant.name, currency=tenant.currency, created_at=now()
    )
    events.publish(events.TenantCreated(tenant_id=tenant.id))
    events.publish(events.OwnerAwaited(tenant_id=tenant.id, email=owner_email))


def _owner(email: str) -> str:
    try:
        return check_email(email)
    except Invalid as error:
        raise Invalid(fields={"owner_email": error.fields["email"]}) from error
