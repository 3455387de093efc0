"""Who comes in by the provider and how: groups by claim, requests to join, requests for a role, tests of the log-in."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from tenants.clock import now
from tenants.grants import grants, groups
from tenants.identity import invitations, members
from tenants.isolation.scoping import tenant_scope
from tenants.models import (
    Approval,
    AuditEntry,
    ExternalIdentity,
    Grant,
    GroupMember,
    Membership,
    OperatorAct,
    Tenant,
    User,
)
from tenants.operators.log import log_ins
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ADA = {"sub": "ada-1", "email": "ada@ours.example"}


def browser(email: str) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
    return client


def in_groups(tenant: Tenant) -> set[tuple[str, str]]:
    with tenant_scope(tenant.id):
        return set(GroupMember.objects.values_list("group__name", "membership__user__email"))


def test_mapped_groups_follow_the_claim_within_the_highest_role(tenant: Tenant, idp: OpenIdProvider) -> None:
    steps.configure(tenant, idp, groups_claim="teams", highest_role="engineer")
    owner, actor = browser("owner@ours.example"), steps.owner_of(tenant)
    with tenant_scope(tenant.id):
        made = {
            name: groups.create_group(actor=actor, name=name) for name in ("Builders", "Readers", "Bosses", "By hand")
        }
        for name, role in (("Builders", "engineer"), ("Bosses", "admin")):
            holder = grants.Holder(group_id=made[name].id)
            grants.give(actor=actor, holder=holder, role=role) if name != "Bosses" else None
    for name in ("Builders", "Readers", "Bosses"):
        form = {"group": str(made[name].id), "claim": f"idp-{name.lower()}"}
        assert owner.post("/t/ours/identity-provider/groups/", form).status_code == 302
    with tenant_scope(tenant.id):
        grants.give(actor=actor, holder=grants.Holder(group_id=made["Bosses"].id), role="admin")
    steps.log_in(Client(), "ours", idp, **ADA, teams=["idp-builders", "idp-bosses", "By hand", "unknown"])
    assert in_groups(tenant) == {("Builders", "ada@ours.example")}, (
        "nobody new comes into a group above the highest role"
    )
    steps.log_in(Client(), "ours", idp, **ADA, teams="idp-readers")
    assert in_groups(tenant) == {("Readers", "ada@ours.example")}
    with tenant_scope(tenant.id):
        person = User.objects.get(email="ada@ours.example")
        groups.add_member(actor=actor, group_id=made["By hand"].id, user_id=person.id)
    steps.log_in(Client(), "ours", idp, **ADA, teams=[])
    assert in_groups(tenant) == {("By hand", "ada@ours.example")}, (
        "groups that are not mapped are none of the provider's"
    )
    form = {"group": str(made["Bosses"].id), "claim": "another"}
    assert owner.post("/t/ours/identity-provider/groups/", form).status_code == 422


def test_who_is_no_member_or_was_removed_is_in_the_operator_log(
    tenant: Tenant, idp: OpenIdProvider, as_control: Any
) -> None:
    steps.configure(tenant, idp, just_in_time=False)
    known = factories.make_member(tenant, "viewer", "bob@ours.example")
    members.remove_member(actor=steps.owner_of(tenant), user_id=known.id)
    assert steps.log_in(Client(), "ours", idp, **ADA).status_code == 403
    assert steps.log_in(Client(REMOTE_ADDR="203.0.113.9"), "ours", idp, sub="b", email=known.email).status_code == 403
    with as_control():
        log_ins.enter()
        rows = list(OperatorAct.objects.filter(action="tenants.log_in.refused").order_by("seq"))
    assert [(row.target_type, row.reason.partition(",")[0]) for row in rows] == [
        ("client", "by an identity provider of ours: not a member"),
        ("client", "by an identity provider of ours: access removed"),
    ]
    assert "ours.example" not in str([vars(row) for row in rows])


def test_a_stranger_asks_to_join_and_a_person_lets_them_in(tenant: Tenant, idp: OpenIdProvider) -> None:
    steps.configure(tenant, idp, just_in_time=False)
    client = Client()
    page = steps.log_in(client, "ours", idp, **ADA)
    assert page.status_code == 403
    assert not User.objects.filter(email="ada@ours.example").exists(), "asking makes no account"
    state = re.search(r'name="state" value="([^"]+)"', text_of(page))
    assert state is not None
    form = {"state": state[1], "reason": "I start on Monday"}
    assert Client().post("/t/ours/sso/join/", form).status_code == 403, "in the browser that logged in alone"
    assert client.post("/t/ours/sso/join/", form).status_code == 200
    assert client.post("/t/ours/sso/join/", form).status_code == 403, "once"
    admin = browser(factories.make_member(tenant, "admin").email)
    waiting = admin.get("/api/v1/approvals/").json()["results"]
    assert [one["sentence"] for one in waiting] == ["Let ada@ours.example join with the role viewer."]
    finance = browser(factories.make_member(tenant, "finance").email)
    assert finance.post(f"/api/v1/approvals/{waiting[0]['id']}/approve/", {}, "application/json").status_code == 404
    assert admin.post(f"/api/v1/approvals/{waiting[0]['id']}/approve/", {}, "application/json").status_code == 200
    assert steps.log_in(client, "ours", idp, **ADA)["Location"] == "/t/ours/"
    assert client.get("/api/v1/me/").json()["role"] == "viewer"
    assert not User.objects.get(email="ada@ours.example").has_usable_password()


def test_a_request_to_join_is_refused_once_its_domain_is_gone(tenant: Tenant, idp: OpenIdProvider) -> None:
    steps.configure(tenant, idp, just_in_time=False)
    client = Client()
    state = re.search(r'name="state" value="([^"]+)"', text_of(steps.log_in(client, "ours", idp, **ADA)))
    assert state is not None
    client.post("/t/ours/sso/join/", {"state": state[1], "reason": "please"})
    owner = browser("owner@ours.example")
    (domain,) = owner.get("/api/v1/identity-provider/domains/").json()["results"]
    assert owner.delete(f"/api/v1/identity-provider/domains/{domain['id']}/").status_code == 204
    (waiting,) = owner.get("/api/v1/approvals/").json()["results"]
    assert owner.post(f"/api/v1/approvals/{waiting['id']}/approve/", {}, "application/json").status_code == 409
    assert owner.get("/api/v1/approvals/").json()["results"][0]["state"] == "open"
    with tenant_scope(tenant.id):
        assert not Membership.objects.filter(user__email="ada@ours.example").exists()


def test_a_member_asks_for_a_role_in_a_project_and_gets_it_with_the_approvers_rights(tenant: Tenant) -> None:
    project = factories.make_project(tenant, "vision")
    viewer = factories.make_member(tenant, "viewer", "viewer@ours.example")
    asks, admin = browser(viewer.email), browser(factories.make_member(tenant, "admin").email)
    until = (now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"role": "engineer", "project_id": str(project.id), "reason": "to train", "until": until}
    asked = asks.post("/api/v1/access/requests/", body, "application/json")
    assert asked.status_code == 201, asked.content
    assert "Give viewer@ours.example the role engineer in the project A project until" in asked.json()["sentence"]
    assert asks.post("/api/v1/access/requests/", body, "application/json").json()["id"] == asked.json()["id"]
    where = f"/api/v1/approvals/{asked.json()['id']}/approve/"
    assert asks.post(where, {}, "application/json").status_code == 403
    assert (
        browser(factories.make_member(tenant, "finance").email).post(where, {}, "application/json").status_code == 404
    )
    assert admin.post(where, {"reason": "fine"}, "application/json").status_code == 200
    with tenant_scope(tenant.id):
        grant = Grant.objects.get(project=project)
        assert (grant.built_in, grant.membership.user_id if grant.membership else None) == ("engineer", viewer.id)
        assert grant.expires_at is not None
        assert AuditEntry.objects.filter(action="tenants.grant.given").count() == 1
    refused = asks.post("/api/v1/access/requests/", body, "application/json")
    assert refused.status_code == 400, "they have it now"


def test_nobody_gives_by_an_approval_what_they_do_not_have(tenant: Tenant) -> None:
    viewer = factories.make_member(tenant, "viewer", "viewer@ours.example")
    asks = browser(viewer.email)
    answers: dict[str, Any] = {}
    for role in ("owner", "admin", "nothing", "viewer"):
        answers[role] = asks.post("/api/v1/access/requests/", {"role": role, "reason": "why not"}, "application/json")
    assert [answers[role].status_code for role in answers] == [400, 201, 400, 400]
    with tenant_scope(tenant.id):
        Grant.objects.filter(membership__user=viewer).delete()  # what they held since is gone
        Membership.objects.filter(user=viewer).delete()
    admin = browser(factories.make_member(tenant, "admin").email)
    gone = admin.post(f"/api/v1/approvals/{answers['admin'].json()['id']}/approve/", {}, "application/json")
    assert (gone.status_code, gone.json()["code"]) == (409, "approval_outdated"), "nobody is there to have it"
    key = factories.make_api_key(tenant)
    by_key = Client().post(
        "/api/v1/access/requests/", {"role": "admin", "reason": "x y z"}, "application/json",
        headers={"Authorization": f"Bearer {key}"},
    )  # fmt: skip
    assert by_key.status_code == 400


def test_the_page_asks_for_access(tenant: Tenant) -> None:
    asks = browser(factories.make_member(tenant, "viewer").email)
    assert "Ask for access" in text_of(asks.get("/t/ours/approvals/"))
    form = {"role": "finance", "project": "", "last_day": "", "reason": "to read invoices"}
    assert asks.post("/t/ours/approvals/access/", form).status_code == 302
    assert "the role finance in the whole organisation." in text_of(asks.get("/t/ours/approvals/"))
    assert asks.post("/t/ours/approvals/access/", form | {"role": "owner"}).status_code == 422
    assert asks.post("/t/ours/approvals/access/", form | {"last_day": "2020-01-01"}).status_code == 400


def test_a_test_of_the_log_in_shows_what_it_would_do_and_does_nothing(tenant: Tenant, idp: OpenIdProvider) -> None:
    owner = browser("owner@ours.example")
    before = owner.get("/api/v1/me/").json()

    def test(**person: Any) -> str:
        page = text_of(owner.post("/t/ours/identity-provider/test/"))
        url = re.search(r'href="(https://login\.idp\.example/authorize[^"]+)"', page)
        assert url is not None
        came = steps.come_back(owner, idp.log_in(url[1].replace("&amp;", "&"), **person))
        return text_of(owner.get(came["Location"]))

    assert "ada@ours.example would become a member with the role viewer." in test(**ADA)
    assert "has not proven its domain" in test(sub="x", email="x@elsewhere.example")
    assert "owner@ours.example would be logged in." in test(sub="y", email="owner@ours.example")
    assert "<script>" not in test(sub="<script>", email="z@ours.example", name="<script>alert(1)</script>")
    assert owner.get("/api/v1/me/").json() == before
    with tenant_scope(tenant.id):
        assert not ExternalIdentity.objects.exists()
        assert Membership.objects.count() == 1


def test_unlinking_ends_the_sessions_and_the_next_log_in_links_again(tenant: Tenant, idp: OpenIdProvider) -> None:
    owner, client = browser("owner@ours.example"), Client()
    steps.log_in(client, "ours", idp, **ADA)
    (linked,) = owner.get("/api/v1/identity-provider/people/").json()["results"]
    assert linked["email"] == "ada@ours.example"
    assert owner.post(f"/t/ours/identity-provider/people/{linked['id']}/unlink/").status_code == 302
    assert client.get("/api/v1/me/").status_code == 401
    assert steps.log_in(Client(), "ours", idp, **ADA | {"sub": "ada-2"}).status_code == 302


def test_another_issuer_names_nobody_of_before(tenant: Tenant, idp: OpenIdProvider) -> None:
    client = Client()
    steps.log_in(client, "ours", idp, **ADA)
    steps.configure(tenant, idp, issuer="https://other.example")
    assert client.get("/api/v1/me/").status_code == 401
    with tenant_scope(tenant.id):
        assert not ExternalIdentity.objects.exists()


def test_the_secret_is_stored_sealed_and_shown_nowhere(tenant: Tenant) -> None:
    from tests.fakes.openid import CLIENT_SECRET

    owner = browser("owner@ours.example")
    shown = owner.get("/api/v1/identity-provider/")
    assert shown.json()["has_secret"] is True
    assert CLIENT_SECRET not in shown.content.decode() + text_of(owner.get("/t/ours/identity-provider/"))
    with tenant_scope(tenant.id):
        from tenants.models import IdentityProvider

        row = IdentityProvider.objects.get()
        assert row.client_secret is not None
        assert CLIENT_SECRET.encode() not in bytes(row.client_secret)
        assert CLIENT_SECRET not in str(list(AuditEntry.objects.values_list("changes", "reason")))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("issuer", "http://plain.example"),
        ("issuer", "https://user@idp.example"),
        ("issuer", "javascript:alert(1)"),
        ("issuer", ""),
        ("client_id", ""),
        ("name", ""),
        ("default_role", "owner"),
        ("highest_role", "owner"),
        ("default_role", "admin"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_field(tenant: Tenant, field: str, value: str) -> None:
    owner = browser("owner@ours.example")
    good = {"kind": "oidc", "name": "n", "issuer": "https://idp.example", "client_id": "c"}
    answer = owner.put("/api/v1/identity-provider/", good | {field: value}, "application/json")
    assert answer.status_code == 400
    assert answer.json()["fields"]
    form = good | {"default_role": "viewer", "highest_role": "viewer", field: value}
    assert owner.post("/t/ours/identity-provider/save/", form).status_code == 422


def test_nobody_asks_for_access_nor_joins_what_closes(as_control: Any, tenant: Tenant, idp: OpenIdProvider) -> None:
    viewer = browser(factories.make_member(tenant, "viewer").email)
    body = {"role": "engineer", "reason": "to train"}
    invitations.invite(actor=steps.owner_of(tenant), email="bob@ours.example", role="viewer")
    stranger = Client()
    steps.configure(tenant, idp, just_in_time=False)
    page = steps.log_in(stranger, "ours", idp, sub="eve", email="eve@ours.example")
    state = re.search(r'name="state" value="([^"]+)"', text_of(page))
    assert state is not None
    steps.configure(tenant, idp, just_in_time=True)
    with tenant_scope(tenant.id):
        before = AuditEntry.objects.exclude(action="tenants.session.started").count()
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="closing")
    asked = viewer.post("/api/v1/access/requests/", body, "application/json")
    assert (asked.status_code, asked.json()["code"]) == (403, "tenant_suspended")
    assert "changes nothing" in asked.content.decode()
    form = {"role": "engineer", "project": "", "last_day": "", "reason": "to train"}
    assert viewer.post("/t/ours/approvals/access/", form).status_code == 403
    assert stranger.post("/t/ours/sso/join/", {"state": state[1], "reason": "please"}).status_code == 403
    for who in ("bob", "carl"):
        refused = steps.log_in(Client(), "ours", idp, sub=who, email=f"{who}@ours.example")
        assert refused.status_code == 403
        assert "nobody joins" in text_of(refused)
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.exclude(action="tenants.session.started").count() == before
        assert Approval.objects.count() == 0
        assert not Membership.objects.filter(user__email__in=["bob@ours.example", "carl@ours.example"]).exists()
