"""Sessions in PostgreSQL: Django's store, on a table that knows whose they are.

The statement that enters a tenant reads the session too (`authentication.entering_by_session`); `preload` and
`preloaded_user` hand it to Django, which checks it as it checks its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from allauth.account.auth_backends import AuthenticationBackend
from django.conf import settings
from django.contrib.auth import SESSION_KEY, login
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import QuerySet
from django.http import HttpRequest

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import NotFound
from tenants.models import Session, StoredSession, Tenant, User

SESSION_ENDED = AuditAction("tenants.session.ended", while_closing=True)
#: In the session's data: the tenant whose pages were opened last.
TENANT = "tenant"
#: In the session's data: the id of the only tenant that it opens, if an identity provider of that tenant opened it.
BOUND = "bound"
#: Seconds after which such a session ends: the provider is asked again at the latest then.
BOUND_S = 12 * 3600
#: In the session's data: the tenants whose log has its log-in already; missing if no log-in by password opened it.
ENTERED = "entered"
ORIGIN = "origin"
#: How a user agent names a browser and a system, the particular before what others imitate.
BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)

_loaded: ContextVar[User | None] = ContextVar("loaded_user", default=None)


@dataclass(frozen=True, kw_only=True)
class SessionRow:
    """An open session of a person. `id` names it without revealing its cookie; `current` is the one that asks."""

    id: str
    created_at: datetime
    expires_at: datetime
    ip: str
    user_agent: str
    current: bool

    @property
    def browser(self) -> str:
        """Return the browser and its system as people call them, as far as the user agent says."""
        browser, system = (
            next((words for mark, words in known if mark in self.user_agent), "") for known in (BROWSERS, SYSTEMS)
        )
        return f"{browser} on {system}" if browser and system else browser or system or self.user_agent or "Unknown"


class StoreWithPerson(DatabaseStore):
    """Django's store on a table that knows whose session a row is, and where it was opened."""

    def create_model_instance(self, data: dict[str, Any]) -> StoredSession:
        """Return the row of this session, with its person and origin beside the signed data."""
        row = cast(StoredSession, super().create_model_instance(data))
        origin = data.get(ORIGIN) or {}
        row.user_id = data.get(SESSION_KEY)
        row.ip, row.user_agent = origin.get("ip", "")[:45], origin.get("user_agent", "")[:254]
        return row


class SessionStore(StoreWithPerson):
    """The store of the tenants' people."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        """Return the tenants' table."""
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        """Return the row of this session, with the tenant that it is in."""
        row = cast(Session, super().create_model_instance(data))
        row.tenant_slug = data.get(TENANT) or ""
        row.bound_tenant = bound_in(data)
        return row

    def preload(self, encoded: str) -> None:
        """Take the data that another statement has read; forged or damaged data is an empty session, as in `load`."""
        self._session_cache = self.decode(encoded)


class PreloadedBackend(AuthenticationBackend):  # type: ignore[misc]
    """allauth's backend, which reads no user that the request's statement has read already."""

    def get_user(self, user_id: Any) -> User | None:
        """Return the user with this id, if active."""
        found = _loaded.get()
        if found is not None and str(found.pk) == str(user_id):
            return found if self.user_can_authenticate(found) else None
        user: User | None = super().get_user(user_id)
        return user


def hand_over(request: HttpRequest, encoded: str, user: User) -> None:
    """Let Django check a session and its person that another statement has read; `request.user` is known afterwards."""
    request.session.preload(encoded)  # type: ignore[attr-defined]
    token = _loaded.set(user)
    try:
        bool(request.user.is_authenticated)  # Django compares the session's hash of the password here
    finally:
        _loaded.reset(token)


def bound_in(data: Mapping[str, Any]) -> UUID | None:
    """Return the tenant that a session's data is bound to; None for one that a password opened."""
    return UUID(data[BOUND]) if data.get(BOUND) else None


def bound_to(request: HttpRequest) -> UUID | None:
    """Return the only tenant that the session of a request opens; None for one that a password opened."""
    return bound_in(cast(Mapping[str, Any], request.session))


