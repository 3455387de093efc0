"""The whole path with real processes: submit, assign, claim, run, bill, end; and what a person does meanwhile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from compute import jobs, queries
from compute.devices.host import group_members
from compute.models import Device
from tenants import quotas
from tenants.scoping import tenant_scope
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import House, assert_billed_as_seen, house, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def home(process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str) -> Iterator[House]:
    with house(process_environment, tmp_path, own_valkey) as opened:
        opened.controller()
        opened.node()
        yield opened


def test_a_job_runs_to_its_end_and_every_second_is_billed(home: House) -> None:
    job_id = home.submit(steps=20, step_s=0.1)
    job = home.wait(job_id)
    assert (job.state, job.result["digest"]) == ("succeeded", digest_of(20))
    assert_billed_as_seen(home, job_id, per_kill=0)
    assert job.cost.amount == job.billed_seconds * job.unit_amount > 0
    with tenant_scope(home.tenant.id):
        assert [point.step for point in queries.metrics(job_id)] == list(range(1, 21))
        assert "step 20" in [line.line for line in queries.logs_after(job_id)]
        assert all(use.in_use == 0 for use in quotas.usage())
    assert not Device.objects.exclude(taken_by=None).exists()
