"""Keys of operators for programs: made by a person in the console, with some of their roles, and ended with them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from tenants.clock import DatabaseNow, now
from tenants.errors import Invalid, NotFound
from tenants.identity.authentication import LONGEST_KEY, key_hash
from tenants.models import OperatorGrant, OperatorKey
from tenants.operations import check_text
from tenants.operators.operator import OnlyAPerson, Operator
from tenants.operators.operator_log import record_act

KEY_START = "xop_"
PREFIX_LENGTH = 8
SHORTEST_KEY = 32
CREATED, REVOKED = "tenants.operator_key.created", "tenants.operator_key.revoked"
#: A key's use is noted at most this often.
NOTED = timedelta(minutes=1)


@dataclass(frozen=True)
class NewOperatorKey:
    """A new key. `secret` is shown once and never stored."""

    id: UUID
    secret: str


@dataclass(frozen=True)
class OperatorKeyRow:
    """A key as lists show it."""

    id: UUID
    name: str
    roles: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


def create(
    *, operator: Operator, name: str, roles: list[str], expires_at: datetime | None = None, secret: str = ""
) -> NewOperatorKey:
    """Create a key with some of the operator's own roles. Raises OnlyAPerson for a key, Invalid.

    `secret` is used only for the first operator, who chose it.
    """
    if operator.key_id is not None:
        raise OnlyAPerson
    name = check_text(name, "name")
    if not roles or (beyond := sorted(set(roles) - set(operator.roles))):
        fault = "Choose at least one role." if not roles else f"You have not the role {', '.join(beyond)}."
        raise Invalid(fields={"roles": [fault]})
    if expires_at is not None and expires_at <= now():
        raise Invalid(fields={"expires_at": ["Use a time in the future."]})
    if secret:
        check_secret(secret)
    else:
        secret = f"{KEY_START}{secrets.token_hex(PREFIX_LENGTH // 2)}_{secrets.token_urlsafe(32)}"
    row = OperatorKey.objects.create(
        user_id=operator.id,
        name=name,
        prefix=secret.removeprefix(KEY_START)[:PREFIX_LENGTH],
        key_hash=key_hash(secret),
        roles=sorted(set(roles)),
        expires_at=expires_at,
    )
    record_act(operator, CREATED, target=("operator_key", row.id, f"{name}: {', '.join(row.roles)}"))
    return NewOperatorKey(row.id, secret)


def check_secret(secret: str) -> None:
    """Raise `Invalid` for a chosen secret that could not be sent, found or kept from guesses."""
    sendable = secret.isascii() and secret.isprintable() and " " not in secret
    if not (sendable and secret.startswith(KEY_START) and SHORTEST_KEY <= len(secret) <= LONGEST_KEY):
        fault = f"Use {KEY_START} and then {SHORTEST_KEY - len(KEY_START)} to {LONGEST_KEY - len(KEY_START)} printable ASCII characters without spaces."
        raise Invalid(fields={"key": [fault]})


def revoke(*, operator: Operator, key_id: UUID) -> None:
    """Revoke one of the operator's own keys, effective with its next request. Raises NotFound, OnlyAPerson."""
    if operator.key_id is not None:
        raise OnlyAPerson
    row = OperatorKey.objects.select_for_update(no_key=True).filter(id=key_id, user_id=operator.id).first()
    if row is None:
        raise NotFound
    if row.revoked_at is None:
        OperatorKey.objects.filter(id=key_id).update(revoked_at=DatabaseNow())
        record_act(operator, REVOKED, target=("operator_key", row.id, row.name))


def keys_of(operator: Operator) -> list[OperatorKeyRow]:
    """Return the operator's own live keys, newest first."""
    rows = _live().filter(user_id=operator.id).order_by("-created_at")
    return [OperatorKeyRow(*row) for row in rows.values_list(*OperatorKeyRow.__dataclass_fields__)]


def operator_by_key(request: HttpRequest, secret: str) -> Operator | None:
    """Return the operator of a key, with those of its roles that they still hold; None for an unknown or ended key."""
    if not secret.startswith(KEY_START) or len(secret) > LONGEST_KEY:
        return None
    prefix = secret.removeprefix(KEY_START)[:PREFIX_LENGTH]
    key = _live().filter(prefix=prefix, key_hash=key_hash(secret), user__is_active=True).select_related("user").first()
    if key is None:
        return None
    held = OperatorGrant.objects.filter(user_id=key.user_id, role__in=key.roles)
    roles = tuple(held.order_by("role").values_list("role", flat=True))
    stale = Q(last_used_at=None) | Q(last_used_at__lt=DatabaseNow() - NOTED)
    OperatorKey.objects.filter(stale, id=key.id).update(last_used_at=DatabaseNow())
    operator = Operator(
        id=key.user_id, label=f"{key.user.email} by the key {key.name}"[:254], roles=roles, key_id=key.id
    )
    return replace(operator, ip=request.META.get("REMOTE_ADDR", ""), request_id=getattr(request, "request_id", ""))


def _live() -> QuerySet[OperatorKey]:
    return OperatorKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()), revoked_at=None)
