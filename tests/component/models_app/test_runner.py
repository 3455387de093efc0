"""The runner as a real sandboxed child: its reports, its stop, and that a killed run ends like an uninterrupted one."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from compute.sandbox import sandbox
from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Checkpoint, Fault, Layers, Metric, Progress
from models_app.runner import main
from models_app.runner_protocol import EXIT_DEVICE, EXIT_INPUT, EXIT_OK, EXIT_STOPPED, counted
from tests.support.datasets import TARGET, write_csv
from tests.support.work import wait_until_sent, work_until_the_end
from tests.unit.models_app.test_recipes import ingested

pytestmark = pytest.mark.xdist_group("runner")

MAIN = Path(main.__file__)
CPU = Slot("cpu", "cpu-0", 5, 1, 1 << 32)


def start(
    work: Path, parquet: Path, *, resume=False, slot=CPU, recipe="tabular.classifier", checkpoint_s=0.3, **params
) -> Child:
    for name in ("in", "out"):
        (work / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(parquet, work / "in" / "data.parquet")
    payload = {
        "attempt": "a1", "task": "train", "device": {"kind": slot.kind, "uuid": slot.uuid}, "threads": 1, "seed": 1, "recipe": recipe,
        "params": params, "inputs": {"target": TARGET}, "limits": {"checkpoint_s": checkpoint_s}, "resume": resume,
    }  # fmt: skip
    return Child(entrypoint=MAIN, attempt="a1", workdir=work, slot=slot, payload=payload, sandbox_required=False)


def ended(child: Child) -> int:
    assert child.exited.wait(120)
    assert child.exit_code is not None
    return child.exit_code


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cancer")
    path = folder / "data.parquet"
    path.write_bytes(ingested(folder, write_csv("breast_cancer", folder).read_bytes()))
    return path


def test_a_finished_run_leaves_three_files_and_reports_its_epochs(tmp_path, parquet):
    child = start(tmp_path, parquet, epochs=3)
    assert ended(child) == EXIT_OK, list(child.lines)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.safetensors",
        "signature.json",
        "result.json",
    }
    said = list(child.said)
    assert [entry.step for entry in said if isinstance(entry, Metric)] == [1, 2, 3, 4]
    assert [entry.values["phase"] for entry in said if isinstance(entry, Progress)][:2] == ["starting", "reading"]
    assert sum(isinstance(entry, Layers) for entry in said) == 1
    assert json.loads((tmp_path / "out" / "result.json").read_text())["epochs"] == 3
    log = "\n".join(child.lines)
    for words in (
        "on cpu, 1 thread, seed", "read 569 rows, 31 columns, target", ", 2 classes", "split: 342 training, 85 validation",
        "network: ", "epoch 1 of 3: train loss ", "epoch 3 of 3: train loss ", "learning rate 0.001, best val loss ",
        "all 3 epochs done", "held-out test: accuracy ", "wrote model.safetensors, ",
    ):  # fmt: skip
        assert words in log, log


@pytest.mark.nightly
def test_a_run_that_was_killed_again_and_again_ends_like_an_unbroken_one(tmp_path, parquet):
    params = {"epochs": 100, "patience": 100, "batch_size": 8}
    assert ended(start(tmp_path / "whole", parquet, **params)) == EXIT_OK
    chance = random.Random(5)
    work = tmp_path / "killed"
    for at in range(3):
        child = start(work, parquet, resume=at > 0, **params)
        wait_until_sent(child, lambda said: isinstance(said, Checkpoint))
        time.sleep(chance.random() * 0.25)  # at any moment, and soon: three of these end long before the run would
        child.kill()
    resumed = start(work, parquet, resume=True, **params)
    assert ended(resumed) == EXIT_OK, list(resumed.lines)
    first = next(said.step for said in resumed.said if isinstance(said, Metric))
    assert first > 1
    assert (work / "out/model.safetensors").read_bytes() == (tmp_path / "whole/out/model.safetensors").read_bytes()
    figures = [json.loads((folder / "out/result.json").read_text())["metrics"] for folder in (work, tmp_path / "whole")]
    assert figures[0] == figures[1]


def test_a_request_to_stop_saves_a_checkpoint_first(tmp_path, parquet):
    child = start(tmp_path, parquet, checkpoint_s=1000, epochs=1000, patience=200)
    wait_until_sent(child, lambda said: isinstance(said, Metric))
    child.ask_to_stop()
    assert ended(child) == EXIT_STOPPED
    assert sum(isinstance(said, Checkpoint) for said in child.said) == 1
    assert {path.name for path in (tmp_path / "checkpoint").iterdir()} == {
        "manifest.json",
        "state.json",
        "tensors.safetensors",
    }


def test_a_request_to_stop_in_a_long_epoch_is_honoured_within_two_seconds(tmp_path, parquet):
    child = start(tmp_path, parquet, width=2048, layers=6, batch_size=8, checkpoint_s=1000)
    wait_until_sent(child, lambda said: isinstance(said, Progress), 5)
    said = [entry.values for entry in child.said if isinstance(entry, Progress)]
    assert [entry["phase"] for entry in said[:3]] == ["starting", "reading", "training"]
    assert all((entry["done"], entry["total"]) == (0, 150) for entry in said[2:])
    assert said[-1]["eta_s"] > 0
    assert not any(isinstance(entry, Metric) for entry in child.said)
    child.ask_to_stop()
    assert work_until_the_end(child) < 2.0
    assert ended(child) == EXIT_STOPPED
    assert any(line.startswith("asked to stop") for line in child.lines)


def test_a_request_to_stop_ends_a_step_that_does_not_come_back():
    code = (
        "import hashlib; from models_app.runner.main import StopSignal; stop = StopSignal(); stop(); stop.bound(0.2);"
        "print('on', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**30)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=MAIN.parents[2])
    assert process.stdout is not None
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == EXIT_STOPPED
    process.stdout.close()


def test_a_request_to_stop_before_the_first_step_ends_at_once(tmp_path, parquet):
    child = start(tmp_path, parquet)
    wait_until_sent(child, lambda said: isinstance(said, Progress))
    child.ask_to_stop()
    assert ended(child) == EXIT_STOPPED
    assert not (tmp_path / "checkpoint").exists()


def test_a_device_that_cannot_be_opened_is_69_and_never_trains_on_the_cpu(tmp_path, parquet):
    child = start(tmp_path, parquet, slot=Slot("cuda", "GPU-0", 5, 1, 1 << 32))
    assert ended(child) == EXIT_DEVICE
    assert [said.code for said in child.said if isinstance(said, Fault)] == ["device_unavailable"]
    assert not any(isinstance(said, Metric) for said in child.said)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_the_data_does_wrong_is_65_with_a_sentence(tmp_path, parquet):
    child = start(tmp_path, parquet, recipe="tabular.regressor", exclude_columns=["nothing"])
    assert ended(child) == EXIT_INPUT
    (fault,) = [said for said in child.said if isinstance(said, Fault)]
    assert fault.code == "unknown_column"
    assert "nothing" in fault.message


@pytest.mark.parametrize("missing", [[], [sandbox.USER, sandbox.FILES]], ids=["complete", "incomplete"])
def test_the_log_of_a_job_does_not_describe_the_hosts_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: list[str]
) -> None:
    task = SimpleNamespace(warm_up=lambda: None, run=lambda context: None)
    monkeypatch.setattr(main, "lock_down", lambda: missing)
    monkeypatch.setattr(main.importlib, "import_module", lambda name: task)
    nothing = SimpleNamespace(progress=lambda *said: None, bound=lambda: None)
    main.run({"task": "ingest"}, tmp_path, nothing, nothing)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("runner: ready after ")
    assert "isolation" not in line
    assert not any(word in line for layer in missing for word in (layer, sandbox.explained(layer)))


def test_a_log_counts_one_thing_in_the_singular() -> None:
    assert [counted(number, "thread") for number in (1, 2, 1200)] == ["1 thread", "2 threads", "1,200 threads"]
