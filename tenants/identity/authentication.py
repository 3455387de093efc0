"""Authenticate requests by session or API key. Both result in one `Actor`.

What is read once a tenant is known is read within that tenant (`exchequer_enter_member`, `exchequer_enter_key`).
"""

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from django.db import DatabaseError, connection
from django.db.models import Model, Q
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.access.rights import NO_RIGHTS, Rights, rights_from
from tenants.clock import DatabaseNow
from tenants.identity import creators, sessions
from tenants.isolation.scoping import entered_scope, tenant_scope
from tenants.models import ApiKey, Tenant, User
from tenants.rights import held
from tenants.rows import prepared_cursor

KEY_START, PREFIX_LENGTH, LONGEST_KEY = "exq_", 8, 200
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


Entered = tuple[Actor, Tenant]
M = TypeVar("M", bound=Model)

BY_ID = "SELECT tenant, grants FROM exchequer_enter_member(%s, %s)"
BY_SESSION = "SELECT session_data, person, tenant, grants FROM exchequer_enter_session(%s, %s)"
BY_KEY = "SELECT tenant, key_id, key_name, scopes, bounded, grants, project, owner FROM exchequer_enter_key(%s, %s)"


@contextmanager
def entering_by_session(request: HttpRequest, slug: str = "") -> Iterator[Entered | None]:
    """Enter a tenant with the session of a request; yields the actor and the tenant in its scope.

    Without a short name it is the tenant that the session is in, or the person's only one. None for a person who does not
    belong to it, and for nobody: then `request.user` is not authenticated. One statement finds out who asks, with all
    grants, and sets the tenant; Django checks the session that it has read.
    """

    def enter() -> Entered | None:
        cookie = request.session.session_key
        found = _one(BY_SESSION, [cookie, slug]) if cookie else None
        if found is None:
            return None
        user = from_json(User, found[1])
        sessions.hand_over(request, found[0], user)
        tenant = open_tenant(found[2])
        if tenant is None or request.user.pk != user.pk:
            return None
        entered = _member(request, user, tenant, found[3])
        # The statement compares with the row; this compares with the data that Django has checked.
        return entered if sessions.bound_to(request) in (None, entered[1].id) else None

    with entered_scope(enter, lambda entered: entered[1].id) as entered:
        yield entered


@contextmanager
def entering_as_member(request: HttpRequest, user: Any, tenant_id: UUID) -> Iterator[Entered | None]:
    """Enter a tenant as a person who is logging in; yields the actor and the tenant, None for no member of it."""

    def enter() -> Entered | None:
        found = _one(BY_ID, [user.id, tenant_id])
        tenant = open_tenant(found[0]) if found else None
        return None if found is None or tenant is None else _member(request, user, tenant, found[1])

    with entered_scope(enter, lambda entered: entered[1].id) as entered:
        yield entered


def _member(request: HttpRequest, user: Any, tenant: Tenant, grants: str) -> Entered:
    rights = rights_from(json.loads(grants))
    actor = Actor.person(tenant_id=tenant.id, user_id=user.id, email=user.email, rights=rights)
    session = getattr(request, "session", None)
    told = f"session:{sessions.public_id(session.session_key)}" if session is not None and session.session_key else ""
    return replace(actor, credential=told, **_from_row(tenant), **origin_of(request)), tenant


def _from_row(tenant: Tenant) -> dict[str, Any]:
    """Return what an actor keeps of its tenant's row."""
    return {"standing": tenant.standing, "restricts": tenant.has_restricted}


@contextmanager
def entering_by_key(request: HttpRequest, key: str, *, alone: bool = False) -> Iterator[Entered | None]:
    """Enter a tenant with an API key; yields the actor and the tenant in its scope.

    None for an unknown, expired or revoked key. One statement, as with a session. Comparing hashes in the database reveals
    nothing by its time: nobody can choose the hash that is compared. `alone`: no scope is opened, for views that open their
    own: this one would hold nothing but that statement.
    """

    def enter() -> Entered | None:
        return holder_of(key, origin_of(request))

    if alone and not connection.in_atomic_block:
        yield enter()
        return
    with entered_scope(enter, lambda entered: entered[1].id) as entered:
        yield entered


def holder_of(key: str, origin: Mapping[str, Any]) -> Entered | None:
    """Return the actor of an API key and its tenant, by one statement; None for an unknown, expired or revoked key.

    `origin`: what `origin_of` returns. Only inside a transaction the statement also sets the tenant.
    """
    if not key or len(key) > LONGEST_KEY:
        return None
    found = _one(BY_KEY, [key_prefix(key), key_hash(key)])
    tenant = open_tenant(found[0]) if found else None
    if found is None or tenant is None:
        return None
    key_id, name, scopes, bounded, grants, project, owner = found[1:]
    rights = _of_key(scopes, rights_from(json.loads(grants)) if bounded else None, project)
    told = {"only_project": project, "owner": owner, **_from_row(tenant), **origin}
    return _key_actor(tenant.id, key_id, name, rights, **told), tenant


