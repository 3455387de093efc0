"""Deploying an ineligible version, and what is left of an undeployed endpoint."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from models_app.models import Endpoint, ModelVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support.factories import actor_for, make_member, make_tenant
from tests.support.model_versions import make_endpoint, make_version, plain_signature
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("vision")


def client_of(tenant: Tenant, role: str = "engineer") -> Client:
    client = Client()
    client.force_login(make_member(tenant, role))
    return client


def asked_for(client: Client, version: object) -> tuple[str, str]:
    """Return the page of the deploy form, and the options of its version."""
    body = text_of(client.get(reverse("endpoint-deploy", args=("vision",)), {"version": version}))
    return body, body.partition('name="version"')[2].partition("</select>")[0]


def opened(version: ModelVersion) -> str:
    return f'href="{reverse("model-version", args=("vision", version.id))}"'


@pytest.mark.parametrize(
    ("stage", "says"), [("staging", "Promote it first"), ("archived", "restore and promote it first")]
)
def test_a_version_that_is_not_in_production_is_named_and_no_other_is_chosen(
    tenant: Tenant, stage: str, says: str
) -> None:
    actor = actor_for(tenant)
    make_version(actor, "churn")
    version = make_version(actor, "scans", stage=stage)
    body, options = asked_for(client_of(tenant), version.id)
    for words in ("scans v1 is not in production", says, opened(version)):
        assert words in body, words
    assert '<option value="" selected>Choose a version</option>' in options
    assert options.count("selected") == 1
    assert 'value="churn"' not in body


def test_a_version_that_one_may_not_see_or_that_is_none_is_not_named(tenant: Tenant) -> None:
    actor = actor_for(tenant)
    make_version(actor, "churn")
    hidden = make_version(actor, "hidden", restricted=True, stage="staging")
    client = client_of(tenant)
    for wanted in (hidden.id, uuid4(), "x"):
        body, options = asked_for(client, wanted)
        assert "That version cannot be deployed." in body
        assert "hidden" not in options
        assert options.count("selected") == 1


def test_without_any_in_production_the_version_is_named_too(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "scans", stage="staging")
    body, _ = asked_for(client_of(tenant), version.id)
    assert "scans v1 is not in production" in body
    assert "No version is in production" in body


def test_a_version_in_production_is_chosen_without_a_note(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn")
    body, options = asked_for(client_of(tenant), version.id)
    assert f'<option value="{version.id}" selected>' in options
    assert "x-banner wait" not in body


def test_the_form_sent_without_a_version_asks_for_one(tenant: Tenant) -> None:
    make_version(actor_for(tenant), "churn")
    entered = {"version": "", "name": "churn", "project": "", "slo_ms": "500", "form_key": str(uuid4())}
    answer = client_of(tenant).post(reverse("endpoint-deploy", args=("vision",)), entered)
    assert answer.status_code == 422
    assert "This field is required" in text_of(answer)


def test_an_undeployed_endpoint_says_what_to_do_and_offers_no_call(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn model")
    endpoint = make_endpoint(version, "churn")
    client, path = client_of(tenant), reverse("endpoint", args=("vision", endpoint.id))
    assert "Call it" in text_of(client.get(path))
    refused = client.post(reverse("endpoint-undeploy", args=("vision", endpoint.id)), {"confirm": "chur"})
    assert refused.status_code == 422
    assert "type “churn” to undeploy it" in text_of(refused)
    assert "Call it" in text_of(client.get(path)), "the name is to be typed: its keys are revoked for good"
    client.post(reverse("endpoint-undeploy", args=("vision", endpoint.id)), {"confirm": "churn"})
    body = text_of(client.get(path))
    again = f"{reverse('endpoint-deploy', args=('vision',))}?version={version.id}&amp;name=churn"
    for words in ("Served <a", "deploy churn model v1 and create new keys", f'href="{again}"'):
        assert words in body, words
    for words in ("Serves <a", "No key", "Call it", "YOUR_KEY", 'id="endpoint-keys"'):
        assert words not in body, words
    viewer = text_of(client_of(tenant, "viewer").get(path))
    assert "Undeployed" in viewer
    assert "Deploy again" not in viewer


def test_what_is_cut_by_a_box_is_counted_in_its_head(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn", params={"batch_size": 0})
    endpoint = make_endpoint(version, "churn")
    client = client_of(tenant)
    body = text_of(client.get(reverse("model-version", args=("vision", version.id))))
    assert "4 columns that a prediction needs." in body
    assert "<dt>Batch size</dt><dd>automatic</dd>" in body
    assert "4 fields, filled with" in text_of(client.get(reverse("endpoint", args=("vision", endpoint.id))))


def other_columns() -> dict[str, Any]:
    """Return a signature without the plan and with a size."""
    signature = plain_signature()
    signature["inputs"][1] = {**signature["inputs"][0], "name": "size"}
    return signature


def deployed(tenant: Tenant, version: ModelVersion, **more: str) -> tuple[int, str]:
    """Return the status and the page of deploying a version under the name `churn`."""
    form = {
        "version": str(version.id),
        "name": "churn",
        "project": "",
        "slo_ms": "500",
        "form_key": str(uuid4()),
        **more,
    }
    answer = client_of(tenant).post(reverse("endpoint-deploy", args=("vision",)), form)
    return answer.status_code, text_of(answer)


def serves(tenant: Tenant, version: ModelVersion) -> bool:
    with tenant_scope(tenant.id):
        return Endpoint.objects.get(name="churn").version_id == version.id


def test_a_live_endpoint_is_replaced_after_confirmation(tenant: Tenant) -> None:
    actor = actor_for(tenant)
    before, after = make_version(actor, "churn"), make_version(actor, "better")
    assert deployed(tenant, before)[0] == 302, "a new name is not asked about"
    status, page = deployed(tenant, after)
    assert status == 409
    assert "churn is live with churn v1. Replace it with better v1?" in page
    assert 'name="confirm"' not in page
    assert serves(tenant, before)
    assert deployed(tenant, after, replaces=str(after.id))[0] == 409, "another version was live when it was asked"
    assert deployed(tenant, after, replaces=str(before.id))[0] == 302
    assert serves(tenant, after)


def test_a_change_of_input_columns_needs_the_typed_name(tenant: Tenant) -> None:
    actor = actor_for(tenant)
    before, after = make_version(actor, "churn"), make_version(actor, "sizes", signature=other_columns())
    deployed(tenant, before)
    for typed in ("", "chur"):
        status, page = deployed(tenant, after, replaces=str(before.id), confirm=typed)
        assert status == 409
        assert "Its callers send other columns (added size; gone plan)" in page
        assert serves(tenant, before)
    assert deployed(tenant, after, replaces=str(before.id), confirm="churn")[0] == 302
    assert serves(tenant, after)


def test_the_api_replaces_other_columns_only_on_request(tenant: Tenant) -> None:
    actor = actor_for(tenant)
    before, after = make_version(actor, "churn"), make_version(actor, "sizes", signature=other_columns())
    deployed(tenant, before)
    client = client_of(tenant)
    client.get(reverse("overview", args=("vision",)))
    body = {"name": "churn", "version": str(after.id)}
    refused = client.post("/api/v1/endpoints/", body, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "signature_differs")
    assert refused.json()["columns"] == "added size; gone plan"
    assert client.post("/api/v1/endpoints/", body | {"replace": 1}, content_type="application/json").status_code == 400
    assert serves(tenant, before)
    told = client.post("/api/v1/endpoints/", body | {"replace": True}, content_type="application/json")
    assert told.status_code == 201
    assert serves(tenant, after)


def test_asking_for_production_is_one_click_and_granting_it_takes_the_name(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn", stage="staging")
    engineer, owner = client_of(tenant), client_of(tenant, "owner")
    page, promote = (reverse(name, args=("vision", version.id)) for name in ("model-version", "model-promote"))
    assert 'name="confirm"' not in text_of(engineer.get(page))
    assert engineer.post(promote, {"stage": "production"}).status_code == 302
    body = text_of(owner.get(page))
    dialog = body.partition('id="production"')[2].partition("</dialog>")[0]
    assert ">Approve</button>" in dialog
    assert "Promote to production" not in dialog
    approve = reverse("model-approve", args=("vision", version.id))
    assert owner.post(approve).status_code == 422
    assert owner.post(approve, {"confirm": "churn v1"}).status_code == 302
