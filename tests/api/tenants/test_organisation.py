"""Pages and endpoints of the organisation by HTTP: refusals keep the input, nothing takes effect twice."""

import re
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute.models import Device, Node
from tenants import queries, quotas
from tenants.access.permissions import PERMISSIONS, PRESETS, ROLE_PERMISSIONS, ROLE_WORDS
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, IdempotencyKey, Invitation, Project, Quota, Tenant, User
from tests.support import factories
from tests.support.pages import text_of
from tests.support.selling import provision_defaults

pytestmark = pytest.mark.django_db


def logged_in(tenant: Tenant, role: str = "owner") -> tuple[Client, User]:
    client, user = Client(), factories.make_member(tenant, role)
    client.force_login(user)
    return client, user


def test_presets_are_made_of_permissions_and_leave_out_only_what_a_person_does() -> None:
    covered = frozenset().union(*(preset.permissions for preset in PRESETS))
    assert covered <= PERMISSIONS
    of_people = {
        "tenant.view",
        "tenant.manage",
        "tenant.export",
        "jobs.cancel_any",
        "datasets.view_restricted",
        "models.approve",
    }
    of_people |= {"projects.view_restricted", "audit.review"}
    assert of_people | {"approvals.request", "approvals.answer", "identity.manage"} >= PERMISSIONS - covered
    assert set(ROLE_WORDS) == set(ROLE_PERMISSIONS)


READ_AS = {"API keys": "apikeys", "prices": "pricebooks", "the audit log": "audit", "the identity provider": "identity"}
ACTS = {
    "launch jobs": "jobs.launch", "pause and cancel the jobs it launched": "jobs.cancel", "upload datasets": "datasets.create",
    "share datasets": "datasets.share", "send ground truth": "endpoints.feedback", "report usage": "usage.ingest",
    "export the audit log": "audit.export",
}  # fmt: skip


def said(label: str) -> set[str]:
    """Return the scopes in the words of a preset; an unknown word raises KeyError or gives an invalid scope."""
    scopes = set()
    for clause in (label[0].lower() + label[1:]).split("; "):
        verb, _, nouns = clause.partition(" ")
        if verb not in ("read", "manage"):
            scopes |= {ACTS[act] for act in clause.split(", ")}
            continue
        for noun in re.split(r", | and ", nouns):
            scopes.add(f"{READ_AS.get(noun, noun)}.{'view' if verb == 'read' else 'manage'}")
    return scopes


@pytest.mark.parametrize("preset", [preset.key for preset in PRESETS])
def test_a_preset_holds_exactly_what_its_description_says(preset: str) -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    page = text_of(client.get(f"/t/{tenant.slug}/api-keys/"))
    box = re.search(rf'value="{preset}"[^>]*>\s*(?:<[^>]*>\s*)*([^<]+)', page)
    assert box is not None
    form = {"form_key": str(uuid4()), "name": "k", "days": "30", "presets": [preset]}
    client.post(f"/t/{tenant.slug}/api-keys/new/", form)
    with tenant_scope(tenant.id):
        assert set(ApiKey.objects.get().scopes) == said(box[1].strip()) | {"tenant.view"}


def test_a_key_form_sent_twice_makes_one_key_and_shows_it_once() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant, "admin")
    form: dict[str, Any] = {"form_key": str(uuid4()), "name": "ci", "days": "30", "presets": ["launch"]}
    first = client.post(f"/t/{tenant.slug}/api-keys/new/", form)
    second = client.post(f"/t/{tenant.slug}/api-keys/new/", form)
    assert re.search(rb"exq_\w+", first.content)
    assert second.status_code == 302
    with tenant_scope(tenant.id):
        row = ApiKey.objects.get()
        assert set(row.scopes) == {*PRESETS[1].permissions, "tenant.view"}
        assert row.expires_at is not None
        assert (row.expires_at - row.created_at).days in (29, 30)
    assert b"exq_" not in client.get(f"/t/{tenant.slug}/api-keys/").content


def test_a_repeated_request_gets_the_same_key_but_not_its_secret() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant, "admin")
    client.get(f"/t/{tenant.slug}/")
    body = {"name": "ci", "scopes": ["jobs.view"]}
    first, second = (
        client.post("/api/v1/api-keys/", body, content_type="application/json", headers={"Idempotency-Key": "one"})
        for _ in range(2)
    )
    assert first.json()["key"].startswith("exq_")
    assert second.json() == {**first.json(), "key": None}
    with tenant_scope(tenant.id):
        assert first.json()["key"] not in str(list(IdempotencyKey.objects.values_list("body", flat=True)))


def test_a_role_that_may_do_less_gets_only_its_own_presets() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant, "engineer")
    answer = client.post(f"/t/{tenant.slug}/api-keys/new/", {"name": "x", "days": "0", "presets": ["bill"]})
    assert answer.status_code == 403
    client, _ = logged_in(tenant, "admin")
    answer = client.post(f"/t/{tenant.slug}/api-keys/new/", {"name": "x", "days": "0", "scopes": ["tenant.manage"]})
    assert answer.status_code == 422


