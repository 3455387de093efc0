"""Deploying from a version that may not be, and what is left of an endpoint that is undeployed."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from models_app.models import ModelVersion
from tenants.models import Tenant
from tests.factories import actor_for, make_member, make_tenant
from tests.learned import make_endpoint, make_version

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
    body = client.get(reverse("endpoint-deploy", args=("vision",)), {"version": version}).content.decode()
    return body, body.partition('name="version"')[2].partition("</select>")[0]


def opened(version: ModelVersion) -> str:
    return f'href="{reverse("model-version", args=("vision", version.id))}"'


@pytest.mark.parametrize(
    ("stage", "says"), [("staging", "Promote it first"), ("archived", "take it back and promote it first")]
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


def test_a_version_in_production_is_chosen_and_nothing_else_is_said(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn")
    body, options = asked_for(client_of(tenant), version.id)
    assert f'<option value="{version.id}" selected>' in options
    assert "x-banner wait" not in body


def test_the_form_sent_without_a_version_asks_for_one(tenant: Tenant) -> None:
    make_version(actor_for(tenant), "churn")
    entered = {"version": "", "name": "churn", "project": "", "slo_ms": "500", "once": str(uuid4())}
    answer = client_of(tenant).post(reverse("endpoint-deploy", args=("vision",)), entered)
    assert answer.status_code == 422
    assert "This field is required" in answer.content.decode()


def test_an_undeployed_endpoint_says_what_to_do_and_offers_no_call(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn model")
    endpoint = make_endpoint(version, "churn")
    client, path = client_of(tenant), reverse("endpoint", args=("vision", endpoint.id))
    assert "Call it" in client.get(path).content.decode()
    client.post(reverse("endpoint-undeploy", args=("vision", endpoint.id)))
    body = client.get(path).content.decode()
    again = f"{reverse('endpoint-deploy', args=('vision',))}?version={version.id}&amp;name=churn"
    for words in ("Served <a", "deploy churn model v1 again and create new keys", f'href="{again}"'):
        assert words in body, words
    for words in ("Serves <a", "No key", "Call it", "YOUR_KEY", 'id="endpoint-keys"'):
        assert words not in body, words
    viewer = client_of(tenant, "viewer").get(path).content.decode()
    assert "Undeployed" in viewer
    assert "Deploy again" not in viewer


def test_what_is_cut_by_a_box_is_counted_in_its_head(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "churn", params={"batch_size": 0})
    endpoint = make_endpoint(version, "churn")
    client = client_of(tenant)
    body = client.get(reverse("model-version", args=("vision", version.id))).content.decode()
    assert "4 inputs: what a prediction must be given" in body
    assert "<dt>Batch size</dt><dd>automatic</dd>" in body
    assert "4 fields, filled with" in client.get(reverse("endpoint", args=("vision", endpoint.id))).content.decode()
