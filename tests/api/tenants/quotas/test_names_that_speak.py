"""Texts say of a key that it is one, and nobody gives a program, a group or a project a name that misleads."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tenants import quotas
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, Grant, Notification, Tenant
from tests.api.test_matrix import client_for
from tests.support import factories

pytestmark = pytest.mark.django_db
JSON = {"content_type": "application/json"}


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("ours", owner="owner@ours.example")


@pytest.mark.parametrize("name", ["owner@ours.example", "owner＠ours.example", "Operator", "оperator", "System"])
@pytest.mark.parametrize("path", ["api-keys/", "groups/", "service-accounts/"])
def test_no_program_and_no_group_is_named_as_somebody_who_acts(path: str, name: str, tenant: Tenant) -> None:
    body: dict[str, Any] = {"name": name, **({"scopes": ["jobs.view"]} if path == "api-keys/" else {})}
    refused = client_for(tenant, "owner").post(f"/api/v1/{path}", body, **JSON)
    assert refused.status_code == 400, refused.content
    assert "Use no address" in refused.json()["fields"]["name"][0]


def test_requests_and_grants_of_a_key_say_that_it_is_one(tenant: Tenant) -> None:
    admin = factories.actor_for(tenant, "admin")
    with tenant_scope(tenant.id):
        quotas.set_limit(actor=admin, resource="devices:cpu", limit=4)
    made = api_keys.create_api_key(actor=admin, name="nightly", scopes=sorted(admin.permissions))
    with tenant_scope(tenant.id):  # a key from before its name was refused
        ApiKey.objects.filter(id=made.id).update(name="owner@ours.example")
    program, key = Client(), {"Authorization": f"Bearer {made.secret}"}
    asked = {"resource": "devices:cpu", "limit": 6, "reason": "urgent"}
    answer = program.post("/api/v1/quotas/requests/", asked, headers=key, **JSON)
    assert answer.status_code == 201, answer.content
    assert answer.json()["requester"] == "the key owner@ours.example"
    person = factories.make_member(tenant, "viewer")
    given = {"user_id": str(person.id), "role": "engineer"}
    assert program.post("/api/v1/grants/", given, headers=key, **JSON).status_code == 201
    invited = {"email": "nora@elsewhere.example", "role": "viewer"}
    row = program.post("/api/v1/invitations/", invited, headers=key, **JSON)
    assert row.json()["invited_by"] == "the key owner@ours.example"
    with tenant_scope(tenant.id):
        told = Notification.objects.filter(kind="approval.waits").first()
        assert told is not None and told.body.startswith("the key owner@ours.example asks:")
        assert Grant.objects.get(built_in="engineer").created_by == "the key owner@ours.example"


def test_two_projects_have_no_equal_name(tenant: Tenant) -> None:
    owner = client_for(tenant, "owner")
    for name in ("Default", "default", "Defau1t"):
        refused = owner.post("/api/v1/projects/", {"slug": "second", "name": name}, **JSON)
        assert (refused.status_code, list(refused.json()["fields"])) == (400, ["name"])
    made = owner.post("/api/v1/projects/", {"slug": "second", "name": "Second"}, **JSON)
    assert made.status_code == 201
    again = owner.patch(f"/api/v1/projects/{made.json()['id']}/", {"name": "Default"}, **JSON)
    assert again.status_code == 400
