"""A job's page: its message while a pause takes effect, names of data and model, each figure once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.test import Client

from billing.budgets.budgets import create_budget
from compute import queries
from compute.leases import leases
from compute.leases.messages import Heartbeat, Sample
from compute.models import Device, Job, JobMetric, Outcome
from models_app.models import Dataset
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant
from tenants.web.pagination import encode_cursor
from tests.api.objects import one_of_everything
from tests.integration.compute.test_leases import World
from tests.support.factories import make_api_key, make_member, make_tenant
from tests.support.pages import flowed, text_of


def client_of(tenant: Tenant, role: str = "owner") -> Client:
    client = Client()
    client.force_login(make_member(tenant, role))
    return client


@pytest.mark.django_db(transaction=True)
def test_a_job_is_paused_only_once_its_program_has_stopped(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    world = World(as_control)
    mine = world.running()
    leases.heartbeat(mine, Heartbeat(elapsed=0.01, samples=[Sample(2.0, 0.25, 2**30)]))
    client, path = client_of(world.tenant), f"/t/{world.tenant.slug}/jobs/{mine.job.id}/"
    page = text_of(client.post(f"{path}pause/", follow=True))
    assert "Pausing: saving a checkpoint. You pay until it has stopped" in page
    assert "nothing is charged" not in page.lower()
    live = text_of(client.get(f"{path}live/"))
    assert '<span class="x-state busy">Pausing</span>' in live
    assert "data-poll" in live
    for shown in (
        "Utilisation in percent",
        "Memory in GiB",
        "25 %",
        "1.0\xa0GB",
        "not measured",
        "does not measure its power",
    ):
        assert shown in flowed(live), shown
    leases.finish(mine, Outcome.PAUSED, Heartbeat(elapsed=0.02, samples=[Sample(2.0, 0.5, 2**30, power_w=250.0)]))
    stopped = text_of(client.get(f"{path}live/"))
    assert "Pausing" not in stopped
    assert "Power in watts" in stopped and "250 W" in flowed(stopped)
    assert '<span class="x-state wait">Paused</span>' in stopped


@pytest.mark.django_db(transaction=True)
def test_a_job_that_waits_is_paused_at_once(as_control: Callable[[], AbstractContextManager[None]]) -> None:
    world = World(as_control)
    job_id = world.submit()
    page = text_of(client_of(world.tenant).post(f"/t/{world.tenant.slug}/jobs/{job_id}/pause/", follow=True))
    assert "Paused. Nothing is charged while it is paused." in page


@pytest.fixture
def made() -> tuple[Tenant, dict[str, Any]]:
    tenant = make_tenant("lab")
    ids = one_of_everything(tenant)
    with tenant_scope(tenant.id):
        result = {
            "model": str(ids["model_id"]),
            "model_version": str(ids["version_id"]),
            "metrics": {"accuracy": 0.9375},
        }
        Job.objects.update(state="succeeded", result=result)
        for step, values in enumerate([{"train_loss": 2.0}, {"train_loss": 1.0}, {"accuracy": 0.9375}]):
            JobMetric.objects.create(job_id=ids["job_id"], step=step, token=1, values=values)
    return tenant, ids


@pytest.mark.django_db
def test_data_and_model_are_named_and_each_figure_is_shown_once(made: tuple[Tenant, dict[str, Any]]) -> None:
    tenant, ids = made
    page = flowed(client_of(tenant).get(f"/t/lab/jobs/{ids['job_id']}/").content.decode())
    assert ">numbers v1</a>" in page
    assert "Open a model v1" in page
    assert page.count("0.9375") == 1
    assert "<span>a job</span></nav>" in page


@pytest.mark.django_db
def test_work_names_its_project_as_spend_and_budgets_do(made: tuple[Tenant, dict[str, Any]]) -> None:
    tenant, ids = made
    with tenant_scope(tenant.id):
        Project.objects.update(name="Cancer outcomes")
    client = client_of(tenant)
    for path in ("jobs/", f"jobs/{ids['job_id']}/", "endpoints/", f"endpoints/{ids['endpoint_id']}/"):
        assert "Cancer outcomes" in text_of(client.get(f"/t/lab/{path}")), path


@pytest.mark.django_db
def test_a_job_over_an_unshared_dataset_is_missing(made: tuple[Tenant, dict[str, Any]]) -> None:
    tenant, ids = made
    with tenant_scope(tenant.id):
        Dataset.objects.update(restricted=True)
    assert client_of(tenant, "engineer").get(f"/t/lab/jobs/{ids['job_id']}/").status_code == 404
    assert ">numbers v1</a>" in text_of(client_of(tenant, "admin").get(f"/t/lab/jobs/{ids['job_id']}/"))


@pytest.mark.django_db(transaction=True)
def test_a_waiting_job_shows_its_place_the_jobs_ahead_and_what_unblocks_it(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    world = World(as_control)
    client, jobs_path = client_of(world.tenant), f"/t/{world.tenant.slug}/jobs/"
    running = [world.submit(), world.submit()]
    world.assign()
    waiting = [world.submit() for _ in range(5)]
    last = text_of(client.get(f"{jobs_path}{waiting[-1]}/live/"))
    assert "Number 5 of your organisation’s jobs for CPU." in last
    assert "All 2 CPU devices are taken, 2 by jobs of your organisation" in last
    assert "4 of your jobs are before it." in last, "and each is named once, by its link"
    assert all(last.count(f"{jobs_path}{one}/") == 1 for one in waiting[:3]) and "</a>, …" in last
    key = make_api_key(world.tenant)
    said = client.get(f"/api/v1/jobs/{waiting[-1]}/", headers={"Authorization": f"Bearer {key}"}).json()["waiting_for"]
    assert (said["kind"], said["position"], said["own_jobs_ahead"]) == ("device", 5, 4)
    assert [one["id"] for one in said["ahead"]] == [str(one) for one in waiting[:3]]
    assert "cancel a running job" in said["reason"]
    page = text_of(client.get(jobs_path))
    assert "next of yours for CPU" in page and "number 5 of yours for CPU" in page
    assert ">Progress<" not in page
    with tenant_scope(world.tenant.id):
        Device.objects.update(state="gone")
    gone = text_of(client.get(f"{jobs_path}{waiting[0]}/live/"))
    assert "No CPU device is in service" in gone
    assert running


@pytest.mark.django_db(transaction=True)
def test_a_job_that_its_budget_paused_says_what_it_needs(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    world = World(as_control)
    job_id = world.submit()
    with tenant_scope(world.tenant.id):
        Job.objects.filter(id=job_id).update(state="paused", cause="budget")
        project = Job.objects.get(id=job_id).project_id
    budget = create_budget(actor=world.actor, amount=Decimal("0.000001"), at_limit="block_new", project_id=project)
    page = text_of(client_of(world.tenant).get(f"/t/{world.tenant.slug}/jobs/{job_id}/live/"))
    assert "Paused by its budget." in page and "Raise the budget" in page
    with tenant_scope(world.tenant.id):
        said = queries.job_detail(job_id).waiting_for
    assert said is not None and (said["kind"], said["budget"]) == ("budget", str(budget.pk))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "sort", ["name", "-name", "cost", "-cost", "submitted", "-submitted", "project", "state", "device", ""]
)
def test_the_list_sorts_by_each_column_and_a_page_goes_on_where_the_last_ended(
    as_control: Callable[[], AbstractContextManager[None]], sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(as_control)
    made = [world.submit() for _ in range(7)]
    with tenant_scope(world.tenant.id):
        for number, job_id in enumerate(made):
            Job.objects.filter(id=job_id).update(name=f"job {number % 3}", spent=Decimal(number % 2) / 100)
        whole = [row.id for row in queries.job_list(sort=sort)]
        rows = {row.id: row for row in queries.job_list()}
    monkeypatch.setattr(import_module("compute.views.jobs"), "PAGE", 2)
    client, path = client_of(world.tenant), f"/t/{world.tenant.slug}/jobs/"
    seen: list[Any] = []
    cursor = ""
    for _ in range(6):
        context = client.get(path, {"sort": sort, "cursor": cursor}).context
        seen += [row.id for row in context["jobs"]]
        cursor = encode_cursor(seen[-1])
        if len(context["jobs"]) < 2:
            break
    assert seen == whole and len(set(seen)) == 7, "each once, in order"
    if sort.removeprefix("-") == "name":
        names = [rows[one].name for one in whole]
        assert names == sorted(names, reverse=sort.startswith("-"))
    page = text_of(client.get(path, {"sort": sort}))
    assert ("aria-sort" in page) == bool(sort)
    assert client.get(path, {"sort": "'; DROP"}).status_code == 200
