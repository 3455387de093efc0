"""The end of a job set: noted and sent once, by its last job, again after a retry; and the best of its results."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from compute import kinds
from compute.devices.base import Found
from compute.events import JobEnded
from compute.fleet import nodes
from compute.models import Job, JobSet
from compute.sets import ending
from tenants.events.events import publish_all
from tenants.isolation.scoping import tenant_scope
from tests.api.compute.test_job_sets import ARRAY
from tests.api.compute.test_jobs import Api
from tests.api.tenants.webhooks.test_catalogue import drain, sent, subscribed
from tests.api.test_matrix import client_for
from tests.fakes.runner import kind
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def api() -> Api:
    kind.install()
    found = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host h", index, 2**30) for index in range(4)]
    nodes.register(name="n1", hostname="h", boot=uuid.uuid4(), found=found, missing_layers=[])
    return Api(factories.make_tenant())


def jobs_of(api: Api, set_id: str) -> list[uuid.UUID]:
    with tenant_scope(api.tenant.id):
        return list(Job.objects.filter(set_id=set_id).order_by("id").values_list("id", flat=True))


def end(api: Api, job_id: uuid.UUID, state: str = "succeeded", **result: Any) -> None:
    with tenant_scope(api.tenant.id):
        cause = "user_error" if state == "failed" else ""
        Job.objects.filter(id=job_id).update(state=state, cause=cause, result=result)
        publish_all([JobEnded(tenant_id=api.tenant.id, job_id=job_id, state=state, cause="")])


def facts(api: Api, as_control: Control) -> list[dict[str, Any]]:
    return [body["data"] for body in sent(api.tenant, as_control) if body["type"] == "job_set.ended"]


def test_the_last_job_ends_its_set_once_and_a_retry_opens_it_again(api: Api, as_control: Control) -> None:
    one = api.post("/job-sets/", ARRAY).json()
    assert one["ended_at"] is None
    drain(api.tenant, as_control)
    subscribed(api.tenant, "job_set.ended")
    first, *rest = jobs_of(api, one["id"])
    end(api, first, "failed")
    assert facts(api, as_control) == []
    for job_id in [*rest, rest[-1]]:  # an event may come twice
        end(api, job_id)
    assert facts(api, as_control) == [{"state": "failed", "jobs": {"failed": 1, "succeeded": 2}}]
    ended = api.get(f"/job-sets/{one['id']}/").json()
    assert ended["ended_at"]
    end(api, first, "failed")  # and late
    assert len(facts(api, as_control)) == 1
    assert api.get(f"/job-sets/{one['id']}/").json()["ended_at"] == ended["ended_at"]
    assert api.post(f"/job-sets/{one['id']}/retry-failed/").json()["ended_at"] is None
    end(api, jobs_of(api, one["id"])[-1])
    assert facts(api, as_control)[1:] == [{"state": "succeeded", "jobs": {"succeeded": 3}}]


def test_cancelling_a_set_ends_it(api: Api, as_control: Control) -> None:
    one = api.post("/job-sets/", ARRAY).json()
    drain(api.tenant, as_control)
    subscribed(api.tenant, "job_set.ended")
    api.post(f"/job-sets/{one['id']}/cancel/")
    assert facts(api, as_control) == [{"state": "cancelled", "jobs": {"cancelled": 3}}]


def test_the_set_of_a_run_ends_with_the_run_and_not_between_its_steps(api: Api) -> None:
    one = api.post("/job-sets/", ARRAY).json()
    with tenant_scope(api.tenant.id):
        JobSet.objects.filter(id=one["id"]).update(kind="pipeline")
        Job.objects.filter(set_id=one["id"]).update(state="succeeded")
        ending.end_array(uuid.UUID(one["id"]))
        assert JobSet.objects.get(id=one["id"]).ended_at is None


def test_a_set_has_the_best_of_each_metric_on_its_page_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds.get("tick"), "better", {"log_loss": "lower", "majority_share": ""}, raising=False)
    one = api.post("/job-sets/", ARRAY).json()
    assert api.get(f"/job-sets/{one['id']}/").json()["best"] == []
    first, second, third = jobs_of(api, one["id"])
    end(api, first, metrics={"accuracy": 0.9, "log_loss": 0.5, "majority_share": 0.6, "exact": True, "by_class": {}})
    end(api, second, metrics={"accuracy": 0.8, "log_loss": 0.25})
    end(api, third, "failed", metrics={"accuracy": 0.99})
    best = api.get(f"/job-sets/{one['id']}/").json()["best"]
    assert [(row["metric"], row["value"], row["better"], row["job"]) for row in best] == [
        ("accuracy", 0.9, "higher", str(first)),
        ("log_loss", 0.25, "lower", str(second)),
    ]
    client = client_for(api.tenant, "engineer")
    client.get(f"/t/{api.tenant.slug}/")
    page = text_of(client.get(f"/t/{api.tenant.slug}/job-sets/{one['id']}/"))
    shown = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert "Highest Accuracy 0.9000 count 1" in shown, shown
    assert "Lowest Log loss 0.2500 count 2" in shown, shown
