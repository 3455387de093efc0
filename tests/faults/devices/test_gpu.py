"""A GPU visible to the driver that torch cannot open: a platform failure, free of charge and never hidden."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from compute import queries
from compute.models import Device
from tests.fakes import nvml
from tests.faults.harness import ROOT, work_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("gpu")

GPU = "GPU-6f1c6a52-0000-4000-8000-00000000000a"
LINE = f"{GPU}|NVIDIA A100-SXM4-80GB|85899345920|1073741824|37|ok"

LOOK = """
import json, os
from dataclasses import asdict
from itertools import count
from pathlib import Path
from compute.devices.base import DeviceLost
from compute.devices.nvml import NvmlSampler
sampler = NvmlSampler(clock=count(0, 10).__next__)
found = [asdict(one) for one in sampler.inventory()]
try:
    reading = asdict(sampler.read(found[0]["uuid"], None)) if found else None
    shown = Path(os.environ["NVML_STANDIN"])
    shown.write_text(shown.read_text().replace("|1000000", "|4000000"))
    powers = [sampler.read(one["uuid"], None).power_w for one in found]
    hot = {uuid: [one.temperature_c, one.slowed] for uuid, one in sampler.vitals([one["uuid"] for one in found]).items()}
    sampler.read("GPU-lost", None)
except DeviceLost as error:
    print(json.dumps([found, reading, powers, hot, str(error), sampler.driver_version()]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> nvml.Driver:
    return nvml.build(tmp_path_factory.mktemp("driver"))


def test_the_real_bindings_read_the_driver(driver: nvml.Driver) -> None:
    old = "GPU-old|NVIDIA T4|1000|0|0|ok"
    warm = f"{old}|70000|5|0|0|93|96|11".replace("old", "warm")  # both reasons of heat: 32 and 64
    cool = f"{old}|70000|5|0|0|41|4|11".replace("old", "cool")  # a limit of power
    beside = f"{old}|70000|5|0|0|41|0|12".replace("old", "beside")  # on the switch of those two, without their NVLink
    lost = "GPU-lost|NVIDIA L4|1000|0|0|lost"
    driver.show(f"{LINE}|250000|1000000", old, f"{old}|70000".replace("old", "new"), warm, cool, beside, lost)
    environment = {**os.environ, **driver.environment}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert f'"uuid": "{GPU}"' in done.stdout
    assert '"device_class": "nvidia-a100-sxm4-80gb"' in done.stdout
    assert '{"busy": 0.37, "memory_bytes": 1073741824, "power_w": 250.0}' in done.stdout
    assert "[300.0, null, 70.0" in done.stdout, "3,000 J in 10 s by its counter; not measured; the present power"
    for said in ('"GPU-old": [null, false]', '"GPU-warm": [93, true]', '"GPU-cool": [41, false]'):
        assert said in done.stdout
    found = json.loads(done.stdout)[0]
    pools = {one["uuid"]: one["link"] for one in found if one["link"]}
    assert pools == {"GPU-warm": "nvlink 0", "GPU-cool": "nvlink 0"}
    assert "GPU is lost" in done.stdout and "999.0-standin" in done.stdout


@pytest.mark.django_db(transaction=True)
def test_a_gpu_that_cannot_be_opened_fails_as_platform(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str, driver: nvml.Driver
) -> None:
    driver.show(LINE)
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=30) as home:
        home.controller()
        home.node(**driver.environment)
        job = home.wait(home.submit(open_cuda=True, device_class="nvidia-a100-sxm4-80gb"), seconds=60)
        assert (job.state, job.cause) == ("failed", "platform")
        assert GPU in job.message
        (run,) = job.attempts
        assert (run.cause, run.exit_code, run.device) == ("platform", 69, "NVIDIA A100-SXM4-80GB")
        assert job.billed_seconds == 0 and job.cost.amount == 0
        measured = sum((end - start).total_seconds() for start, end in home.intervals(job.id))
        assert measured > 0, "what ran stays measured; only its charge is taken back"
        shown = {row.device_class: row for row in queries.devices()}
        gpu = shown["nvidia-a100-sxm4-80gb"]
        assert (gpu.state, gpu.free) == ("cordoned", False)
        assert GPU in gpu.state_reason
        again = home.submit(steps=2, device_class="nvidia-a100-sxm4-80gb")
        assert home.wait(home.submit(steps=2)).state == "succeeded"
        assert home.job(again).state == "queued", "a job for a GPU never runs on a CPU device"
        assert home.job(again).cost.amount == Decimal(0)
        wait_until(lambda: home.job(again).waiting_for, "the reason why it waits")


@pytest.mark.django_db(transaction=True)
def test_a_faulty_gpu_is_cordoned_and_its_work_goes_on_later(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str, driver: nvml.Driver
) -> None:
    driver.show(f"{LINE}|250000|1000000|0|13")
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=30) as home:
        home.controller()
        home.node(**driver.environment)
        job = home.submit(device_class="nvidia-a100-sxm4-80gb", steps=60, step_s=0.1)
        wait_until(lambda: home.job(job).progress.get("done"), "its work has begun, whatever a program caused before")
        driver.show(f"{LINE}|250000|1000000|0|13|93|64")
        warned = wait_until(lambda: Device.objects.exclude(warning="").first(), "the warning")
        assert (warned.state, warned.temperature_c) == ("ready", 93)
        driver.show(f"{LINE}|250000|1000000|0|79")
        gpu = wait_until(lambda: Device.objects.filter(kind="cuda", state="cordoned").first(), "the cordon")
        assert "XID 79" in gpu.state_reason
        wait_until(lambda: home.job(job).state == "queued", "its work has stopped")
        assert [run.cause for run in home.job(job).attempts] == ["stopped"]
        Device.objects.filter(id=gpu.id).update(state="ready", state_reason="")
        assert home.wait(job).state == "succeeded"
