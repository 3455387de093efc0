"""A session that a tenant's provider opened enters that tenant alone, and changes nothing of the person's account."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tenants.identity import invitations
from tenants.identity.providers.configuration import NobodyComesIn
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Membership, Session, Tenant, User
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider
from tests.support import factories
from tests.support.console import set_up_second_factor
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
VICTIM = "victim@ours.example"
ASSERTED = {"sub": "victim-1", "email": VICTIM}


def entered(client: Client, path: str, **headers: str) -> int:
    return int(client.get(path, headers=headers).status_code)


@pytest.fixture
def theirs(tenant: Tenant) -> Tenant:
    """Another tenant, which the person whose address the provider asserts owns by a password account."""
    made = factories.make_tenant("theirs")
    factories.make_member(made, "owner", VICTIM)
    return made


@pytest.fixture
def bound(theirs: Tenant, idp: OpenIdProvider) -> Client:
    """A browser that the provider of `ours` has logged in as that person."""
    client = Client()
    assert steps.log_in(client, "ours", idp, **ASSERTED).status_code == 302
    return client


def test_it_opens_its_tenant_and_no_other_by_any_route(bound: Client, theirs: Tenant) -> None:
    assert entered(bound, "/t/ours/") == 200
    for path in ("", "settings/", "members/", "dash/spend/", "dash/usage/", "audit/", "jobs/", "api-keys/"):
        missing = bound.get(f"/t/missing/{path}")
        foreign = bound.get(f"/t/theirs/{path}")
        assert (foreign.status_code, missing.status_code) == (404, 404), path
    assert bound.post("/t/theirs/dash/spend/_dash-update-component", {}, "application/json").status_code == 404
    assert bound.get("/api/v1/me/").json()["tenant"]["slug"] == "ours"
    assert entered(bound, "/api/v1/me/", **{"X-Exchequer-Tenant": "theirs"}) == 401
    assert entered(bound, "/api/v1/members/", **{"X-Exchequer-Tenant": "theirs"}) == 401
    assert bound.post(
        "/api/v1/api-keys/", {"name": "x", "scopes": ["jobs.view"]}, "application/json",
        headers={"X-Exchequer-Tenant": "theirs"},
    ).status_code in (401, 403)  # fmt: skip
    # The row of the session is not what decides alone, nor what it was in last.
    Session.objects.filter(bound_tenant__isnull=False).update(tenant_slug="theirs")
    assert entered(bound, "/api/v1/me/") == 401


def test_the_row_and_the_signed_data_must_agree(bound: Client, theirs: Tenant) -> None:
    Session.objects.filter(bound_tenant__isnull=False).update(bound_tenant=None)
    assert entered(bound, "/t/theirs/") == 404
    assert entered(bound, "/t/ours/") == 200


def test_no_page_names_the_persons_other_organisations(bound: Client, theirs: Tenant) -> None:
    assert bound.get("/")["Location"] == "/t/ours/"
    for path in ("/t/ours/", "/t/ours/settings/", "/t/ours/missing/"):
        assert "Theirs" not in text_of(bound.get(path)), path


def test_it_sees_and_ends_no_session_of_the_account_beside_its_own(
    bound: Client, theirs: Tenant, idp: OpenIdProvider
) -> None:
    own = Client(headers={"User-Agent": "The own browser"})
    own.post("/accounts/login/", {"login": VICTIM, "password": factories.PASSWORD})
    second = Client()
    steps.log_in(second, "ours", idp, **ASSERTED)
    rows = bound.get("/api/v1/sessions/").json()["results"]
    assert len(rows) == 2
    assert "The own browser" not in {row["user_agent"] for row in rows}
    assert "The own browser" not in text_of(bound.get("/t/ours/settings/"))
    everything = own.get("/api/v1/sessions/", headers={"X-Exchequer-Tenant": "theirs"}).json()["results"]
    assert len(everything) == 3, "the person sees what was opened in their name"
    hidden = next(row["id"] for row in everything if row["current"])
    assert bound.delete(f"/api/v1/sessions/{hidden}/").status_code == 404
    assert bound.delete("/api/v1/sessions/").status_code == 204
    assert entered(second, "/t/ours/") == 302
    assert entered(own, "/t/theirs/") == 200


ACCOUNT = (
    "/accounts/password/change/",
    "/accounts/password/set/",
    "/accounts/password/reset/",
    "/accounts/reauthenticate/",
    "/accounts/2fa/",
    "/accounts/2fa/totp/activate/",
    "/accounts/2fa/webauthn/",
    "/accounts/2fa/webauthn/add/",
    "/accounts/2fa/recovery-codes/generate/",
    "/accounts/email/",
)


@pytest.mark.parametrize("path", ACCOUNT)
def test_it_opens_and_changes_nothing_of_the_account(bound: Client, path: str) -> None:
    before = User.objects.get(email=VICTIM).password
    form = {
        "oldpassword": factories.PASSWORD,
        "password": factories.PASSWORD,
        "password1": "another one 99",
        "password2": "another one 99",
    }
    for answer in (bound.get(path), bound.post(path, form)):
        assert answer.status_code == 403
        assert "session_bound" in str(answer.context) or "identity provider opened this session" in text_of(answer)
    assert User.objects.get(email=VICTIM).password == before
    assert entered(bound, "/t/ours/") == 200


def test_it_does_not_rename_the_person(bound: Client) -> None:
    User.objects.filter(email=VICTIM).update(name="The own name")
    assert bound.post("/t/ours/settings/", {"name": "Another", "theme": "dark"}).status_code == 302
    person = User.objects.get(email=VICTIM)
    assert (person.name, person.theme) == ("The own name", "dark")


def test_it_joins_no_other_organisation_by_invitation(bound: Client) -> None:
    third = factories.make_tenant("third")
    row = invitations.invite(actor=factories.actor_for(third), email=VICTIM, role="engineer")
    link = f"/accounts/invitation/{invitations.token_of(row.id)}/"
    assert bound.get(link).status_code == 403
    assert bound.post(link).status_code == 403
    with tenant_scope(third.id):
        assert not Membership.objects.filter(user__email=VICTIM).exists()


def test_the_password_opens_all_of_it_again(bound: Client, theirs: Tenant) -> None:
    assert bound.post("/accounts/logout/").status_code == 302
    bound.post("/accounts/login/", {"login": VICTIM, "password": factories.PASSWORD})
    assert entered(bound, "/t/theirs/") == 200
    assert entered(bound, "/accounts/password/change/") == 200
    assert {"Ours", "Theirs"} <= set(text_of(bound.get("/")).replace("<", " ").replace(">", " ").split())


def test_nothing_of_it_stands_in_the_log_of_another_organisation(bound: Client, theirs: Tenant) -> None:
    with tenant_scope(theirs.id):
        assert not AuditEntry.objects.filter(action="tenants.session.started").exists()


def test_it_ends_with_the_membership_the_provider_and_the_link(
    bound: Client, tenant: Tenant, idp: OpenIdProvider
) -> None:
    person = User.objects.get(email=VICTIM)
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    assert owner.delete(f"/api/v1/members/{person.id}/").status_code in (200, 204)
    assert entered(bound, "/t/ours/") == 404
    assert entered(bound, "/api/v1/me/") == 401
    refused = steps.log_in(Client(), "ours", idp, **ASSERTED)
    assert refused.status_code == 403
    assert "invite you again" in text_of(refused), "whom a person removed comes back by a person's act only"

    row = invitations.invite(actor=steps.owner_of(tenant), email=VICTIM, role="engineer")
    own = Client()
    own.post("/accounts/login/", {"login": VICTIM, "password": factories.PASSWORD})
    assert own.post(f"/accounts/invitation/{invitations.token_of(row.id)}/").status_code == 302
    back = Client()
    assert steps.log_in(back, "ours", idp, **ASSERTED).status_code == 302
    assert back.get("/api/v1/me/").json()["role"] == "engineer"
    steps.configure(tenant, idp, enabled=False)
    assert entered(back, "/t/ours/") == 302
    assert entered(own, "/t/ours/") == 200


@pytest.mark.django_db(transaction=True)
def test_a_required_provider_keeps_passwords_out_and_leaves_an_owner_a_way_in(
    tenant: Tenant, idp: OpenIdProvider
) -> None:
    staff = factories.make_member(tenant, "engineer", "staff@ours.example")
    guest = factories.make_member(tenant, "engineer", "guest@elsewhere.example")
    key = factories.make_api_key(tenant, ["jobs.view"])
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    path = "/t/ours/identity-provider/require/"
    assert owner.post(path, {"required": "1"}).status_code == 409, "nobody could come in if the provider failed"
    set_up_second_factor(owner)
    assert owner.post(path, {"required": "1"}).status_code == 302

    def with_password(email: str) -> Any:
        client = Client()
        client.post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
        return client

    kept_out = with_password(staff.email)
    page = kept_out.get("/t/ours/jobs/")
    assert (page.status_code, page["Location"]) == (302, "/t/ours/sso/?next=%2Ft%2Fours%2Fjobs%2F")
    answer = kept_out.get("/api/v1/jobs/")
    assert (answer.status_code, answer.json()["code"]) == (403, "provider_required")
    assert entered(with_password(guest.email), "/t/ours/jobs/") == 200, "an address beyond the domains is not captured"
    assert entered(owner, "/t/ours/jobs/") == 200
    assert Client().get("/api/v1/jobs/", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    by_provider = Client()
    assert steps.log_in(by_provider, "ours", idp, sub="s", email=staff.email).status_code == 302
    assert entered(by_provider, "/t/ours/jobs/") == 200
    assert owner.post("/t/ours/identity-provider/remove/").status_code == 302
    assert entered(kept_out, "/t/ours/jobs/") == 200


def test_a_provider_stays_as_long_as_no_owner_comes_in_without_it(tenant: Tenant, idp: OpenIdProvider) -> None:
    owner = Client()
    person = User.objects.get(email="owner@ours.example")
    owner.force_login(person)
    password = person.password
    person.set_unusable_password()
    person.save()
    owner.force_login(person)
    refused = owner.post("/t/ours/identity-provider/remove/")
    assert (refused.status_code, "they have no password" in text_of(refused)) == (409, True)
    for more in ({"enabled": False}, {"client_id": "another"}):
        with pytest.raises(NobodyComesIn):
            steps.configure(tenant, idp, **more)
    steps.configure(tenant, idp, name="Another name")
    User.objects.filter(id=person.id).update(password=password)
    steps.configure(tenant, idp, enabled=False)
