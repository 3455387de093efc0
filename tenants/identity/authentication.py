"""Authenticate requests by session or API key. Both result in one `Actor`.

Look-ups before a tenant is known go through two database functions that return ids only.
"""

import hashlib
import hmac
import secrets
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connection
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenants.access.actor import Actor, key_lacks
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, Membership, Tenant

KEY_START = "exq_"
PREFIX_LENGTH = 8
LONGEST_KEY = 200
NOTED_S, MOST_NOTED = 60.0, 10_000


def new_key() -> tuple[str, str, bytes]:
    """Return a new API key, its prefix and its hash; the key itself is never stored."""
    key = f"{KEY_START}{secrets.token_hex(PREFIX_LENGTH // 2)}_{secrets.token_urlsafe(32)}"
    return key, key_prefix(key), key_hash(key)


def key_prefix(key: str) -> str:
    """Return the lookup prefix of a key: its first random characters, or a hash prefix for operator-chosen keys."""
    if key.startswith(KEY_START):
        return key.removeprefix(KEY_START)[:PREFIX_LENGTH]
    return hashlib.sha256(b"chosen:" + key.encode()).hexdigest()[:PREFIX_LENGTH]


def key_hash(key: str) -> bytes:
    """Return SHA-256 of a key: 32 bytes. The key has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).digest()


def tenant_ids_of(user_id: UUID) -> list[UUID]:
    """Return the tenants of which a person is a member."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id FROM exchequer_memberships(%s)", [user_id])
        return [row[0] for row in cursor.fetchall()]


def tenant_id_for(user_id: UUID, slug: str) -> UUID | None:
    """Return the id of the tenant with this slug if the person is a member of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT exchequer_tenant_for(%s, %s)", [user_id, slug])
        row = cursor.fetchone()
    return row[0] if row else None


def member_actor(request: HttpRequest, user: Any, tenant_id: UUID) -> tuple[Actor, Tenant] | None:
    """Return the actor for a person in a tenant, and the tenant; None without a membership.

    Both are read again for each request.
    """
    with tenant_scope(tenant_id):
        membership = Membership.objects.select_related("tenant").filter(user_id=user.id).first()
    if membership is None:
        return None
    actor = Actor.member(tenant_id=tenant_id, user_id=user.id, email=user.email, role=membership.role)
    return replace(actor, **_origin(request)), membership.tenant


def key_actor(request: HttpRequest, key: str) -> tuple[Actor, Tenant] | None:
    """Return the actor for an API key, and its tenant; None for an unknown, expired or revoked one."""
    if not key or len(key) > LONGEST_KEY:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM exchequer_api_keys(%s)", [key_prefix(key)])
        candidates = cursor.fetchall()
    for tenant_id, key_id in candidates:
        with tenant_scope(tenant_id):
            row = _live_keys().select_related("tenant").filter(id=key_id).first()
            if row is None or not hmac.compare_digest(bytes(row.key_hash), key_hash(key)):
                continue
            permissions = _of_key(row)
            if permissions is None:
                continue
            _note_use(key_id)
            actor = Actor(
                kind="api_key",
                tenant_id=tenant_id,
                id=row.id,
                label=row.name,
                role="key",
                permissions=permissions,
                **_origin(request),
            )
            return actor, row.tenant
    return None


def actor_today(tenant_id: UUID, who: UUID | None) -> Actor:
    """Return a past actor with its current rights: a person or a key, without rights if deleted; None is the system."""
    if who is None:
        return Actor.system(tenant_id, "controller")
    role = Membership.objects.filter(user_id=who, user__is_active=True).values_list("role", flat=True).first()
    if role is not None:
        return Actor.member(tenant_id=tenant_id, user_id=who, email="", role=role)
    key = _live_keys().filter(id=who).first()
    permissions = (_of_key(key) if key is not None else None) or frozenset()
    return Actor(kind="api_key", tenant_id=tenant_id, id=who, label="", permissions=permissions)


def _live_keys() -> Any:
    return ApiKey.objects.extra(where=["revoked_at IS NULL", "(expires_at IS NULL OR expires_at > exchequer_now())"])


def _of_key(row: ApiKey) -> frozenset[str] | None:
    """Return the permissions of a key, limited to those of the member it descends from; None if that member is gone."""
    permissions = frozenset(row.scopes)
    if row.membership_id is None:
        return permissions
    member = Membership.objects.filter(id=row.membership_id, user__is_active=True)
    role = member.values_list("role", flat=True).first()
    return None if role is None else permissions & ROLE_PERMISSIONS.get(role, frozenset())


_noted: dict[UUID, float] = {}


def _note_use(key_id: UUID) -> None:
    """Record the use of a key, at most once a minute in this process, to save a statement per request."""
    at = time.monotonic()
    if at - _noted.get(key_id, -NOTED_S) < NOTED_S:
        return
    if len(_noted) > MOST_NOTED:
        _noted.clear()
    _noted[key_id] = at
    ApiKey.objects.filter(id=key_id).extra(
        where=["last_used_at IS NULL OR last_used_at < exchequer_now() - interval '1 minute'"]
    ).update(last_used_at=DatabaseNow())


def bearer(request: HttpRequest) -> str | None:
    """Return the bearer token of a request, or None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _origin(request: HttpRequest) -> dict[str, Any]:
    return {
        "ip": request.META.get("REMOTE_ADDR", ""),
        "user_agent": request.headers.get("User-Agent", ""),
        "request_id": getattr(request, "request_id", ""),
    }


class ActorAuthentication(SessionAuthentication):
    """Passes the middleware's actor to REST endpoints; a session must also pass the CSRF check."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return (user, actor), or None for an anonymous request."""
        actor: Actor | None = getattr(request._request, "actor", None)
        if actor is None:
            if bearer(request._request) is not None:
                raise AuthenticationFailed("This API key is unknown, expired or revoked.")
            return None
        if actor.kind == "user":
            self.enforce_csrf(request)
        return request._request.user, actor

    def authenticate_header(self, request: Request) -> str:
        """Return the header that makes an anonymous request a 401."""
        return 'Bearer realm="exchequer"'


class DeclaredPermission(BasePermission):
    """Lets a request pass if the endpoint declares a permission for its method and the actor has it.

    A method with a handler and no declared permission is denied.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether the actor may call this method; a method without a handler falls through to 405."""
        method = "GET" if request.method == "HEAD" else request.method or ""
        if not hasattr(view, method.lower()):
            return True
        actor: Any = request.auth
        if method == "OPTIONS":
            return actor is not None
        declared: dict[str, str] = getattr(view, "permissions", {})
        needed = declared.get(method)
        if actor is not None and actor.kind == "api_key":
            self.message = key_lacks(str(needed))
        return bool(needed and actor is not None and actor.can(needed))
