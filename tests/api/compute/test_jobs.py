"""Jobs over REST: quotes, jobs, what a client sees of them, and refusals."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs.repricing import grace_s
from compute.models import JobLog
from tenants import quotas
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.objects import one_of_everything
from tests.fakes.runner import kind
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db

ORDER = {"name": "count", "kind": "tick", "steps": 4, "store": "x", "device_class": "cpu", "max_seconds": 100}


class Api:
    """A client with an API key of one tenant."""

    def __init__(self, tenant: Tenant, scopes: list[str] | None = None) -> None:
        self.tenant = tenant
        self._headers = {"Authorization": f"Bearer {factories.make_api_key(tenant, scopes)}"}

    def get(self, path: str) -> Any:
        """Return the JSON of a GET."""
        return Client().get(f"/api/v1{path}", headers=self._headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """Return the response to a POST."""
        sent = {**self._headers, **headers}
        return Client().post(f"/api/v1{path}", body or {}, content_type="application/json", headers=sent)


@pytest.fixture
def api() -> Api:
    kind.install()
    found = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host h", index, 2**30) for index in range(2)]
    nodes.register(name="n1", hostname="h", boot=uuid.uuid4(), found=found, missing_layers=["a layer"])
    return Api(factories.make_tenant())


def test_a_quote_binds_a_launch_of_the_same_body(api: Api) -> None:
    quote = api.post("/quotes/", ORDER)
    assert quote.status_code == 201
    said = quote.json()
    assert {
        "typical",
        "worst",
        "price_version",
        "expected_wait_s",
        "budget_left_after",
        "quota_left_after",
        "expires_at",
    } <= set(said)
    assert Decimal(said["worst"]["amount"]) == (100 + grace_s()) * Decimal(said["unit_amount"]["amount"]) > 0
    assert said["expected_wait_s"] == 0
    job = api.post("/jobs/", {**ORDER, "quote": said["id"]})
    assert job.status_code == 201
    assert job.json()["price_version"] == said["price_version"]
    assert api.post("/jobs/", {**ORDER, "quote": said["id"]}).status_code == 409, "a quote serves once"
    other = api.post("/quotes/", ORDER).json()["id"]
    assert api.post("/jobs/", {**ORDER, "steps": 5, "quote": other}).status_code == 409, "another body"


def test_a_job_is_shown_as_the_contract_says(api: Api) -> None:
    made = api.post("/jobs/", {**ORDER, "tags": {"team": "a"}, "max_cost": "0.004"}).json()
    shown = api.get(f"/jobs/{made['id']}/").json()
    assert {"state", "cause", "waiting_for", "progress", "billed_seconds", "cost", "attempts", "steps"} <= set(shown)
    assert (shown["state"], shown["cause"], shown["waiting_for"]["kind"]) == ("queued", None, "device")
    assert shown["max_cost"] == {"amount": "0.004000", "currency": "EUR"}
    assert api.get(f"/jobs/{made['id']}/logs/?after=0").json() == {"results": [], "next": None}
    assert api.get(f"/jobs/{made['id']}/metrics/").json() == {"results": [], "next": None}


def test_the_log_is_paged_by_its_limit_and_continues_after_a_position(api: Api) -> None:
    job_id = api.post("/jobs/", ORDER).json()["id"]
    with tenant_scope(api.tenant.id):
        JobLog.objects.bulk_create(JobLog(job_id=job_id, token=1, position=at, line=str(at)) for at in range(1, 61))
    page = api.get(f"/jobs/{job_id}/logs/?limit=40").json()
    following = api.get(page["next"].split("/api/v1")[1]).json()
    assert [[row["line"] for row in one["results"]] for one in (page, following)] == [
        [str(at) for at in range(1, 41)],
        [str(at) for at in range(41, 61)],
    ]
    assert following["next"] is None
    assert len(api.get(f"/jobs/{job_id}/logs/").json()["results"]) == 50
    assert [row["line"] for row in api.get(f"/jobs/{job_id}/logs/?after=58").json()["results"]] == ["59", "60"]


def test_a_list_is_filtered_and_paged_newest_first(api: Api) -> None:
    ids = [api.post("/jobs/", {**ORDER, "name": f"job {number}"}).json()["id"] for number in range(3)]
    page = api.get("/jobs/?limit=2").json()
    following = api.get(page["next"].split("/api/v1")[1]).json()
    assert [row["id"] for row in page["results"] + following["results"]] == ids[::-1]
    assert following["next"] is None
    api.post(f"/jobs/{ids[0]}/cancel/")
    assert [row["id"] for row in api.get("/jobs/?state=cancelled").json()["results"]] == [ids[0]]
    assert [row["id"] for row in api.get("/jobs/?name=job 1").json()["results"]] == [ids[1]]
    assert api.get("/jobs/?state=lost").status_code == 400
    assert api.get("/jobs/?cursor=zzz").status_code == 400


def test_a_job_can_be_paused_resumed_cloned_and_cancelled(api: Api) -> None:
    job_id = api.post("/jobs/", ORDER).json()["id"]
    assert api.post(f"/jobs/{job_id}/pause/").json()["state"] == "paused"
    assert api.post(f"/jobs/{job_id}/pause/").json()["cause"] == "user"
    assert api.post(f"/jobs/{job_id}/resume/").json()["state"] == "queued"
    again = api.post(f"/jobs/{job_id}/resume/")
    assert (again.status_code, again.json()["code"]) == (409, "job_not_paused")
    assert api.post(f"/jobs/{job_id}/cancel/").json()["state"] == "cancelled"
    assert api.post(f"/jobs/{job_id}/cancel/").status_code == 200
    final = api.post(f"/jobs/{job_id}/pause/")
    assert (final.status_code, final.json()["code"]) == (409, "job_is_final")
    clone = api.post(f"/jobs/{job_id}/clone/")
    assert clone.status_code == 201 and clone.json()["cloned_from"] == job_id


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"), ({"name": 7}, "name"), ({"kind": "dance"}, "kind"), ({"steps": "many"}, "steps"),
        ({"device_class": "h100"}, "device_class"), ({"devices": 99}, "devices"), ({"tier": "free"}, "tier"),
        ({"max_seconds": 0}, "max_seconds"), ({"max_seconds": 1e9}, "max_seconds"), ({"max_cost": "-1"}, "max_cost"),
        ({"max_cost": "NaN"}, "max_cost"), ({"max_cost": "1e300"}, "max_cost"), ({"tags": [1]}, "tags"),
        ({"project": "elsewhere"}, "project"), ({"quote": "x"}, "quote"), ({"share": "1/2"}, "share"),
        ({"share": 0.5}, "share"), ({"share": "2/4"}, "share"), ({"share": "1/0"}, "share"), ({"share": "1/3"}, "share"),
        ({"name": "a\x07b"}, "name"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(api: Api, change: dict[str, Any], field: str) -> None:
    refused = api.post("/jobs/", {**ORDER, **change})
    assert refused.status_code == 400, refused.content
    assert field in refused.json()["fields"]
    assert api.get("/jobs/").json()["results"] == []


def test_a_full_quota_of_the_month_is_a_409_and_stores_nothing(api: Api) -> None:
    quotas.set_limit(actor=factories.actor_for(api.tenant), resource="device_hours:cpu", limit=1)
    order = {**ORDER, "max_seconds": 2000}
    assert api.post("/jobs/", order).status_code == 201
    refused = api.post("/jobs/", order)
    assert (refused.status_code, refused.json()["code"], refused.json()["limit"]) == (409, "quota_exceeded", 1)
    assert refused.json()["scope"] == "tenant" and 0 < refused.json()["left"] < 1
    assert "in the organisation" in refused.json()["title"] and "ask an owner or admin" in refused.json()["title"]
    assert len(api.get("/jobs/").json()["results"]) == 1


def test_a_full_quota_at_once_lets_the_job_in_and_it_says_why_it_waits(api: Api) -> None:
    quotas.set_limit(actor=factories.actor_for(api.tenant), resource="devices:cpu", limit=0)
    launched = api.post("/jobs/", ORDER)
    assert (launched.status_code, launched.json()["state"]) == (201, "queued")
    waits = launched.json()["waiting_for"]
    assert (waits["kind"], waits["resource"], waits["scope"], waits["limit"]) == ("quota", "devices:cpu", "tenant", 0)
    assert waits["reason"].startswith("Quota: 0 of 0 CPU devices in use in the organisation.")


def test_the_pool_is_listed_without_saying_who_holds_what(api: Api) -> None:
    devices = api.get("/devices/").json()["results"]
    assert [row["name"] for row in devices] == ["CPU 0 of host h", "CPU 1 of host h"]
    assert all(row["free"] and row["device_class"] == "cpu" and row["missing_layers"] == ["a layer"] for row in devices)
    assert not any("taken" in name for row in devices for name in row)


def test_utilisation_answers_rows_that_add_up(api: Api) -> None:
    rows = api.get("/utilisation/?group_by=device_class").json()["results"]
    (cpu,) = rows
    assert cpu["group"] == {"device_class": "cpu"} and cpu["capacity_s"] > 0
    assert cpu["free_s"] == cpu["capacity_s"] - cpu["allocated_s"] - cpu["held_s"]
    assert api.get("/utilisation/?from=yesterday").status_code == 400
    assert api.get("/utilisation/?group_by=colour").status_code == 400


def test_without_the_permission_there_is_no_tab_for_the_audit_log() -> None:
    tenant = factories.make_tenant()
    job = one_of_everything(tenant)["job_id"]
    offered = {}
    for role in ("owner", "engineer"):
        client = Client()
        client.force_login(factories.make_member(tenant, role))
        offered[role] = "?tab=events" in text_of(client.get(f"/t/{tenant.slug}/jobs/{job}/"))
    assert offered == {"owner": True, "engineer": False}
