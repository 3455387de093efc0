"""Identity providers of tenants for tests: configured by the operations, used through the browser's pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.test import Client

from tenants.access.actor import Actor
from tenants.identity.providers import configuration, domains
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, IdentityProvider, MailDomain, Tenant
from tests.fakes.openid import CLIENT_ID, CLIENT_SECRET, OpenIdProvider

DOMAIN = "ours.example"


def owner_of(tenant: Tenant) -> Actor:
    """Return the tenant's first owner as an actor."""
    with tenant_scope(tenant.id):
        grant = Grant.objects.filter(built_in="owner").select_related("membership__user").earliest("id")
        assert grant.membership is not None
        person = grant.membership.user
    return Actor.member(tenant_id=tenant.id, user_id=person.id, email=person.email, role="owner")


def configure(tenant: Tenant, provider: OpenIdProvider, **more: Any) -> IdentityProvider:
    """Configure an OpenID provider."""
    given = {
        "kind": "oidc",
        "name": "The provider",
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "just_in_time": True,
        **more,
    }
    return configuration.save(actor=owner_of(tenant), wanted=configuration.Wanted(**given))


def prove(tenant: Tenant, name: str = DOMAIN) -> MailDomain:
    """List a domain and prove it, as its TXT record would."""
    actor = owner_of(tenant)
    row = domains.add(actor=actor, name=name)
    domains.prove(actor=actor, domain_id=row.id, records=[domains.row_of(row).record_text])
    return row


def log_in(client: Client, slug: str, provider: OpenIdProvider, *, next_page: str = "", **person: Any) -> Any:
    """Log a person in by the provider in this browser; return the last response."""
    begun = client.get(f"/t/{slug}/sso/", {"next": next_page} if next_page else {})
    assert begun.status_code == 302, begun.content
    return come_back(client, provider.log_in(begun["Location"], **person))


def come_back(client: Client, url: str) -> Any:
    """Open the address to which the provider sends the browser."""
    parts = urlsplit(url)
    return client.get(f"{parts.path}?{parts.query}")
