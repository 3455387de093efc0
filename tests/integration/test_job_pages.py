"""A job's page: what it says while a pause takes effect, how it names data and model, each figure once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.test import Client

from compute import leases
from compute.beats import Beat
from compute.models import Job, JobMetric, Outcome
from models_app.models import Dataset
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.api.objects import one_of_everything
from tests.factories import make_member, make_tenant
from tests.integration.test_compute_leases import World


def client_of(tenant: Tenant, role: str = "owner") -> Client:
    client = Client()
    client.force_login(make_member(tenant, role))
    return client


@pytest.mark.django_db(transaction=True)
def test_a_pause_is_said_to_be_one_only_when_the_program_has_stopped(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    world = World(as_control)
    mine = world.running()
    leases.heartbeat(mine, Beat(elapsed=0.01))
    client, path = client_of(world.tenant), f"/t/{world.tenant.slug}/jobs/{mine.job.id}/"
    page = client.post(f"{path}pause/", follow=True).content.decode()
    assert "Pausing: saving a checkpoint. It is charged until it has stopped" in page
    assert "nothing is charged" not in page.lower()
    live = client.get(f"{path}live/").content.decode()
    assert '<span class="x-state busy">Pausing</span>' in live
    assert "data-poll" in live
    leases.finish(mine, Outcome.PAUSED, Beat(elapsed=0.02))
    stopped = client.get(f"{path}live/").content.decode()
    assert "Pausing" not in stopped
    assert '<span class="x-state wait">Paused</span>' in stopped


@pytest.mark.django_db(transaction=True)
def test_a_job_that_waits_is_paused_at_once(as_control: Callable[[], AbstractContextManager[None]]) -> None:
    world = World(as_control)
    job_id = world.submit()
    page = client_of(world.tenant).post(f"/t/{world.tenant.slug}/jobs/{job_id}/pause/", follow=True).content.decode()
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
def test_data_and_model_are_named_and_each_figure_stands_once(made: tuple[Tenant, dict[str, Any]]) -> None:
    tenant, ids = made
    page = client_of(tenant).get(f"/t/lab/jobs/{ids['job_id']}/").content.decode()
    assert ">numbers v1</a>" in page
    assert "Open a model v1" in page
    assert page.count("0.9375") == 1
    assert "<span>a job</span></nav>" in page


@pytest.mark.django_db
def test_a_job_over_data_that_is_not_shared_is_not_there(made: tuple[Tenant, dict[str, Any]]) -> None:
    tenant, ids = made
    with tenant_scope(tenant.id):
        Dataset.objects.update(restricted=True)
    assert client_of(tenant, "engineer").get(f"/t/lab/jobs/{ids['job_id']}/").status_code == 404
    assert ">numbers v1</a>" in client_of(tenant, "admin").get(f"/t/lab/jobs/{ids['job_id']}/").content.decode()
