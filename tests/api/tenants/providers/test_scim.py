"""SCIM: memberships begin and end as the provider states, in the shapes of Okta and Entra ID, and never beyond its bounds."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from tenants.clock import now
from tenants.grants import grants, groups, roles
from tenants.identity import api_keys
from tenants.identity.authentication import actor_today
from tenants.identity.providers import scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import (
    AuditEntry,
    Grant,
    Group,
    GroupMember,
    Membership,
    Notification,
    OutboxMessage,
    ScimToken,
    Tenant,
    User,
)
from tests.api.tenants.providers import steps
from tests.fakes.openid import OpenIdProvider
from tests.support import factories

pytestmark = pytest.mark.django_db
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Scim:
    """A provider's SCIM client."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, method: str, path: str, body: Any = None, *, status: int | None = None) -> Any:
        answer = Client().generic(
            method,
            f"/scim/v2/{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/scim+json",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        if status is not None:
            assert answer.status_code == status, answer.content
        if answer.status_code == 204:
            return None
        assert answer["Content-Type"].startswith("application/scim+json")
        return answer.json()

    def patch(self, path: str, *operations: dict[str, Any], status: int = 200) -> Any:
        return self("PATCH", path, {"schemas": [PATCH_OP], "Operations": list(operations)}, status=status)

    def add(self, name: str, /, **more: Any) -> Any:
        return self("POST", "Users", {"userName": name, "active": True, **more}, status=201)


@pytest.fixture
def scim(tenant: Tenant) -> Scim:
    return Scim(scim_tokens.create(actor=steps.owner_of(tenant), name="provisioning").secret)


def test_a_token_ends_with_the_right_of_its_creator(tenant: Tenant) -> None:
    owner, person = steps.owner_of(tenant), factories.make_member(tenant, "viewer")
    role = roles.create_role(actor=owner, name="Provisioning", permissions=["identity.manage"])
    end = now() + timedelta(hours=1)
    given = grants.give(actor=owner, holder=grants.Holder(user_id=person.id), role=role.id, expires_at=end)
    with tenant_scope(tenant.id):
        actor = actor_today(tenant.id, person.id)
    client = Scim(scim_tokens.create(actor=actor, name="provisioning").secret)
    client("GET", "Users", status=200)
    with tenant_scope(tenant.id):
        Grant.objects.filter(id=given.id).update(expires_at=now() - timedelta(seconds=1))
    client("GET", "Users", status=401)
    client("POST", "Users", {"userName": "eve@vision.example", "active": True}, status=401)
    assert "eve@vision.example" not in members(tenant)


def members(tenant: Tenant) -> dict[str, str]:
    with tenant_scope(tenant.id):
        rows = Grant.objects.exclude(membership=None).values_list("membership__user__email", "built_in")
        found = dict(rows)
        return {email: found.get(email, "") for email in Membership.objects.values_list("user__email", flat=True)}


def entries(tenant: Tenant, action: str) -> int:
    with tenant_scope(tenant.id):
        return AuditEntry.objects.filter(action=action).count()


def test_a_person_is_made_a_member_with_the_role_for_new_ones_and_no_password(tenant: Tenant, scim: Scim) -> None:
    made = scim.add(
        "Ada@Ours.Example",
        externalId="00u1",
        name={"givenName": "Ada", "familyName": "L", "middleName": "x"},
        emails=[{"value": "ada@ours.example", "type": "work", "primary": True}],
        roles=[{"value": "owner"}],
        password="a password of theirs 1",
        entitlements=[{"value": "admin"}],
    )
    assert members(tenant)["ada@ours.example"] == "viewer"
    assert not User.objects.get(email="ada@ours.example").has_usable_password()
    assert made["userName"] == "ada@ours.example"
    assert made["name"] == {"givenName": "Ada", "familyName": "L"}
    assert made["meta"]["location"].endswith(f"/scim/v2/Users/{made['id']}")
    assert "roles" not in made and "password" not in made
    assert scim("GET", f"Users/{made['id']}", status=200) == made
    again = scim("POST", "Users", {"userName": "ada@ours.example"}, status=409)
    assert (again["scimType"], again["status"]) == ("uniqueness", "409")
    with tenant_scope(tenant.id):
        entry = AuditEntry.objects.get(action="tenants.member.added", actor_label__startswith="SCIM")
        assert entry.credential.startswith("scim:")
        event = OutboxMessage.objects.get(topic="tenants.MemberAdded")
        assert event.payload == {"user_id": str(User.objects.get(email="ada@ours.example").id)}


def test_people_are_found_by_filter_and_page(tenant: Tenant, scim: Scim) -> None:
    for number in range(5):
        scim.add(f"p{number}@ours.example", externalId=f"id {number}")
    found = scim("GET", 'Users?filter=userName eq "P3@ours.example"', status=200)
    assert [one["externalId"] for one in found["Resources"]] == ["id 3"]
    found = scim("GET", 'Users?filter=externalId eq "id 4"', status=200)
    assert [one["userName"] for one in found["Resources"]] == ["p4@ours.example"]
    part = scim("GET", "Users?startIndex=2&count=2", status=200)
    assert (part["totalResults"], part["startIndex"], part["itemsPerPage"]) == (5, 2, 2)
    assert [one["userName"][:2] for one in part["Resources"]] == ["p1", "p2"]
    assert scim("GET", "Users?count=0", status=200)["totalResults"] == 5
    for wrong in (
        'userName sw "p"',
        "userName eq 1",
        'userName eq "a" or userName eq "b"',
        'password eq "x"',
        "x" * 2000,
    ):
        assert scim("GET", f"Users?filter={wrong}", status=400)["scimType"] == "invalidFilter"
    assert scim("GET", "Users?startIndex=x", status=400)["scimType"] == "invalidValue"


ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
OFF: dict[str, list[dict[str, Any]]] = {
    "Okta": [{"op": "replace", "value": {"active": False}}],
    "Entra ID": [{"op": "Replace", "path": "active", "value": "False"}],
    "with its schema": [{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": False}],
}


@pytest.mark.parametrize("how", OFF)
def test_a_leaver_is_out_at_once_with_all_that_descends_from_them(
    tenant: Tenant, scim: Scim, idp: OpenIdProvider, how: str
) -> None:
    made = scim.add("ada@ours.example")
    person = User.objects.get(email="ada@ours.example")
    with tenant_scope(tenant.id):
        grants.give(actor=steps.owner_of(tenant), holder=grants.Holder(user_id=person.id), role="admin")
    browser = Client()
    steps.log_in(browser, "ours", idp, sub="ada", email="ada@ours.example")
    key = browser.post("/api/v1/api-keys/", {"name": "k", "scopes": ["jobs.view"]}, "application/json").json()["key"]
    bearer = {"Authorization": f"Bearer {key}"}
    assert Client().get("/api/v1/jobs/", headers=bearer).status_code == 200

    assert scim.patch(f"Users/{made['id']}", *OFF[how])["active"] is False
    assert "ada@ours.example" not in members(tenant)
    assert Client().get("/api/v1/jobs/", headers=bearer).status_code == 401
    assert browser.get("/api/v1/me/").status_code == 401
    assert browser.get("/t/ours/").status_code == 302
    assert entries(tenant, "tenants.member.removed") == 1
    assert entries(tenant, "tenants.api_key.revoked") == 1
    with tenant_scope(tenant.id):
        (told,) = Notification.objects.filter(kind="leaver")
    assert (told.title, told.body) == (
        "The identity provider ended the membership of ada@ours.example",
        "1 of their credentials were revoked.",
    )
    assert steps.log_in(Client(), "ours", idp, sub="ada", email="ada@ours.example").status_code == 403

    before = entries(tenant, "tenants.scim_user.changed")
    scim.patch(f"Users/{made['id']}", *OFF[how])
    assert entries(tenant, "tenants.scim_user.changed") == before, "repeated, it changes nothing"
    assert scim.patch(f"Users/{made['id']}", {"op": "replace", "value": {"active": True}})["active"] is True
    assert members(tenant)["ada@ours.example"] == "viewer", "what they held before does not come back"
    assert Client().get("/api/v1/jobs/", headers=bearer).status_code == 401


def test_put_and_delete_end_a_membership_too(tenant: Tenant, scim: Scim) -> None:
    ada, bob = scim.add("ada@ours.example"), scim.add("bob@ours.example")
    assert (
        scim("PUT", f"Users/{ada['id']}", {"userName": "ada@ours.example", "active": False}, status=200)["active"]
        is False
    )
    scim("DELETE", f"Users/{bob['id']}", status=204)
    assert set(members(tenant)) == {"owner@ours.example"}
    scim("GET", f"Users/{bob['id']}", status=404)
    scim("DELETE", f"Users/{bob['id']}", status=404)
    assert scim.add("bob@ours.example")["id"] != bob["id"]


def test_the_last_owner_stays_and_scim_makes_none(tenant: Tenant, scim: Scim) -> None:
    made = scim.add("owner@ours.example")
    assert members(tenant)["owner@ours.example"] == "owner", "a member from before stays as they are"
    refused = scim.patch(f"Users/{made['id']}", *OFF["Okta"], status=409)
    assert "at least one owner" in refused["detail"]
    scim("DELETE", f"Users/{made['id']}", status=409)
    assert members(tenant)["owner@ours.example"] == "owner"
    assert scim("GET", f"Users/{made['id']}", status=200)["active"] is True, "nothing of it is half done"


def test_whom_a_person_removed_scim_does_not_bring_back(tenant: Tenant, scim: Scim, idp: OpenIdProvider) -> None:
    made = scim.add("ada@ours.example")
    person = User.objects.get(email="ada@ours.example")
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    assert owner.delete(f"/api/v1/members/{person.id}/").status_code in (200, 204)
    scim.patch(f"Users/{made['id']}", {"op": "replace", "path": "displayName", "value": "Ada"})
    assert "ada@ours.example" not in members(tenant)
    scim.patch(f"Users/{made['id']}", *OFF["Okta"])
    assert (
        "Invite them instead"
        in scim.patch(f"Users/{made['id']}", {"op": "replace", "value": {"active": True}}, status=409)["detail"]
    )
    scim("DELETE", f"Users/{made['id']}", status=204)
    scim("POST", "Users", {"userName": "ada@ours.example"}, status=409)
    assert steps.log_in(Client(), "ours", idp, sub="ada", email="ada@ours.example").status_code == 403
    assert "ada@ours.example" not in members(tenant)


def test_only_addresses_in_proven_domains_are_provisioned_and_no_account_is_shown_or_changed(
    tenant: Tenant, scim: Scim
) -> None:
    other = factories.make_tenant("theirs")
    known = factories.make_member(other, "owner", "known@ours.example")
    User.objects.filter(id=known.id).update(name="Their own name")
    before = User.objects.values().get(id=known.id)
    for name in ("a@elsewhere.example", "a@sub.ours.example", "not an address", '"a b"@ours.example', ""):
        assert scim("POST", "Users", {"userName": name}, status=400)["scimType"] == "invalidValue"
    assert not User.objects.filter(email="a@elsewhere.example").exists()
    answers = [scim.add(name) for name in ("known@ours.example", "fresh@ours.example")]
    assert set(answers[0]) == set(answers[1])
    assert "Their own name" not in str(answers)
    scim.patch(
        f"Users/{answers[0]['id']}",
        {"op": "replace", "value": {"displayName": "Another", "userName": "renamed@ours.example"}},
    )
    assert User.objects.values().get(id=known.id) == before
    scim("DELETE", f"Users/{answers[0]['id']}", status=204)
    assert User.objects.values().get(id=known.id) == before
    with tenant_scope(other.id):
        assert Membership.objects.filter(user=known).exists()


def test_what_entra_and_okta_send_is_understood(tenant: Tenant, scim: Scim) -> None:
    made = scim.add("ada@ours.example")
    path = f"Users/{made['id']}"
    entra = scim.patch(
        path,
        {"op": "Add", "path": "name.givenName", "value": "Ada"},
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "ada@ours.example"},
        {"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "R&D"},
        {"op": "Replace", "path": "externalId", "value": "e-1"},
        {"op": "Replace", "path": "active", "value": "True"},
    )
    assert (entra["name"], entra["externalId"], entra["active"]) == ({"givenName": "Ada"}, "e-1", True)
    okta = scim.patch(path, {"op": "replace", "value": {"name.familyName": "L", "displayName": "Ada L"}})
    assert okta["name"] == {"givenName": "Ada", "familyName": "L"}
    assert scim.patch(path, {"op": "remove", "path": "displayName"}).get("displayName") is None
    for wrong, kind in (
        ({"op": "move", "path": "a"}, "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "value": 3}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "maybe"}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": ["x"]}, "invalidValue"),
        ({"op": "replace", "path": "displayName", "value": "x" * 300}, "invalidValue"),
        ({"op": "replace", "path": "emails", "value": "x"}, "invalidValue"),
        ({"op": "replace", "path": 3, "value": "x"}, "invalidSyntax"),
    ):
        assert scim.patch(path, wrong, status=400)["scimType"] == kind
    scim("PATCH", path, {"Operations": []}, status=400)
    scim("PATCH", path, [], status=400)


#: What the documents of Entra ID, Okta and RFC 7644 (3.5.2) show beside what is kept.
PASSED_OVER: list[dict[str, Any]] = [
    {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 555"},
    {"op": "Replace", "path": 'addresses[type eq "work"].formatted', "value": "1 High Street"},
    {"op": "Add", "path": 'roles[primary eq "True"].value', "value": "admin"},
    {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "2819c223"},
    {"op": "add", "path": ENTERPRISE, "value": {"department": "R&D"}},
    {"op": "remove", "path": "nickName"},
    {"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:preferredLanguage", "value": "fr"},
    {"op": "Replace", "path": "name.middleName", "value": "K"},
    {"op": "replace", "value": {"favouriteColour": "red", "urn:example:2.0:User": {"a": 1}, "nickName": "A"}},
]
UNKNOWN = (
    "favouriteColour",
    "name.nick",
    "emails.colour",
    "displayName.value",
    "urn:ietf:params:scim:schemas:extension:acme:2.0:User:department",
    "urn:example:2.0:User",
    "user name",
    'emails[type eq "work"]x',
    "members",
)


def test_a_path_that_names_no_attribute_is_refused_and_nothing_is_half_done(tenant: Tenant, scim: Scim) -> None:
    made = scim.add("ada@ours.example")
    path = f"Users/{made['id']}"
    assert scim.patch(path, *PASSED_OVER)["meta"].keys() == made["meta"].keys()
    kept = {name: value for name, value in scim("GET", path, status=200).items() if name != "meta"}
    assert kept == {name: value for name, value in made.items() if name != "meta"}, "known, and not kept"
    for unknown in UNKNOWN:
        for op in ("add", "replace", "remove"):
            body = {"op": op, "path": unknown, "value": "x"}
            refused = scim.patch(path, {"op": "replace", "path": "displayName", "value": "Ada"}, body, status=400)
            assert refused["scimType"] == "invalidPath", unknown
    assert "Map only userName" in scim.patch(path, {"op": "add", "path": "x", "value": 1}, status=400)["detail"]
    assert "displayName" not in scim("GET", path, status=200)
    dotted = scim.patch(path, {"op": "replace", "path": 'emails[value eq "a@b.c"].value', "value": "d@ours.example"})
    assert dotted["emails"] == [{"value": "d@ours.example", "type": "work", "primary": True}]


def test_a_path_that_a_group_does_not_have_is_refused(tenant: Tenant, scim: Scim) -> None:
    made = scim("POST", "Groups", {"displayName": "Staff"}, status=201)
    path = f"Groups/{made['id']}"
    rename = {"op": "replace", "path": "displayName", "value": "Everybody"}
    for unknown in ("owners", "members.value", 'members[display eq "Ada"]', "nickName"):
        refused = scim.patch(path, rename, {"op": "remove", "path": unknown}, status=400)
        assert refused["scimType"] == "invalidPath", unknown
    assert scim("GET", path, status=200)["displayName"] == "Staff"
    scim.patch(path, {"op": "replace", "path": "id", "value": made["id"]}, {"op": "replace", "value": {"owners": 1}})


def test_groups_are_made_without_rights_and_filled(tenant: Tenant, scim: Scim) -> None:
    ada, bob = (scim.add(f"{name}@ours.example")["id"] for name in ("ada", "bob"))
    made = scim("POST", "Groups", {"displayName": "Staff", "externalId": "g1", "members": [{"value": ada}]}, status=201)
    path = f"Groups/{made['id']}"

    def filled() -> set[str]:
        with tenant_scope(tenant.id):
            assert not Grant.objects.filter(group__name="Staff").exists()
            rows = GroupMember.objects.filter(group_id=made["id"])
            return set(rows.values_list("membership__user__email", flat=True))

    assert filled() == {"ada@ours.example"}
    scim.patch(path, {"op": "Add", "path": "members", "value": [{"$ref": None, "value": bob}]})
    assert filled() == {"ada@ours.example", "bob@ours.example"}
    scim.patch(path, {"op": "remove", "path": f'members[value eq "{ada}"]'})
    assert filled() == {"bob@ours.example"}
    scim.patch(path, {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": bob}]})
    assert filled() == set()
    shown = scim("PUT", path, {"displayName": "Staff", "members": [{"value": ada}, {"value": bob}]}, status=200)
    assert {one["value"] for one in shown["members"]} == {ada, bob}
    before = entries(tenant, "tenants.group.members_changed")
    scim("PUT", path, {"displayName": "Staff", "members": [{"value": ada}, {"value": bob}]}, status=200)
    assert entries(tenant, "tenants.group.members_changed") == before
    assert scim.patch(path, {"op": "replace", "value": {"displayName": "Everybody"}})["displayName"] == "Everybody"
    scim.patch(path, {"op": "replace", "value": {"displayName": "Operator"}}, status=400)
    scim("POST", "Groups", {"displayName": "ann@example.org"}, status=400)
    found = scim("GET", 'Groups?filter=displayName eq "everybody"&excludedAttributes=members', status=200)
    assert [one["id"] for one in found["Resources"]] == [made["id"]]
    assert "members" not in found["Resources"][0]
    scim("POST", "Groups", {"displayName": "everybody"}, status=409)
    scim.patch(path, {"op": "add", "path": "members", "value": [{"value": made["id"]}]}, status=400)
    scim("DELETE", path, status=204)
    with tenant_scope(tenant.id):
        assert not Group.objects.filter(id=made["id"]).exists()


def test_no_group_above_the_highest_role_is_filled(tenant: Tenant, idp: OpenIdProvider, scim: Scim) -> None:
    actor = steps.owner_of(tenant)
    ada = scim.add("ada@ours.example")["id"]
    made = scim("POST", "Groups", {"displayName": "Admins"}, status=201)
    with tenant_scope(tenant.id):
        group = Group.objects.get(id=made["id"])
        grants.give(actor=actor, holder=grants.Holder(group_id=group.id), role="admin")
    body = {"displayName": "Admins", "members": [{"value": ada}]}
    refused = scim("PUT", f"Groups/{made['id']}", body, status=403)
    assert "highest role" in refused["detail"]
    scim.patch(f"Groups/{made['id']}", {"op": "add", "path": "members", "value": [{"value": ada}]}, status=403)
    with tenant_scope(tenant.id):
        assert not GroupMember.objects.filter(group=group).exists()
    steps.configure(tenant, idp, highest_role="admin")
    scim("PUT", f"Groups/{made['id']}", body, status=200)
    steps.configure(tenant, idp, highest_role="viewer")
    scim("DELETE", f"Groups/{made['id']}", status=204)
    with tenant_scope(tenant.id):
        assert Group.objects.filter(id=group.id).exists(), "a group with grants stays, empty"
        assert not GroupMember.objects.filter(group=group).exists()


def test_groups_of_people_are_none_of_the_providers(tenant: Tenant, scim: Scim) -> None:
    with tenant_scope(tenant.id):
        group = groups.create_group(actor=steps.owner_of(tenant), name="By hand")
    scim("POST", "Groups", {"displayName": "by hand"}, status=409)
    scim("GET", f"Groups/{group.id}", status=404)
    scim("DELETE", f"Groups/{group.id}", status=404)
    assert scim("GET", "Groups", status=200)["totalResults"] == 0


def test_a_token_opens_scim_of_its_tenant_and_nothing_else(tenant: Tenant, scim: Scim, idp: OpenIdProvider) -> None:
    made = scim.add("ada@ours.example")
    theirs = factories.make_tenant("theirs")
    steps.configure(theirs, idp)
    other = Scim(scim_tokens.create(actor=steps.owner_of(theirs), name="t").secret)
    other("GET", f"Users/{made['id']}", status=404)
    other.patch(f"Users/{made['id']}", *OFF["Okta"], status=404)
    other("DELETE", f"Users/{made['id']}", status=404)
    assert other("GET", "Users", status=200)["totalResults"] == 0
    for path in ("/api/v1/members/", "/api/v1/me/", "/t/ours/"):
        assert Client().get(path, headers={"Authorization": f"Bearer {scim.token}"}).status_code in (401, 302)
    key = factories.make_api_key(tenant)
    for wrong in (key, "", "exs_x", scim.token[:-1], f"{scim.token}x", "exs_" + "x" * 500):
        answer = Scim(wrong)("GET", "Users", status=401)
        assert answer["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    scim("GET", "Nothing/here", status=404)
    scim("POST", "Users", "not an object", status=400)


def test_a_token_ends_with_its_creator_its_end_its_provider_and_when_revoked(
    tenant: Tenant, idp: OpenIdProvider, scim: Scim
) -> None:
    second = factories.make_member(tenant, "owner", "second@ours.example")
    browser = Client()
    browser.post("/accounts/login/", {"login": second.email, "password": factories.PASSWORD})
    made = browser.post("/api/v1/identity-provider/scim-tokens/", {"name": "theirs"}, "application/json")
    token = Scim(made.json()["token"])
    token("GET", "Users", status=200)
    listed = browser.get("/api/v1/identity-provider/scim-tokens/").content.decode()
    assert token.token not in listed
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@ours.example", "password": factories.PASSWORD})
    departure = owner.get(f"/api/v1/members/{second.id}/departure/").json()
    assert "theirs" in str(departure)
    owner.delete(f"/api/v1/members/{second.id}/")
    token("GET", "Users", status=401)
    scim("GET", "Users", status=200)
    steps.configure(tenant, idp, enabled=False)
    scim("GET", "Users", status=401)
    steps.configure(tenant, idp)
    scim("GET", "Users", status=200)
    with tenant_scope(tenant.id):
        row = ScimToken.objects.get(name="provisioning")
        assert row.last_used_at is not None
    assert owner.delete(f"/api/v1/identity-provider/scim-tokens/{row.id}/").status_code == 204
    scim("GET", "Users", status=401)


def test_a_key_without_identity_manage_makes_no_token(tenant: Tenant) -> None:
    admin = factories.actor_for(tenant, "admin")
    key = api_keys.create_api_key(actor=admin, name="k", scopes=sorted(admin.permissions)).secret
    answer = Client().post(
        "/api/v1/identity-provider/scim-tokens/",
        {"name": "x"},
        "application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 403


def test_requests_are_limited_before_the_database(tenant: Tenant, scim: Scim, settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"api_rate": 0.2})
    found = [Client().get("/scim/v2/Users", headers={"Authorization": f"Bearer {scim.token}"}) for _ in range(6)]
    assert found[0].status_code == 200
    assert found[-1].status_code == 429
    assert int(found[-1]["Retry-After"]) >= 1
    assert found[-1].json()["status"] == "429"


def test_what_it_can_do_is_published(scim: Scim) -> None:
    config = scim("GET", "ServiceProviderConfig", status=200)
    assert config["patch"] == {"supported": True} and config["bulk"]["supported"] is False
    kinds = scim("GET", "ResourceTypes", status=200)["Resources"]
    assert [one["endpoint"] for one in kinds] == ["/Users", "/Groups"]
    schemas = scim("GET", "Schemas", status=200)["Resources"]
    assert [one["id"].rpartition(":")[2] for one in schemas] == ["User", "Group"]


def test_nobody_is_renamed_to_the_address_of_another_member(tenant: Tenant, scim: Scim) -> None:
    ada = scim.add("ada@ours.example")
    factories.make_member(tenant, "engineer", "mei@ours.example")
    for taken in ("owner@ours.example", "Mei@Ours.example"):
        path = f"Users/{ada['id']}"
        refused = scim.patch(path, {"op": "replace", "path": "userName", "value": taken}, status=409)
        assert (refused["scimType"], scim("GET", path)["userName"]) == ("uniqueness", "ada@ours.example")
    scim.patch(f"Users/{ada['id']}", {"op": "replace", "path": "userName", "value": "lovelace@ours.example"})


@pytest.mark.parametrize("path", ["Users?filter=userName%20eq%20%22a%00%22", "Users/a%00b", "Groups?filter=%00"])
def test_a_nul_is_refused_in_the_form_of_scim(path: str, scim: Scim) -> None:
    refused = scim("GET", path, status=400)
    assert refused["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert refused["status"] == "400" and refused["detail"]


def test_a_path_that_is_none_is_refused(scim: Scim) -> None:
    ada = scim.add("ada@ours.example")
    for path in ("roles" + "[" * 2000, "x" * 501, "members[value"):
        refused = scim.patch(f"Users/{ada['id']}", {"op": "replace", "path": path, "value": "x"}, status=400)
        assert refused["scimType"] == "invalidPath"


def test_a_leaver_is_out_while_the_organisation_is_being_closed_and_nobody_comes(
    tenant: Tenant, scim: Scim, as_control: Any
) -> None:
    ada, ben = scim.add("ada@ours.example"), scim.add("ben@ours.example")
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="closing")
    scim("POST", "Users", {"userName": "carl@ours.example", "active": True}, status=403)
    scim.patch(f"Users/{ada['id']}", {"op": "replace", "path": "externalId", "value": "x"}, status=403)
    scim.patch(f"Users/{ada['id']}", {"op": "replace", "path": "active", "value": False})
    scim.patch(f"Users/{ada['id']}", {"op": "replace", "path": "active", "value": True}, status=403)
    scim("DELETE", f"Users/{ben['id']}", status=204)
    assert set(members(tenant)) == {"owner@ours.example"}
