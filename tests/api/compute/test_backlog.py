"""A full queue refuses work with 429 and a time to retry; nothing of it is held or stored."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from billing.models import Hold
from compute.models import Job
from models_app.models import DatasetVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import QuotaReservation, Tenant
from tests.api.compute.test_launch import BEFORE, post
from tests.api.objects import launchable
from tests.support import factories
from tests.support.launch_forms import NEW, entered
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)
ROOM = 3


@pytest.fixture
def tenant(settings: Any) -> Tenant:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"queued_jobs": BEFORE + ROOM})
    return factories.make_tenant("lab")


@pytest.fixture
def order(tenant: Tenant) -> dict[str, Any]:
    return launchable(tenant)


def kept(tenant: Tenant) -> tuple[int, int, int]:
    """Return the numbers of jobs, holds, and jobs that reserve device time."""
    with tenant_scope(tenant.id):
        timed = QuotaReservation.objects.filter(resource="device_hours:cpu")
        return Job.objects.count(), Hold.objects.count(), timed.count()


def filled(key: str, order: dict[str, Any]) -> list[str]:
    answers = [post(key, order) for _ in range(ROOM)]
    assert [answer.status_code for answer in answers] == [201] * ROOM
    return [answer.json()["id"] for answer in answers]


def test_concurrent_launches_never_exceed_the_queue_limit(tenant: Tenant, order: dict[str, Any]) -> None:
    key, (jobs, holds, used) = factories.make_api_key(tenant), kept(tenant)
    answers: list[Any] = []
    barrier = threading.Barrier(12)

    def launch() -> None:
        try:
            barrier.wait()
            answers.append(post(key, order))
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    refused = [answer for answer in answers if answer.status_code != 201]
    assert len(answers) - len(refused) == ROOM
    assert {(one.status_code, one.json()["code"], one["Retry-After"]) for one in refused} == {(429, "queue_full", "30")}
    assert kept(tenant) == (jobs + ROOM, holds + ROOM, used + ROOM)


def test_a_freed_place_admits_the_next_request_and_blocks_no_other_tenant(
    tenant: Tenant, order: dict[str, Any]
) -> None:
    key = factories.make_api_key(tenant)
    first, *_ = filled(key, order)
    refused = post(key, order)
    assert refused.status_code == 429
    assert f"{BEFORE + ROOM} jobs of this organisation are waiting" in refused.json()["title"]
    other = factories.make_tenant()
    assert post(factories.make_api_key(other), launchable(other)).status_code == 201
    assert post(key, {}, f"/api/v1/jobs/{first}/pause/").status_code == 200
    assert post(key, order).status_code == 201
    resumed = post(key, {}, f"/api/v1/jobs/{first}/resume/")
    assert (resumed.status_code, resumed.json()["code"]) == (429, "queue_full")
    cloned = post(key, {}, f"/api/v1/jobs/{first}/clone/")
    assert (cloned.status_code, cloned["Retry-After"]) == (429, "30")


def test_no_limit_is_none(tenant: Tenant, order: dict[str, Any], settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"queued_jobs": 0})
    key = factories.make_api_key(tenant)
    filled(key, order)
    assert post(key, order).status_code == 201


def test_the_form_says_so_and_keeps_what_was_entered(tenant: Tenant, order: dict[str, Any]) -> None:
    filled(factories.make_api_key(tenant), order)
    person = Client()
    person.force_login(factories.make_member(tenant, "owner"))
    with tenant_scope(tenant.id):
        version = DatasetVersion.objects.get(dataset_id=order["dataset"])
    chosen = {"name": "one too many", "recipe": order["recipe"], "dataset": str(version.id), "p-target": "t"}
    form = entered(text_of(person.get(NEW))) | chosen
    answer = person.post(NEW, form)
    assert (answer.status_code, answer["Retry-After"]) == (429, "30")
    assert "jobs of this organisation are waiting, which is the maximum" in text_of(answer)
    assert 'value="one too many"' in text_of(answer)
