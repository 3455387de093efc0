"""An account that a tenant's provider made never has a password or a second factor, whatever its owner or others ask for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client

from tenants import operations
from tenants.errors import Conflict
from tenants.identity import invitations
from tenants.identity.providers import scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, Tenant, User
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ADA = {"sub": "ada-1", "email": "ada@ours.example"}
NEW = "another horse, another battery"


@pytest.fixture(params=["just in time", "SCIM"])
def ada(request: pytest.FixtureRequest, tenant: Tenant, idp: OpenIdProvider) -> User:
    """A person whose account the provider made, and a browser's log-in by it."""
    if request.param == "SCIM":
        token = scim_tokens.create(actor=steps.owner_of(tenant), name="provisioning").secret
        made = Client().post(
            "/scim/v2/Users",
            {"userName": ADA["email"], "active": True, "password": NEW},
            "application/scim+json",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert made.status_code == 201, made.content
    else:
        assert steps.log_in(Client(), "ours", idp, **ADA).status_code == 302
    return User.objects.get(email=ADA["email"])


def without_password(user: User) -> bool:
    user.refresh_from_db()
    logged = Client().post("/accounts/login/", {"login": user.email, "password": NEW})
    return not user.has_usable_password() and logged.status_code != 302


def test_a_forgotten_password_sends_no_link_but_where_to_log_in(ada: User) -> None:
    factories.make_user("own@ours.example")
    told = [
        Client().post("/accounts/password/reset/", {"email": email}, follow=True)
        for email in (ada.email, "own@ours.example", "nobody@ours.example")
    ]
    pages = {re.findall("<main.*</main>", text_of(one))[0] for one in told}
    assert len(pages) == 1, "the page says the same of every address"
    assert "log in by your organisation" in pages.pop()
    to_ada, to_other = mail.outbox
    assert to_ada.to == [ada.email] and "/accounts/provider/" in to_ada.body
    assert "/password/reset/key/" not in to_ada.body and "/password/reset/key/" in to_other.body


def test_a_link_that_was_sent_before_sets_no_password(ada: User) -> None:
    client = Client()
    link = f"/accounts/password/reset/key/{user_pk_to_url_str(ada)}-{default_token_generator.make_token(ada)}/"
    form = client.get(link, follow=True)
    assert form.status_code == 200
    refused = client.post(form.redirect_chain[-1][0], {"password1": NEW, "password2": NEW})
    assert "Log in by your organisation instead" in text_of(refused)
    assert without_password(ada)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("password/set/", {"password1": NEW, "password2": NEW}),
        ("password/change/", {"oldpassword": "", "password1": NEW, "password2": NEW}),
        ("2fa/totp/activate/", {"code": "000000"}),
        ("2fa/webauthn/add/", {"name": "key", "credential": "{}"}),
        ("2fa/recovery-codes/generate/", {}),
        ("email/", {"action_add": "", "email": "other@elsewhere.example"}),
        ("confirm-email/abc/", {}),
    ],
)
def test_no_page_of_the_account_gives_one_or_a_second_factor(
    path: str, form: dict[str, Any], ada: User, tenant: Tenant, idp: OpenIdProvider
) -> None:
    by_provider = Client()
    assert steps.log_in(by_provider, "ours", idp, **ADA).status_code == 302
    unbound = Client()  # no log-in opens such a session: if one did, it would set no password either
    unbound.force_login(ada)
    for client in (by_provider, unbound):
        client.get(f"/accounts/{path}")
        client.post(f"/accounts/{path}", form)
    assert without_password(ada)
    assert not Authenticator.objects.filter(user=ada).exists()


def test_an_invitation_to_another_organisation_gives_none(ada: User) -> None:
    third = factories.make_tenant("third")
    row = invitations.invite(actor=factories.actor_for(third), email=ada.email, role="engineer")
    link = f"/accounts/invitation/{invitations.token_of(row.id)}/"
    refused = Client().post(link, {"name": "Ada", "password": NEW})
    assert refused.status_code == 409
    assert "log in by your organisation" in text_of(refused)
    assert without_password(ada)
    with tenant_scope(third.id):
        assert not Membership.objects.filter(user=ada).exists()


def test_no_command_makes_it_another_organisations_owner_and_the_database_keeps_it_so(ada: User) -> None:
    with pytest.raises(Conflict), transaction.atomic():
        operations.create_tenant(name="Fourth", slug="fourth", email=ada.email, password=NEW)
    ada.set_password(NEW)
    with pytest.raises(IntegrityError), transaction.atomic():
        ada.save()
    assert without_password(ada)


def test_whom_a_person_invites_again_comes_back_by_the_provider(ada: User, tenant: Tenant, idp: OpenIdProvider) -> None:
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    assert owner.delete(f"/api/v1/members/{ada.id}/").status_code in (200, 204)
    assert steps.log_in(Client(), "ours", idp, **ADA).status_code == 403
    invitations.invite(actor=steps.owner_of(tenant), email=ada.email, role="engineer")
    back = Client()
    assert steps.log_in(back, "ours", idp, **ADA).status_code == 302
    assert back.get("/api/v1/me/").json()["role"] == "engineer"
    assert [one["state"] for one in owner.get("/api/v1/invitations/").json()["results"]][:1] != ["open"]
    assert without_password(ada)
