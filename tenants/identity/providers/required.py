"""What a session that a provider opened may not do, and who has to come in by the provider."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest

from tenants.access.actor import Actor
from tenants.errors import PermissionDenied
from tenants.identity import second_factor, sessions
from tenants.isolation.scoping import tenant_scope
from tenants.models import IdentityProvider, MailDomain, Tenant

#: Pages of the account that such a session still opens.
OPEN = frozenset({"account_login", "account_logout", "find-provider"})


class ProviderRequired(PermissionDenied):
    """This organisation lets you in by its identity provider only."""

    code = "provider_required"


class BoundSession(PermissionDenied):
    """An organisation's identity provider opened this session: it changes nothing of your account. Log out, and log in with your password."""

    code = "session_bound"


def refuse_account(request: HttpRequest) -> None:
    """Raise BoundSession for a page of the account, if an identity provider opened the session.

    A tenant's provider speaks for that tenant only: password, second factor and other organisations are the person's.
    """
    name = request.resolver_match.url_name if request.resolver_match else None
    if name not in OPEN and sessions.bound_to(request) is not None:
        raise BoundSession


def is_missing(request: HttpRequest, actor: Actor, tenant: Tenant) -> bool:
    """Return whether a person has to come in by the provider and has not. It asks only where one is required.

    An owner who shows a second factor keeps a way in: the provider may fail, or be set up wrongly.
    """
    if not tenant.provider_required or actor.kind != "user" or sessions.bound_to(request) is not None:
        return False
    if is_owner(actor) and second_factor.is_proven(request):
        return False
    return is_captured(actor.label) and IdentityProvider.objects.filter(enabled=True).exists()


def is_owner(actor: Actor) -> bool:
    """Return whether a person is an owner of the tenant."""
    return "owner" in actor.role.split(", ")


def is_captured(email: str) -> bool:
    """Return whether an address lies in a domain that the open tenant has proven."""
    return MailDomain.objects.filter(name=domain_of(email), verified_at__isnull=False).exists()


def domain_of(email: str) -> str:
    """Return the domain of an address, in lower case."""
    return email.rpartition("@")[2].strip().lower()


def tenant_with_provider(slug: str) -> Tenant | None:
    """Return the tenant of a short name, if people can log in by its provider. It reveals nothing else of the tenant."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT exchequer_provider_of(%s)", [slug])
        (tenant_id,) = cursor.fetchone()
    if tenant_id is None:
        return None
    with tenant_scope(tenant_id):
        return Tenant.objects.get(id=tenant_id)


def slug_for(email: str) -> str:
    """Return the short name of the one tenant whose provider answers for an address's domain; empty without exactly one.

    The answer depends on the domain alone, so it says nothing about accounts.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id FROM exchequer_providers_for(%s)", [domain_of(email)])
        found = [row[0] for row in cursor.fetchall()]
    if len(found) != 1:
        return ""
    with tenant_scope(found[0]):
        return str(Tenant.objects.values_list("slug", flat=True).get(id=found[0]))
