"""Job arrays over REST: one launch, many values, one cap that nothing passes."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest

from compute import queries
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs.repricing import follow_price, price_of
from compute.models import Job, JobSet
from compute.scheduling import assign
from tenants.isolation.scoping import tenant_scope
from tests.api.compute.test_jobs import ORDER, Api
from tests.api.test_matrix import client_for
from tests.fakes.runner import kind
from tests.integration.compute.test_leases import Control
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ARRAY = {**ORDER, "vary": {"steps": [4, 5, 6]}}


@pytest.fixture
def api() -> Api:
    kind.install()
    found = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host h", index, 2**30) for index in range(4)]
    nodes.register(name="n1", hostname="h", boot=uuid.uuid4(), found=found, missing_layers=[])
    return Api(factories.make_tenant())


def worst(api: Api) -> Decimal:
    return Decimal(api.post("/quotes/", ORDER).json()["worst"]["amount"])


def test_an_array_is_launched_followed_cancelled_and_run_again(api: Api) -> None:
    made = api.post("/job-sets/", {**ARRAY, "vary": {"steps": [4, 5], "store": ["x", "y"]}})
    assert made.status_code == 201, made.json()
    one = made.json()
    assert (one["state"], one["jobs"], one["varied"]) == ("queued", {"queued": 4}, ["steps", "store"])
    members = api.get(f"/job-sets/{one['id']}/jobs/?limit=3").json()
    assert [row["values"] for row in members["results"]] == [
        {"steps": 4, "store": "x"},
        {"steps": 4, "store": "y"},
        {"steps": 5, "store": "x"},
    ]
    assert len(api.get(members["next"].split("/api/v1")[1]).json()["results"]) == 1
    assert len(api.get(f"/jobs/?job_set={one['id']}").json()["results"]) == 4
    with tenant_scope(api.tenant.id):
        first = Job.objects.order_by("id").values_list("id", flat=True)[0]
        Job.objects.filter(id=first).update(state="succeeded")
    assert api.post(f"/job-sets/{one['id']}/cancel/").json()["jobs"] == {"succeeded": 1, "cancelled": 3}
    again = api.post(f"/job-sets/{one['id']}/retry-failed/")
    assert (again.status_code, again.json()["jobs"]) == (201, {"succeeded": 1, "queued": 3})
    assert api.post(f"/job-sets/{one['id']}/retry-failed/").json()["code"] == "job_set_nothing_failed"
    assert [row["id"] for row in api.get("/job-sets/").json()["results"]] == [one["id"]]
    assert Api(factories.make_tenant("other")).get(f"/job-sets/{one['id']}/").status_code == 404


@pytest.mark.parametrize(
    ("vary", "field"),
    [
        (None, "vary"),
        ({}, "vary"),
        ({"steps": []}, "vary"),
        ({"steps": [1, 1]}, "vary"),
        ({"steps.x": [1]}, "vary"),
        ({"a..b": [1]}, "vary"),
        ({"steps": list(range(1, 102))}, "vary"),
    ],
)
def test_what_cannot_be_an_array_is_refused_by_its_field(api: Api, vary: Any, field: str) -> None:
    refused = api.post("/job-sets/", {**ORDER, "vary": vary})
    assert refused.status_code == 400
    assert field in refused.json()["fields"], refused.json()


def test_a_launch_beyond_the_cap_leaves_nothing(api: Api) -> None:
    """Two of three jobs fit: none is launched, and no money stays held."""
    each = worst(api)
    refused = api.post("/job-sets/", {**ARRAY, "cap": str(each * 2)})
    assert (refused.status_code, refused.json()["code"]) == (402, "job_set_cap_reached")
    assert "'count' may spend" in refused.content.decode()
    with tenant_scope(api.tenant.id):
        assert not Job.objects.exists()
        assert not JobSet.objects.exists()
    assert api.post("/job-sets/", {**ARRAY, "cap": str(each * 3)}).status_code == 201


@pytest.mark.parametrize("spent", [Decimal("0.25"), Decimal("0.75")])
def test_spent_and_held_money_count_together(api: Api, spent: Decimal) -> None:
    """A cancelled job gives back what it did not spend; another may use that, and no more."""
    each = worst(api)
    one = api.post("/job-sets/", {**ARRAY, "cap": str(each * 3)}).json()
    jobs = [row["id"] for row in api.get(f"/job-sets/{one['id']}/jobs/").json()["results"]]
    assert api.post(f"/jobs/{jobs[0]}/pause/").status_code == 200
    with tenant_scope(api.tenant.id):
        Job.objects.filter(id=jobs[1]).update(spent=each * spent)  # its hold is whole: as if the price had risen since
    refused = api.post(f"/jobs/{jobs[0]}/resume/")
    assert (refused.status_code, refused.json()["code"]) == (402, "job_set_cap_reached")
    assert api.post(f"/jobs/{jobs[2]}/cancel/").status_code == 200
    assert api.post(f"/jobs/{jobs[0]}/resume/").status_code == 200


def test_a_hold_grows_up_to_the_cap_and_the_page_names_it(api: Api) -> None:
    each = worst(api)
    one = api.post("/job-sets/", {**ARRAY, "cap": str(each * 3)}).json()
    with tenant_scope(api.tenant.id):
        job = Job.objects.filter(set_id=one["id"]).order_by("id")[0]
        price = price_of(job)
        job.unit_amount /= 2  # the price has doubled since
        job.max_seconds *= 2
        assert not follow_price(job, price)
        Job.objects.filter(id=job.id).update(state="paused", cause="budget", max_seconds=job.max_seconds, hold_id=None)
        waits = queries.job_detail(job.id).waiting_for
    assert waits is not None
    assert (waits["kind"], "'count'" in waits["reason"]) == ("job_set", True)


def test_an_array_runs_at_most_so_many_at_once(api: Api, as_control: Control) -> None:
    one = api.post("/job-sets/", {**ARRAY, "vary": {"steps": [4, 5, 6, 7]}, "most_at_once": 2}).json()
    other = api.post("/jobs/", ORDER).json()
    with as_control():
        assign.assign_all()
    assert api.get(f"/job-sets/{one['id']}/").json()["jobs"] == {"running": 2, "queued": 2}
    assert api.get(f"/jobs/{other['id']}/").json()["state"] == "running"
    with tenant_scope(api.tenant.id):
        waiting = Job.objects.filter(set_id=one["id"], state="queued").values_list("id", flat=True)[0]
    said = api.get(f"/jobs/{waiting}/").json()["waiting_for"]
    assert (said["kind"], said["most_at_once"]) == ("array", 2)
    with as_control():
        assign.assign_all()
    assert api.get(f"/job-sets/{one['id']}/").json()["jobs"] == {"running": 2, "queued": 2}


def test_a_full_set_keeps_no_other_set_from_being_weighed(api: Api, as_control: Control) -> None:
    """More of it wait than there are devices, and all before those of the other."""
    first = api.post("/job-sets/", {**ARRAY, "vary": {"steps": list(range(3, 12))}, "most_at_once": 1}).json()
    other = api.post("/job-sets/", {**ARRAY, "vary": {"steps": [4, 5, 6]}, "most_at_once": 2}).json()
    for _ in range(2):
        with as_control():
            assign.assign_all()
    assert api.get(f"/job-sets/{first['id']}/").json()["jobs"] == {"running": 1, "queued": 8}
    assert api.get(f"/job-sets/{other['id']}/").json()["jobs"] == {"running": 2, "queued": 1}


def test_a_set_has_a_page_that_cancels_and_runs_again(api: Api) -> None:
    one = api.post("/job-sets/", {**ARRAY, "name": "sweep", "cap": "9"}).json()
    client = client_for(api.tenant, "engineer")
    client.get(f"/t/{api.tenant.slug}/")
    base = f"/t/{api.tenant.slug}/job-sets/"
    assert "sweep" in text_of(client.get(base))
    shown = text_of(client.get(f"{base}{one['id']}/"))
    assert all(word in shown for word in ("steps", "sweep 3", "Cancel all")), shown
    owner = client_for(api.tenant, "owner")
    assert owner.post(f"{base}{one['id']}/cancel/").status_code == 302
    assert "Run failed jobs again" in text_of(owner.get(f"{base}{one['id']}/"))
    assert owner.post(f"{base}{one['id']}/retry-failed/").status_code == 302
    assert api.get(f"/job-sets/{one['id']}/").json()["jobs"] == {"queued": 3}
