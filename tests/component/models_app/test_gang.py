"""Real training on several devices: the ranks find the same model as one, and a lost one is made good."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from compute.agent.gang import Gang
from compute.sandbox import protocol
from compute.sandbox.process import Child, Slot
from models_app.runner import main
from tests.component.models_app.test_runner import TARGET, ended, parquet

__all__ = ["parquet"]
pytestmark = pytest.mark.xdist_group("runner")

MAIN = Path(main.__file__)
SLOTS = tuple(Slot("cpu", f"cpu-{index}", index, 1, 1 << 32) for index in range(2))


def start(work: Path, parquet: Path, ranks: int, **params: object) -> Child | Gang:
    for name in ("in", "out"):
        (work / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(parquet, work / "in" / "data.parquet")
    payload = {
        "attempt": "a1", "task": "train", "device": {"kind": "cpu", "uuid": "cpu-0"}, "threads": 1, "seed": 1,
        "recipe": "tabular.classifier", "params": {"dropout": 0.0, "patience": 50, **params}, "inputs": {"target": TARGET},
        "limits": {"checkpoint_s": 0.05}, "resume": False,
    }  # fmt: skip
    common = {"entrypoint": MAIN, "workdir": work, "payload": payload, "sandbox_required": False}
    return (
        Gang(**common, slots=dict(enumerate(SLOTS[:ranks])))
        if ranks > 1
        else Child(**common, attempt="a1", slot=SLOTS[0])
    )


def wait_for_a_checkpoint(gang: Child | Gang, work: Path) -> None:
    while not (work / "checkpoint").exists():
        assert not gang.exited.is_set(), "\n".join([*gang.lines, *map(str, gang.said)])
        time.sleep(0.005)


def losses(child: Child | Gang) -> dict[int, float]:
    """Return the validation loss of each epoch, as it was reported last."""
    metrics = [said for said in child.said if isinstance(said, protocol.Metric) and "val_loss" in said.values]
    return {one.step: one.values["val_loss"] for one in metrics}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, parquet: Path) -> dict[int, float]:
    child = start(tmp_path_factory.mktemp("alone") / "w", parquet, 1, epochs=8)
    assert ended(child) == 0, child.lines
    return losses(child)


def test_two_ranks_learn_what_one_does(tmp_path: Path, parquet: Path, alone: dict[int, float]) -> None:
    gang = start(tmp_path / "w", parquet, 2, epochs=8)
    assert ended(gang) == 0, "\n".join([*gang.lines, *map(str, gang.said)])
    assert losses(gang) == pytest.approx(alone, rel=1e-3)
    assert (tmp_path / "w" / "out" / "model.safetensors").exists()
    assert not list(tmp_path.glob("w.*")), "the folders of the other ranks are gone"


@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.nightly), 1])
def test_a_lost_rank_is_made_good_from_the_last_checkpoint(
    tmp_path: Path, parquet: Path, alone: dict[int, float], lost: int
) -> None:
    gang = start(tmp_path / "w", parquet, 2, epochs=8)
    wait_for_a_checkpoint(gang, tmp_path / "w")
    os.killpg(gang.members[lost].group, signal.SIGKILL)
    assert ended(gang) == 0, "\n".join([*gang.lines, *map(str, gang.said)])
    assert losses(gang) == pytest.approx(alone, rel=1e-3)
    assert any("all ranks start again" in line for line in gang.lines)


def test_all_ranks_stop_together_with_a_checkpoint(tmp_path: Path, parquet: Path) -> None:
    gang = start(tmp_path / "w", parquet, 2, epochs=400, patience=100)
    wait_for_a_checkpoint(gang, tmp_path / "w")
    ranks = [Path("/proc", str(member.group)) for member in gang.members]
    assert len({os.readlink(one / "ns/net") for one in ranks}) == 1 and not ranks[0].samefile(ranks[1])
    assert os.readlink(ranks[0] / "ns/net") != os.readlink("/proc/self/ns/net")
    reachable = {line.split(":")[0].strip() for line in (ranks[1] / "net/dev").read_text().splitlines()[2:]}
    assert reachable == {"lo"}, "a rank reaches its peers and nobody else"
    gang.ask_to_stop()
    assert ended(gang) == 75
    assert (tmp_path / "w" / "checkpoint" / "manifest.json").exists()
    assert not [said for said in gang.said if isinstance(said, protocol.Fault)]
