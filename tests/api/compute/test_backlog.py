"""A full queue refuses work with 429 and a time to retry; nothing of it is held or stored."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import connection
from django.test import Client

from billing.models import Hold
from compute.models import Job
from deploy import procfs
from models_app.models import DatasetVersion
from tenants.isolation.scoping import tenant_scope
from tenants.models import QuotaReservation, Tenant
from tests.api.compute.test_launch import BEFORE, post
from tests.api.config.test_hosts import served
from tests.api.objects import launchable
from tests.support import factories
from tests.support.launch_forms import NEW, entered
from tests.support.pages import text_of
from tests.support.servers.ports import free_port

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


@pytest.mark.nightly
def test_two_thousand_launches_in_twenty_seconds_cost_no_error_and_no_memory(
    tenant: Tenant, order: dict[str, Any], process_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    many, spread_s, half, callers = 2000, 20, 100, threading.local()
    port, (jobs, holds, used) = free_port(), kept(tenant)
    headers = {"Authorization": f"Bearer {factories.make_api_key(tenant)}"}

    def launch(due: float) -> tuple[int, str, str]:
        if not hasattr(callers, "session"):
            callers.session = requests.Session()
        time.sleep(max(due - time.monotonic(), 0))
        url = f"http://127.0.0.1:{port}/api/v1/jobs/"
        answer = callers.session.post(url, json=order, headers=headers, timeout=300)
        return answer.status_code, answer.json().get("code", ""), answer.headers.get("Retry-After", "")

    environment = process_environment(EXCHEQUER_QUEUED_JOBS=BEFORE + 2 * half)
    with served(environment, port, tmp_path, processes=2) as web, ThreadPoolExecutor(64) as pool:
        warm = list(pool.map(launch, [time.monotonic()] * half))  # every thread of the server has worked
        before, began = resident_mb(web), time.monotonic()
        answers = list(pool.map(launch, [began + number * spread_s / many for number in range(many)]))
        grown = resident_mb(web) - before
    assert {status for status, _, _ in warm} == {201}
    assert Counter(status for status, _, _ in answers) == {201: half, 429: many - half}
    refused = [(code, int(retry)) for status, code, retry in answers if status == 429]
    assert {code for code, _ in refused} <= {"queue_full", "rate_limited"}
    assert all(retry >= 1 for _, retry in refused)
    assert kept(tenant) == (jobs + 2 * half, holds + 2 * half, used + 2 * half)
    print(f"memory grew by {grown:.1f} MB; {Counter(code for code, _ in refused)}")  # noqa: T201
    assert grown < 50, f"{grown:.0f} MB"


def resident_mb(first: int) -> float:
    """Return the memory of a process and all below it."""
    pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in (first, *procfs.descendants(first))]
    return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE") / 2**20


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
