"""`make test-gpu` without a GPU: it reports what it lacks, and its checks work on a CPU and against the stand-in driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import nvml

pytestmark = pytest.mark.xdist_group("gpu-program")

ROOT = Path(__file__).resolve().parents[3]
GPU = "GPU-6f1c6a52-0000-4000-8000-00000000000a"
LINE = f"{GPU}|NVIDIA A100-SXM4-80GB|85899345920|1073741824|37|ok|250000"
TOOL = f"""#!/bin/sh
echo "{GPU}, NVIDIA A100-SXM4-80GB, 81920, 1024, 250.00"
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> nvml.Driver:
    return nvml.build(tmp_path_factory.mktemp("driver"))


def program(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", "tests.gpu", *arguments],
        cwd=ROOT,
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_without_a_gpu_it_reports_what_it_lacks_and_fails(driver: nvml.Driver) -> None:
    driver.show()
    done = program(**driver.environment)
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot run here: no GPU answers through NVIDIA's driver library" in done.stderr
    driver.show(LINE)
    done = program(**driver.environment)
    assert done.returncode == 3
    assert "is a build without CUDA" in done.stderr or "opens none of the 1 GPUs" in done.stderr


@pytest.mark.nightly
def test_the_checks_work_on_a_cpu_and_find_what_the_driver_reports(driver: nvml.Driver, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    driver.show(LINE)
    done = program("--cpu", **driver.environment, PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert rows == [
        "torch opens exactly the leased device",
        "a GPU that is not there is refused",
        "tabular.classifier, bfloat16 (AMP)",
        "tabular.regressor, bfloat16 (AMP)",
        "one rank by gloo",
        "sampler against nvidia-smi",
        "memory cap of a share (0.25)",
        "a stop saves a checkpoint",
        "a kill in mid-step leaves no fault (XID, ECC)",
    ]
    assert "all hold" in done.stdout

    # The card has less in use than nvidia-smi shows, and reports an error that no program causes.
    driver.show(f"{LINE.replace('1073741824', '3221225472')}|0|0|79")
    done = program("--cpu", **driver.environment, PATH=path)
    assert done.returncode == 1, done.stdout + done.stderr
    wrong = [line.split("|")[1].strip() for line in done.stdout.splitlines() if "**no**" in line]
    assert "sampler against nvidia-smi" in wrong
