"""The message for a key without a scope, and the scopes in no preset."""

import pytest
from django.test import Client

from tenants.access.permissions import ALONE, PERMISSIONS, PRESETS
from tests.api.objects import one_of_everything
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def test_a_missing_scope_inside_an_operation_is_named(client: Client) -> None:
    tenant = factories.make_tenant()
    job = one_of_everything(tenant)["job_id"]
    key = factories.make_api_key(tenant, ["jobs.view", "jobs.cancel"])
    answer = client.post(f"/api/v1/jobs/{job}/cancel/", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert answer.json()["title"] == "This key lacks the scope jobs.cancel_any. Create one that has it."
    assert answer.json()["permission"] == "jobs.cancel_any"
    person = client_for(tenant, "engineer").post(f"/t/{tenant.slug}/jobs/{job}/cancel/")
    assert person.status_code == 403
    assert "lacks the scope" not in text_of(person)


def test_every_scope_is_in_a_preset_or_named_as_one_to_choose_alone() -> None:
    tenant = factories.make_tenant()
    covered = frozenset().union(*(preset.permissions for preset in PRESETS))
    assert covered | set(ALONE) | {"tenant.view"} == PERMISSIONS
    assert not covered & set(ALONE)
    for role, named in (
        ("owner", set(ALONE)),
        ("admin", set(ALONE) - {"tenant.manage", "tenant.export", "identity.manage"}),
    ):
        page = text_of(client_for(tenant, role).get(f"/t/{tenant.slug}/api-keys/"))
        assert "Launch jobs, pause and cancel the jobs it launched" in page
        assert {scope for scope, words in ALONE.items() if f"<code>{scope}</code> to {words}" in page} == named


def test_an_unknown_scope_is_named_and_no_key_is_made() -> None:
    tenant = factories.make_tenant()
    body = {"name": "k", "scopes": ["jobs.view", "jobs.veiw"]}
    owner = client_for(tenant, "owner")
    refused = owner.post("/api/v1/api-keys/", body, content_type="application/json")
    assert (refused.status_code, refused.json()["fields"]) == (400, {"scopes": ["Unknown: jobs.veiw."]})
    assert owner.get("/api/v1/api-keys/").json()["results"] == []


def test_who_makes_no_keys_is_refused_before_its_scopes_are_read() -> None:
    tenant = factories.make_tenant()
    body = {"name": "k", "scopes": ["jobs.veiw"]}
    refused = client_for(tenant, "viewer").post("/api/v1/api-keys/", body, content_type="application/json")
    assert (refused.status_code, refused.json()["permission"]) == (403, "apikeys.manage")
