"""A GPU cut into instances (MIG), by the real bindings: each instance is a device, whose use a card before Hopper does not measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db.models import Count, Sum

from compute.models import Device, DeviceHour, DeviceSample
from tenants.isolation.scoping import tenant_scope
from tests.fakes import nvml
from tests.faults.harness import ROOT, work_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("gpu")

CARD = "GPU-6f1c6a52-0000-4000-8000-00000000000a|NVIDIA H200|150000000000|0|0|mig|400000|1000|0|{xid}|61"
ONE, OTHER = ("MIG-0f3c8f0a-0000-5000-8000-000000000001", "MIG-0f3c8f0a-0000-5000-8000-000000000002")
CLASS = "nvidia-h200-mig-1g-18gb"
LINES = (
    f"{ONE}|NVIDIA H200 MIG 1g.18gb|18000000000|1000|40|{{one}}",
    f"{OTHER}|NVIDIA H200 MIG 1g.18gb|18000000000|2000|10|{{other}}",
)

LOOK = """
import json
from compute.devices.nvml import NvmlSampler
sampler = NvmlSampler()
found = sampler.inventory()
uuids = [one.uuid for one in found]
print(json.dumps({
    "found": [[one.uuid, one.device_class, one.memory_bytes, one.link] for one in found],
    "vitals": {uuid: [one.temperature_c, list(one.xids)] for uuid, one in sampler.vitals(uuids).items()},
    "read": [[[one.busy, one.memory_bytes, one.power_w] for one in (sampler.read(uuid, None) for uuid in uuids)] for _ in range(2)],
}))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> nvml.Driver:
    return nvml.build(tmp_path_factory.mktemp("driver"))


def show(driver: nvml.Driver, one: str = "ok", other: str = "ok", xid: int = 0) -> None:
    """Show the card with its two instances in these states."""
    driver.show(CARD.format(xid=xid), *(line.format(one=one, other=other) for line in LINES))


def test_each_instance_is_a_device_with_the_health_of_its_card(driver: nvml.Driver) -> None:
    show(driver, other="blind", xid=79)
    environment = {**os.environ, **driver.environment}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    assert said["found"] == [[ONE, CLASS, 18000000000, ""], [OTHER, CLASS, 18000000000, ""]]
    assert said["vitals"] == {ONE: [61, [79]], OTHER: [61, [79]]}
    first, second = said["read"]
    assert first == [[None, 1000, None], [None, 2000, None]], "use is measured between two looks; power is the card's"
    assert second == [[0.4, 1000, None], [None, 2000, None]]


@pytest.mark.django_db(transaction=True)
def test_two_jobs_run_at_once_on_two_instances_and_use_that_is_not_measured_counts_as_used(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str, driver: nvml.Driver
) -> None:
    show(driver, other="blind")
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=30) as home:
        home.controller()
        home.node(**driver.environment)
        ids = [home.submit(device_class=CLASS, steps=40, step_s=0.1) for _ in range(2)]
        wait_until(lambda: all(home.job(job).state == "running" for job in ids), "both at work at once")
        assert all(home.wait(job).state == "succeeded" for job in ids)
        at_work = {run.device for job in ids for run in home.job(job).attempts}
        assert at_work == {"NVIDIA H200 MIG 1g.18gb"}
        with tenant_scope(home.tenant.id):
            taken = DeviceSample.objects.values_list("device__uuid").annotate(all=Count("id"), measured=Count("busy"))
            counts = {uuid: (number, measured) for uuid, number, measured in taken}
            assert counts.keys() == {ONE, OTHER}
            assert counts[OTHER][1] == 0 and counts[ONE][1] > 0
            blind = DeviceSample.objects.filter(device__uuid=OTHER).values_list("attempt_id", flat=True)[:1]
            hours = DeviceHour.objects.filter(attempt_id__in=blind).aggregate(
                sampled=Sum("sampled_s"), used=Sum("used_s")
            )
        assert hours["used"] == pytest.approx(hours["sampled"])
        show(driver, other="blind", xid=79)
        wait_until(lambda: Device.objects.filter(kind="cuda", state="cordoned").count() == 2, "a fault of their card")
