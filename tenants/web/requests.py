"""The request of a tenant's page or endpoint, typed: what the middleware found out about it."""

import re
import secrets
from typing import TypeGuard, cast
from uuid import UUID

from django.http import HttpRequest

from tenants.access.actor import Actor
from tenants.models import Tenant

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_for(given: str) -> str:
    """Return the id that a client gave its request, if it is one, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


class TenantRequest(HttpRequest):
    """A request admitted to a tenant. Nothing is an instance of it: `admit` makes a plain request one."""

    request_id: str
    actor: Actor
    tenant: Tenant
    tenant_id: UUID


def admit(request: HttpRequest, actor: Actor, tenant: Tenant) -> TenantRequest:
    """Put the actor and the tenant on a request; return the same request."""
    admitted = cast(TenantRequest, request)
    admitted.actor, admitted.tenant, admitted.tenant_id = actor, tenant, actor.tenant_id
    return admitted


def is_admitted(request: HttpRequest) -> TypeGuard[TenantRequest]:
    """Return whether a request was admitted to a tenant: not at login, nor on a page of the platform."""
    return hasattr(request, "actor")