def test_the_last_owner_stays_and_no_member_changes_their_own_role() -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    olga = User.objects.get(email="olga@example.org")
    client, admin = logged_in(tenant, "admin")
    for path, form in (("role", {"role": "viewer"}), ("remove", {})):
        assert client.post(f"/t/{tenant.slug}/members/{olga.id}/{path}/", form).status_code == 403
        assert client.post(f"/t/{tenant.slug}/members/{admin.id}/{path}/", form).status_code == 403
    client = Client()
    client.force_login(olga)
    assert client.post(f"/t/{tenant.slug}/members/{olga.id}/remove/").status_code == 403
    assert client.post(f"/t/{tenant.slug}/members/{admin.id}/remove/").status_code == 302
    with tenant_scope(tenant.id):
        assert [one.role for one in queries.members()] == ["owner"]


def test_a_quota_changes_only_when_confirmed_and_only_from_what_was_seen() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    change = f"/t/{tenant.slug}/quotas/change/"

    def limit() -> int | None:
        with tenant_scope(tenant.id):
            return next((use.limit for use in quotas.usage()), None)

    asked = client.post(change, {"resource": "devices:cpu", "limit": "4"})
    assert b"Limit <del>none</del>" in asked.content
    assert limit() is None
    confirmed = {"resource": "devices:cpu", "limit": "4", "was": "", "confirmed": "1"}
    assert client.post(change, confirmed).status_code == 302
    assert limit() == 4
    assert client.post(change, {**confirmed, "limit": "9"}).status_code == 409
    assert limit() == 4
    for wrong in ("-1", "a", "1.5", str(2**60)):
        assert client.post(change, {"resource": "devices:cpu", "limit": wrong}).status_code == 422
        answer = text_of(client.post(change, {"resource": "devices:cpu", "limit": wrong}))
        assert answer.count("Not saved.") == answer.count('class="x-field-error"') == 1
    assert client.post(change, {"resource": "", "limit": "4"}).status_code == 422
    assert client.post(change, {**confirmed, "limit": "", "was": "4"}).status_code == 302
    assert limit() is None


@pytest.mark.parametrize("resource", ["\U0001f4a5", "bogus:thing", "devices:tpu", "devices:CPU"])
def test_only_what_the_platform_reserves_can_be_limited(resource: str) -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    for confirmed in ({}, {"was": "", "confirmed": "1"}):
        page = client.post(f"/t/{tenant.slug}/quotas/change/", {"resource": resource, "limit": "4", **confirmed})
        assert page.status_code == 400
        assert "Use one of device_hours:cpu, devices:cpu, devices:serving, storage:datasets." in text_of(page)
        assert "Not saved." in text_of(page)
    key = {"authorization": f"Bearer {factories.make_api_key(tenant)}"}
    put = partial(Client().put, "/api/v1/quotas/", content_type="application/json", headers=key)
    refused = put({"resource": resource, "limit": 4})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["resource"])
    with tenant_scope(tenant.id):
        assert list(quotas.usage()) == []
        Quota.objects.create(resource=resource, limit=4)
    assert put({"resource": resource, "limit": None}).status_code == 200, "a limit of before can be lifted"


def test_classes_of_devices_that_were_in_the_pool_can_be_limited() -> None:
    tenant = factories.make_tenant()
    node = Node.objects.create(name="old", boot=uuid4())
    more: dict[str, Any] = {"kind": "cuda", "index": 0, "memory_bytes": 1, "name": "T", "state": "gone"}
    Device.objects.create(node=node, uuid="one", device_class="nvidia-t4", **more)
    Device.objects.create(node=node, uuid="two", device_class="odd", serves=True, **more)
    for resource in ("devices:cpu", "devices:serving", "devices:nvidia-t4"):
        assert quotas.set_limit(actor=factories.actor_for(tenant), resource=resource, limit=1).limit == 1
    with pytest.raises(Invalid):
        quotas.set_limit(actor=factories.actor_for(tenant), resource="devices:odd", limit=1)


def test_a_new_account_follows_the_system() -> None:
    tenant = factories.make_tenant()
    client, user = logged_in(tenant)
    assert user.theme == "auto"
    assert 'data-bs-theme="auto"' in text_of(client.get(f"/t/{tenant.slug}/quotas/"))


def test_a_form_sent_again_with_other_input_acts_again() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    form = {"form_key": str(uuid4()), "name": "First", "slug": "first"}
    for entered in (form, {**form, "csrfmiddlewaretoken": "another"}, {**form, "name": "Second", "slug": "second"}):
        assert client.post(f"/t/{tenant.slug}/projects/new/", entered).status_code == 302
    key = {"form_key": form["form_key"], "name": "ci", "days": "30", "presets": ["launch"]}
    client.post(f"/t/{tenant.slug}/api-keys/new/", key)
    with tenant_scope(tenant.id):
        assert set(Project.objects.values_list("slug", flat=True)) == {"default", "first", "second"}
        assert ApiKey.objects.count() == 1


