"""An account made by a link that no mailbox received opens nothing once a provider names its address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core import mail
from django.test import Client, override_settings

from config.mail import mail_settings
from tenants.identity import invitations
from tenants.identity.providers import scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Membership, Session, Tenant, User
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ADA = {"sub": "ada-1", "email": "ada@ours.example"}
KNOWN = "a password of a stranger 1"


def joined(tenant: Tenant, tmp_path: Path, *, by_mail: bool) -> tuple[User, Client]:
    """Let a stranger's organisation invite Ada's address; return the account that its link made, and that browser."""
    with override_settings(
        **mail_settings(f"{'smtp://mail.example:25' if by_mail else f'file://{tmp_path}'}", tmp_path)
    ):
        row = invitations.invite(actor=factories.actor_for(tenant), email=ADA["email"], role="viewer")
        browser = Client()
        link = f"/accounts/invitation/{invitations.token_of(row.id)}/"
        assert browser.post(link, {"name": "Ada", "password": KNOWN}).status_code == 302
    user = User.objects.get(email=ADA["email"])
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return user, browser


def named(how: str, tenant: Tenant, idp: OpenIdProvider) -> None:
    """Let the tenant's provider name Ada."""
    if how == "OpenID":
        assert steps.log_in(Client(), tenant.slug, idp, **ADA).status_code == 302
        return
    token = scim_tokens.create(actor=steps.owner_of(tenant), name=f"provisioning {how}").secret
    made = Client().post(
        "/scim/v2/Users",
        {"userName": ADA["email"], "active": how != "SCIM, inactive"},
        "application/scim+json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert made.status_code == 201, made.content


def opens(user: User, browser: Client) -> bool:
    """Return whether the stranger's browser or password still opens the account."""
    user.refresh_from_db()
    factors = Authenticator.objects.filter(user=user).exists()
    Authenticator.objects.filter(user=user).delete()
    logged = Client().post("/accounts/login/", {"login": user.email, "password": KNOWN})
    return factors or logged.status_code == 302 or browser.get("/accounts/settings/").status_code == 200


@pytest.mark.parametrize("member", [False, True], ids=["of another organisation", "of this one"])
@pytest.mark.parametrize("how", ["OpenID", "SCIM", "SCIM, inactive"])
def test_who_took_an_address_by_a_link_that_was_passed_on_keeps_nothing(
    how: str, member: bool, tenant: Tenant, idp: OpenIdProvider, tmp_path: Path
) -> None:
    user, stranger = joined(tenant if member else factories.make_tenant("second"), tmp_path, by_mail=False)
    named(how, tenant, idp)
    assert not opens(user, stranger)
    assert not Session.objects.filter(user_id=user.id, bound_tenant=None).exists()
    with tenant_scope(tenant.id):
        assert Membership.objects.filter(user=user).exists() == (how != "SCIM, inactive")
        entry = AuditEntry.objects.get(action="tenants.member.log_in_reset")
        assert entry.changes["password"] == [True, False]
    ada = Client()
    if how != "SCIM, inactive":
        assert steps.log_in(ada, tenant.slug, idp, **ADA).status_code == 302
        assert ada.get(f"/t/{tenant.slug}/jobs/").status_code == 200


@pytest.mark.parametrize("how", ["OpenID", "SCIM"])
def test_who_got_the_link_by_mail_keeps_their_log_in(
    how: str, tenant: Tenant, idp: OpenIdProvider, tmp_path: Path
) -> None:
    user, browser = joined(factories.make_tenant("second"), tmp_path, by_mail=True)
    named(how, tenant, idp)
    assert Authenticator.objects.filter(user=user).exists()
    assert opens(user, browser)


def test_a_password_by_a_link_to_the_address_stays(
    tenant: Tenant, idp: OpenIdProvider, tmp_path: Path, client: Client
) -> None:
    user, _ = joined(factories.make_tenant("second"), tmp_path, by_mail=False)
    named("SCIM", tenant, idp)
    client.post("/accounts/password/reset/", {"email": user.email})
    link = next(word for word in mail.outbox[-1].body.split() if "/password/reset/key/" in word)
    form = client.get(link.partition("testserver")[2] or link[link.index("/accounts") :], follow=True)
    chosen = {"password1": "another horse, another battery", "password2": "another horse, another battery"}
    assert client.post(form.redirect_chain[-1][0], chosen).status_code == 302
    named("OpenID", tenant, idp)
    user.refresh_from_db()
    assert user.has_usable_password() and user.address_proven


def test_nobody_joins_with_the_published_password(tenant: Tenant, settings: Any) -> None:
    row = invitations.invite(actor=factories.actor_for(tenant), email=ADA["email"], role="viewer")
    link = f"/accounts/invitation/{invitations.token_of(row.id)}/"
    refused = Client().post(link, {"name": "Ada", "password": settings.PUBLISHED_PASSWORD})
    assert refused.status_code == 400 and "This password is public" in text_of(refused)
    assert not User.objects.filter(email=ADA["email"]).exists()