def open_bound(request: HttpRequest, user: User, tenant: Tenant) -> None:
    """Log a person in by a tenant's identity provider: the session opens that tenant, and nothing of the account.

    Whatever the browser's session held before is gone, so nothing that a password opened is carried over.
    """
    request.session.flush()
    request.session[BOUND] = str(tenant.id)
    request.session[TENANT] = tenant.slug
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.set_expiry(BOUND_S)
    remember_origin(request)


def end_bound(tenant_id: UUID, user_id: UUID | None = None) -> None:
    """End the sessions that a tenant's identity provider opened: all, or those of one person."""
    rows = Session.objects.filter(bound_tenant=tenant_id)
    (rows if user_id is None else rows.filter(user_id=user_id)).delete()


def begin_entries(request: HttpRequest) -> None:
    """Let this session's first entry of each organisation be recorded as a log-in there."""
    request.session[ENTERED] = []


def is_first_entry(request: HttpRequest, tenant_id: UUID) -> bool:
    """Return whether a session that a password opened has not entered an organisation before."""
    before = request.session.get(ENTERED)
    return before is not None and str(tenant_id) not in before


def note_entry(request: HttpRequest, tenant_id: UUID) -> None:
    """Remember that the log of an organisation has this session's log-in, unless the session ended meanwhile."""
    if ENTERED in request.session:
        request.session[ENTERED] = [*request.session[ENTERED], str(tenant_id)]


def remember_origin(request: HttpRequest) -> None:
    """Store where a session was opened, for the list of sessions."""
    request.session[ORIGIN] = {
        "ip": request.META.get("REMOTE_ADDR", ""),
        "user_agent": request.headers.get("User-Agent", ""),
    }


def sessions_of(user_id: UUID, *, cookie: str | None = None, bound: UUID | None = None) -> list[SessionRow]:
    """Return a person's open sessions, newest first; `cookie` is the session that asks.

    One that is `bound` to a tenant sees those that are bound to it, too, and none of the account's others.
    """
    rows = _own(user_id, bound).filter(expire_date__gt=DatabaseNow()).order_by("-created_at")
    return [
        SessionRow(
            id=public_id(row.session_key),
            created_at=row.created_at,
            expires_at=row.expire_date,
            ip=row.ip,
            user_agent=row.user_agent,
            current=row.session_key == cookie,
        )
        for row in rows
    ]


@operation(SESSION_ENDED)
def end(*, actor: Actor, session_id: str = "", cookie: str | None = None, bound: UUID | None = None) -> int:
    """End one of the actor's own sessions, or all but the one that asks; return how many ended. Raises NotFound.

    `bound` limits it as in `sessions_of`.
    """
    if actor.kind != "user" or actor.id is None:
        raise NotFound
    own = _own(actor.id, bound)
    chosen = [key for key in own.values_list("session_key", flat=True) if _fits(key, session_id, cookie)]
    if session_id and not chosen:
        raise NotFound
    if not chosen:
        unchanged("no other session is open")
        return 0
    Session.objects.filter(session_key__in=chosen).delete()
    record(SESSION_ENDED, actor=actor, target=("member", actor.id, actor.label), changes={"sessions": [len(chosen), 0]})
    return len(chosen)


def end_others(user_id: UUID, cookie: str | None) -> None:
    """End a person's sessions but one: those of before a change of the password, which open nothing any more."""
    Session.objects.filter(user_id=user_id).exclude(session_key=cookie or "").delete()


def public_id(cookie: str) -> str:
    """Return the name of a session that does not reveal its cookie: 32 hexadecimal digits."""
    return hashlib.sha256(b"session:" + cookie.encode()).hexdigest()[:32]


def _own(user_id: UUID, bound: UUID | None) -> QuerySet[Session]:
    rows = Session.objects.filter(user_id=user_id)
    return rows if bound is None else rows.filter(bound_tenant=bound)


def _fits(key: str, session_id: str, cookie: str | None) -> bool:
    return public_id(key) == session_id if session_id else key != cookie