def actor_today(tenant_id: UUID, who: UUID | None) -> Actor:
    """Return a past actor with its current rights: a person or a key, without rights if deleted; None is the system.

    What a key started, the key that replaced it may finish.
    """
    if who is None:
        return Actor.system(tenant_id, "controller")
    told = _from_row(Tenant.objects.get(id=tenant_id))
    rights = held.rights_of_person(who)
    if rights is not None:
        return replace(Actor.person(tenant_id=tenant_id, user_id=who, email="", rights=rights), **told)
    live = ApiKey.objects.extra(where=["revoked_at IS NULL", "(expires_at IS NULL OR expires_at > exchequer_now())"])
    key = live.filter(Q(id=who) | Q(succeeds=who)).defer("key_hash").order_by("-id").first()  # which no node reads
    project = key.project_id if key is not None else None
    rights = NO_RIGHTS if key is None else _of_key(key.scopes, creators.root_rights(key), project)
    return _key_actor(tenant_id, who, "", rights, only_project=project, **told)


def _of_key(scopes: list[str], root: Rights | None, project: UUID | None) -> Rights:
    """Return the rights of a key: its scopes, limited to the rights that it descends from, and to its project."""
    return (Rights(PERMISSIONS) if root is None else root).within(scopes, project)


def _key_actor(tenant_id: UUID, key_id: UUID, name: str, rights: Rights, **told: Any) -> Actor:
    return Actor(
        kind="api_key",
        tenant_id=tenant_id,
        id=key_id,
        label=name,
        role="key",
        permissions=rights.everywhere,
        in_projects=rights.in_projects,
        **told,
    )


def _one(statement: str, values: list[Any]) -> tuple[Any, ...] | None:
    with prepared_cursor() as cursor:
        cursor.execute(statement, values)
        return cast("tuple[Any, ...] | None", cursor.fetchone())


def from_json(model: type[M], columns: str) -> M:
    """Return an object from its row as JSON."""
    stored, fields = json.loads(columns), model._meta.concrete_fields
    values = [one.to_python(stored[one.column]) for one in fields]
    return model.from_db("default", [one.attname for one in fields], values)


def open_tenant(columns: str | None) -> Tenant | None:
    """Return a tenant from its row as JSON; None without one, and for a closed one: nobody enters it any more."""
    tenant = from_json(Tenant, columns) if columns else None
    return None if tenant is None or tenant.standing == "closed" else tenant


_noted: dict[UUID, float] = {}


def note_use(actor: Actor) -> None:
    """Record the use of a key, at most once a minute in this process.

    It has a transaction of its own, after the request's: the row of a key must not stay locked while a request runs.
    """
    at, key_id = time.monotonic(), actor.id
    if actor.kind != "api_key" or key_id is None or at - _noted.get(key_id, -NOTED_S) < NOTED_S:
        return
    if len(_noted) > MOST_NOTED:
        _noted.clear()
    _noted[key_id] = at
    try:
        with tenant_scope(actor.tenant_id):
            idle = ApiKey.objects.filter(id=key_id).extra(
                where=["last_used_at IS NULL OR last_used_at < exchequer_now() - interval '1 minute'"]
            )
            # A key that an operation holds is noted another time: the request is over, and nobody waits for this.
            free = list(idle.select_for_update(no_key=True, skip_locked=True).values_list("id", flat=True))
            ApiKey.objects.filter(id__in=free).update(last_used_at=DatabaseNow())
    except DatabaseError as error:
        structlog.get_logger(__name__).warning("key.use_not_noted", key=str(key_id), error=str(error))


def bearer(request: HttpRequest) -> str | None:
    """Return the bearer token of a request, or None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def origin_of(request: HttpRequest) -> dict[str, Any]:
    """Return where a request came from, as an actor keeps it."""
    return {
        "ip": request.META.get("REMOTE_ADDR", ""),
        "user_agent": request.headers.get("User-Agent", ""),
        "request_id": getattr(request, "request_id", ""),
    }


def unknown_key() -> AuthenticationFailed:
    """Return the refusal of a key that lets nobody in."""
    return AuthenticationFailed("This API key is unknown, expired or revoked.")


class ActorAuthentication(SessionAuthentication):
    """Passes the middleware's actor to REST endpoints; a session must also pass the CSRF check."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return (user, actor), or None for an anonymous request."""
        actor: Actor | None = getattr(request._request, "actor", None)
        if actor is None:
            if bearer(request._request) is not None:
                raise unknown_key()
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
        """Return whether the actor may call this method, or raise why not; one without a handler falls through to 405."""
        method = "GET" if request.method == "HEAD" else request.method or ""
        if not hasattr(view, method.lower()):
            return True
        actor: Any = request.auth
        if method == "OPTIONS":
            return actor is not None
        declared: dict[str, str] = getattr(view, "permissions", {})
        needed = declared.get(method)
        if not needed or actor is None:
            return False
        actor.require_somewhere(needed)
        return True
