"""Audited actions that change no data: logins and exports."""

from typing import Any

from django.http import HttpRequest

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.identity import authentication

LOGGED_IN = AuditAction("tenants.session.started", while_closing=True)
PASSWORD_CHANGED = AuditAction("tenants.password.changed", while_closing=True)
SECOND_FACTOR_CHANGED = AuditAction("tenants.second_factor.changed", while_closing=True)
CODES_VIEWED = AuditAction("tenants.recovery_codes.viewed", while_closing=True)
LIST_EXPORTED = AuditAction("tenants.list.exported", while_closing=True)


@operation(LOGGED_IN)
def log_in(*, actor: Actor, provider: str = "") -> None:
    """Record in the audit log that a member logged in, and by which identity provider if by one."""
    record(LOGGED_IN, actor=actor, reason=f"by the identity provider {provider}" if provider else "")


@operation(PASSWORD_CHANGED)
def password(*, actor: Actor) -> None:
    """Record in the audit log that a member's password changed."""
    record(PASSWORD_CHANGED, actor=actor)


@operation(SECOND_FACTOR_CHANGED)
def second_factor(*, actor: Actor, what: str) -> None:
    """Record in the audit log what a member did to a second factor: `totp_activated`, `webauthn_removed`."""
    record(SECOND_FACTOR_CHANGED, actor=actor, reason=what.replace("_", " "))


@operation(CODES_VIEWED)
def recovery_codes(*, actor: Actor) -> None:
    """Record in the audit log that a member was shown their recovery codes."""
    record(CODES_VIEWED, actor=actor)


@operation(LIST_EXPORTED)
def export(*, actor: Actor, name: str) -> None:
    """Record in the audit log that a list was exported."""
    record(LIST_EXPORTED, actor=actor, target=("list", "", name))


def everywhere(request: HttpRequest, user: Any) -> list[Actor]:
    """Return a person as an actor in each of their organisations.

    Always in the same order, because one transaction may lock the heads of several audit logs.
    """
    found = []
    for tenant_id in sorted(authentication.tenant_ids_of(user.id)):
        with authentication.entering_as_member(request, user, tenant_id) as entered:
            if entered is not None:
                found.append(entered[0])
    return found
