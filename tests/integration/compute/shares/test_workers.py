"""Two jobs on halves of one device of a real worker: both run, a third waits, and each pays its own when one is killed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from compute.models import Attempt, Device, DeviceHold, DeviceSample
from tenants.isolation.scoping import tenant_scope
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import assert_no_overlap, signal_group, work_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_halves_run_at_once_on_a_real_worker_and_the_death_of_one_is_nothing_to_the_other(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str, superuser: psycopg.Connection
) -> None:
    superuser.execute(
        "INSERT INTO compute_sharedclass (device_class, parts, set_by_label) VALUES ('cpu', '[2]', 'test')"
    )
    # Nobody's lease is at stake: no pause of a busy machine may cost an attempt its lease.
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_CPU_DEVICES=1, EXCHEQUER_LEASE_S=30) as home:
        home.node()
        first, second, third = (home.submit(steps=60, step_s=0.1, every=1, share=500) for _ in range(3))
        home.controller()
        for job_id in (first, second):
            home.wait_step(job_id, 3)
        children = {home.child_of(first), home.child_of(second)}
        assert len(children) == 2
        assert (home.job(third).state, [device.held for device in Device.objects.all()]) == ("queued", [1000])
        assert DeviceHold.objects.count() == 2
        signal_group(home.child_of(first))
        wait_until(lambda: home.job(first).attempts[0].cause == "killed", "the kill to be seen")
        jobs = [home.wait(job_id) for job_id in (second, first, third)]
        assert [(job.state, job.result["digest"]) for job in jobs] == [("succeeded", digest_of(60))] * 3
        assert [len(job.attempts) for job in jobs] == [1, 2, 1]
        with tenant_scope(home.tenant.id), connection.cursor() as cursor:
            cursor.execute(
                "SELECT s.attempt_id, sum(e.measured), array_agg(DISTINCT s.dims ->> 'share') FROM billing_usageevent e "
                "JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash GROUP BY 1"
            )
            billed = {attempt: (measured, shares) for attempt, measured, shares in cursor.fetchall()}
            lasted = dict(Attempt.objects.values_list("id", "measured_s"))
            assert billed == {attempt: (seconds / 2, ["1/2"]) for attempt, seconds in lasted.items()}
            assert min(lasted.values()) > Decimal("0.1")
            assert set(DeviceSample.objects.values_list("attempt_id", flat=True)) <= set(lasted)
        for job_id in (first, second, third):
            assert_no_overlap(home.intervals(job_id))
        wait_until(lambda: not DeviceHold.objects.exists(), "the device to be free")
