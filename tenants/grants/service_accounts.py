"""Service accounts: programs with rights of their own, whose keys outlive the people who create them."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import NotFound
from tenants.grants.grants import check_within, permissions_in
from tenants.grants.roles import NameTaken
from tenants.identity import provenance
from tenants.identity.holders import begin, check_name
from tenants.models import Grant, ServiceAccount
from tenants.operations import check_text

ACCOUNT_CREATED = AuditAction("tenants.service_account.created")
ACCOUNT_DISABLED = AuditAction("tenants.service_account.disabled", while_closing=True)


@operation(ACCOUNT_CREATED)
def create_service_account(*, actor: Actor, name: str, description: str = "") -> ServiceAccount:
    """Create a service account without grants or keys. Raises Invalid, NameTaken."""
    actor.require("apikeys.manage")
    begin(actor)
    fields = {
        "name": check_name(name, 60),
        "description": check_text(description, "description", 200) if description else "",
    }
    try:
        with transaction.atomic():
            account = ServiceAccount.objects.create(**fields)
    except IntegrityError as taken:
        raise NameTaken from taken
    record(ACCOUNT_CREATED, actor=actor, target=("service_account", account.id, account.name))
    return account


@operation(ACCOUNT_DISABLED)
def disable_service_account(*, actor: Actor, service_account_id: UUID) -> dict[str, list[str]]:
    """Disable a service account permanently: its keys, and all that descends from them, end with the next request.

    Returns the ids of what was revoked, by kind. Raises NotFound, PermissionDenied.
    """
    actor.require(TakesAway("apikeys.manage"))
    begin(actor)
    account = ServiceAccount.objects.select_for_update(no_key=True).filter(id=service_account_id).first()
    if account is None:
        raise NotFound
    for grant in Grant.objects.select_related("role").filter(service_account=account):
        check_within(actor, permissions_in(grant), grant.project_id)
    if account.disabled_at is not None:
        unchanged("the service account is disabled already")
        return {}
    ServiceAccount.objects.filter(id=account.id).update(disabled_at=DatabaseNow())
    record(ACCOUNT_DISABLED, actor=actor, target=("service_account", account.id, account.name))
    root = provenance.of_service_account(account.id)
    return provenance.revoke_descendants(actor=actor, root=root, reason=f"the service account {account.name} ended")
