"""Tags of endpoints: demanded at deploy like those of launches, kept, and on all usage that chargeback cuts by tag."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute.models import Allocation
from models_app.models import Endpoint
from models_app.serving.database import Database
from tenants import clock
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.billing.allocation.test_required_tags import GOOD, client, require
from tests.support import factories, selling
from tests.support.endpoints import make_version
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def deploy(browser: Client, version: str, **more: Any) -> Any:
    body = {"name": "churn", "version": version, **more}
    return browser.post("/api/v1/endpoints/", body, content_type="application/json")


def report(tenant: Tenant, **data: Any) -> None:
    event = {
        "specversion": "1.0", "id": uuid4().hex, "source": "gateway", "type": "inference.requests", "subject": "x",
        "time": clock.now().isoformat(), "data": {"quantity": 3, **data},
    }  # fmt: skip
    answer = Client().post(
        "/api/v1/events/", json.dumps(event), content_type="application/cloudevents+json",
        headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"},
    )  # fmt: skip
    assert answer.status_code == 204, answer.content


def test_b63_endpoints_carry_required_tags_and_their_usage_is_charged_back_by_them() -> None:
    tenant = factories.make_tenant()
    with tenant_scope(tenant.id):
        selling.provision_defaults()
    version, engineer = str(make_version(tenant).id), client(tenant, "admin")
    require(tenant)
    refused = deploy(engineer, version, tags={"team": "sales"})
    assert (refused.status_code, len(refused.json()["fields"]["tags"])) == (400, 2)
    assert deploy(engineer, version, tags={"team": 7}).status_code == 400
    form = {"version": version, "name": "churn", "project": "", "slo_ms": "500", "tags": "team=vision"}
    page = engineer.post(f"/t/{tenant.slug}/endpoints/new/", form)
    assert (page.status_code, "The tag cost-centre is required." in text_of(page)) == (422, True)
    assert page.context["form"].errors.keys() == {"tag-cost-centre"}, "beside its own field"
    asked = text_of(engineer.get(f"/t/{tenant.slug}/endpoints/new/"))
    assert "Tag cost-centre" in asked and '<option value="risk">' in asked
    fields = {"tag-cost-centre": "4711", "tag-team": "vision", "tags": ""}
    first = engineer.post(f"/t/{tenant.slug}/endpoints/new/", {**form, **fields})
    shown = text_of(engineer.get(first.url))
    assert "cost-centre: 4711" in shown and "team: vision" in shown
    again = engineer.post(f"/t/{tenant.slug}/endpoints/new/", {**form, "tags": ""})
    assert again.status_code == 302, "a live endpoint keeps its tags"
    with tenant_scope(tenant.id):
        assert Endpoint.objects.get().tags == GOOD
    made = deploy(engineer, version, tags=GOOD)
    assert (made.status_code, made.json()["tags"]) == (201, GOOD)
    assert deploy(engineer, version).status_code == 201
    moved = deploy(engineer, version, tags=GOOD | {"team": "risk"})
    assert (moved.status_code, "keeps its tags" in str(moved.json()["fields"]["tags"])) == (400, True)
    with tenant_scope(tenant.id):
        endpoint = Endpoint.objects.get()
        dims = {"endpoint": "churn", "tag:team": "vision", "tag:cost-centre": "4711"}
        assert Allocation.objects.get().dims == dims
    record = {
        "tenant": str(tenant.id), "endpoint": str(endpoint.id), "name": "churn", "project": str(endpoint.project_id), "n": 1,
        "slice": 1, "hold": None, "at": clock.now().isoformat(), "us": 5000, "requests": 10, "ms": "1.5",
    }  # fmt: skip
    boot = uuid4()
    for _ in range(2):  # a record that is settled again is the same usage
        assert Database("serving.a", 0).settle(tenant.id, boot, [record]) == set()
    report(tenant, **{"tag:team": "vision"})
    report(tenant)
    rows = client(tenant, "finance").get("/api/v1/chargeback/", {"by": "tag:team"}).json()["results"]
    assert {row["names"]["tag:team"]: row["predictions"] for row in rows} == {
        "vision": "13.000000",
        "Untagged": "3.000000",
    }