def test_a_project_form_names_what_is_wrong_and_is_sent_once() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    path = f"/t/{tenant.slug}/projects/new/"
    answer = client.post(path, {"name": "Research", "slug": "No Good"})
    assert answer.status_code == 422
    assert b'value="Research"' in answer.content
    assert client.post(path, {"name": "Again", "slug": "default"}).status_code == 422
    form = {"form_key": str(uuid4()), "name": "Research", "slug": "research"}
    assert [client.post(path, form).status_code for _ in range(2)] == [302, 302]
    with tenant_scope(tenant.id):
        assert Project.objects.filter(slug="research").count() == 1


def test_the_organisation_is_renamed_by_its_owner_in_the_audit_log() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant, "admin")
    path = f"/t/{tenant.slug}/settings/organisation/"
    assert client.post(path, {"name": "New", "timezone": "UTC"}).status_code == 403
    client, _ = logged_in(tenant)
    assert client.post(path, {"name": "New", "timezone": "Mars/Olympus"}).status_code == 422
    assert client.post(path, {"name": "New", "timezone": "Asia/Tokyo"}).status_code == 302
    assert client.get("/api/v1/me/").json()["tenant"]["timezone"] == "Asia/Tokyo"
    entry = client.get("/api/v1/audit/?action=tenants.tenant.changed").json()["results"][0]
    assert entry["changes"]["timezone"] == ["UTC", "Asia/Tokyo"]
    page = text_of(client.get(path.removesuffix("organisation/")))
    assert "Saved for the whole organisation." in page
    page = text_of(client.post(path, {"name": "New", "timezone": "Asia/Tokyo"}, follow=True))
    assert "No changes to save" in page
    assert "Saved for the whole organisation" not in page
    assert len(client.get("/api/v1/audit/?action=tenants.tenant.changed").json()["results"]) == 1


def test_invitations_by_api() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant, "admin")

    def invite(**body: str) -> Any:
        return client.post("/api/v1/invitations/", body, content_type="application/json")

    client.get(f"/t/{tenant.slug}/")
    assert invite(email="nora@example.org", role="owner").json()["code"] == "permission_denied"
    assert invite(email="nora", role="viewer").json()["fields"]["email"]
    more = {"tenant": str(uuid4()), "accepted_at": "2020-01-01T00:00:00Z"}
    assert set(invite(email="Nora@example.org", role="viewer", **more).json()["fields"]) == set(more)
    made = invite(email="Nora@example.org", role="viewer")
    assert made.status_code == 201
    assert (made.json()["state"], made.json()["email"]) == ("open", "nora@example.org")
    assert "token" not in text_of(made)
    listed = client.get("/api/v1/invitations/?limit=1").json()
    assert [row["id"] for row in listed["results"]] == [made.json()["id"]]
    assert client.delete(f"/api/v1/invitations/{made.json()['id']}/").status_code == 204
    assert client.get("/api/v1/invitations/").json()["results"][0]["state"] == "revoked"
    with tenant_scope(tenant.id):
        assert Invitation.objects.count() == 1


def test_an_unknown_invitation_link_is_explained() -> None:
    answer = Client().get("/accounts/invitation/nothing/")
    assert answer.status_code == 410
    assert b"Ask for a new one" in answer.content


def test_the_bell_costs_one_query(django_assert_max_num_queries: Any) -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    client.get(f"/t/{tenant.slug}/projects/")
    with django_assert_max_num_queries(30) as seen:
        client.get(f"/t/{tenant.slug}/projects/")
    assert sum("tenants_notification" in query["sql"] for query in seen.captured_queries) == 1


@pytest.mark.parametrize("day", ["9999-12-31", "9000-01-02", "0001-01-01", "31.12.2026"])
def test_the_audit_log_takes_any_day_in_its_filter(day: str) -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    for name in ("since", "until"):
        assert client.get(f"/t/{tenant.slug}/audit/", {name: day}).status_code == 200


def test_no_project_and_no_meter_is_named_so_that_it_reads_like_another() -> None:
    tenant = factories.make_tenant()
    client, _ = logged_in(tenant)
    for name in ("Ｄefault", "Dеfault", "De\u200bfault", "default", "Defau1t"):
        answer = client.post("/api/v1/projects/", {"slug": "other", "name": name}, content_type="application/json")
        assert (answer.status_code, list(answer.json()["fields"])) == (400, ["name"]), name
    with tenant_scope(tenant.id):
        provision_defaults()
    meter = {"unit": "call", "event_type": "x.calls"}
    for title in ("Device time", "Dеvice time", "Ｒequests answered", "Inference  compute"):
        answer = client.post("/api/v1/meters/", {**meter, "title": title}, content_type="application/json")
        assert (answer.status_code, list(answer.json()["fields"])) == (400, ["title"]), title
    answer = client.post(
        "/api/v1/meters/", {**meter, "title": "Calls", "key": "device_second5"}, content_type="application/json"
    )
    assert "key" in answer.json()["fields"]
    assert (
        client.post("/api/v1/meters/", {**meter, "title": "Calls"}, content_type="application/json").status_code == 201
    )
