"""An operator inside a tenant: by a single-use ticket, in a session of its own that knows no person, reading only.

The statement that enters steps down to the database role `exchequer_glass`, in a transaction that only reads: no page can
give more than that role may read, and the role reads nothing once the look is over.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import structlog
from django.db import DatabaseError, connection
from django.http import HttpRequest
from psycopg import errors as refused_by

from tenants.access.actor import Actor
from tenants.access.standing import Standing
from tenants.audit import AuditAction, operation, record
from tenants.errors import NotFound, PermissionDenied
from tenants.identity.authentication import Entered, open_tenant, origin_of
from tenants.isolation.scoping import entered_scope
from tenants.models import BreakGlass

ENTERED = AuditAction("tenants.break_glass.entered")
#: In the session's data: the secret of the look, and when it ends.
LOOK, LOOK_ENDS = "look", "look_ends"
ENTER = "SELECT tenant, ends_at FROM exchequer_enter_glass(%s, %s)"


class LookOver(PermissionDenied):
    """This look inside is over, or belongs to another organisation. Open it again in the operators' console."""

    code = "look_over"


class OnlyReads(PermissionDenied):
    """This is not part of a look inside: it reads the organisation's work, without budgets, invoices, keys, files or the audit log."""

    code = "look_only_reads"


@dataclass(frozen=True)
class Opened:
    """A look that was opened: where it is."""

    tenant_id: UUID
    slug: str
    ends_at: datetime


def is_looking(request: HttpRequest) -> bool:
    """Return whether the session of a request is that of a look."""
    return bool(request.session.session_key) and LOOK in request.session


def open_look(request: HttpRequest, ticket: str) -> Opened:
    """Open a look with its ticket, in place of whatever the browser's session held. Raises NotFound for a used one."""
    secret = secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM exchequer_break_glass(%s, %s)", [_digest(ticket), _digest(secret)])
        found = cursor.fetchone()
    if found is None:
        raise NotFound("This ticket was used, or is too old. Open the look again in the operators' console.")
    opened = _entered(actor=Actor.system(found[0], "operator"), look_id=found[1], origin=origin_of(request))
    request.session.flush()
    request.session[LOOK], request.session[LOOK_ENDS] = secret, opened.ends_at.isoformat()
    return opened


@contextmanager
def entering(request: HttpRequest, slug: str) -> Iterator[Entered]:
    """Enter a tenant to look inside; yields the actor and the tenant. Raises LookOver, and OnlyReads for what is not read."""

    def enter() -> Entered | None:
        with connection.cursor() as cursor:
            cursor.execute(ENTER, [_digest(request.session[LOOK]).hex(), slug])
            found = cursor.fetchone()
        tenant = open_tenant(found[0]) if found else None
        if tenant is None:
            return None
        told: dict[str, Any] = {"standing": cast(Standing, tenant.standing), **origin_of(request)}
        return Actor.looking_inside(tenant.id, **told), tenant

    before = _role()
    try:
        with entered_scope(enter, lambda entered: entered[1].id) as entered:
            if entered is None:
                raise LookOver
            if request.method not in ("GET", "HEAD"):
                raise OnlyReads
            yield entered
            _step_up(before)
    except DatabaseError as error:
        if isinstance(error.__cause__, refused_by.InsufficientPrivilege | refused_by.ReadOnlySqlTransaction):
            structlog.get_logger(__name__).info("look.refused", path=request.path, error=str(error.__cause__))
            raise OnlyReads from error
        raise


def _role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role')")
        (role,) = cursor.fetchone()
    return str(role)


def _step_up(role: str) -> None:
    """Be the role of before again: inside a transaction that goes on, the one of the look would go on too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('role', %s, true), set_config('app.glass', '', true)", [role])


@operation(ENTERED)
def _entered(*, actor: Actor, look_id: UUID, origin: dict[str, Any]) -> Opened:
    look = BreakGlass.objects.select_related("tenant").get(id=look_id)
    record(ENTERED, actor=actor, target=("break_glass", look.id, look.tenant.slug), reason=look.reason)
    return Opened(look.tenant_id, look.tenant.slug, cast(datetime, look.ends_at))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
