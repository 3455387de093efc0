"""The checks: each returns what it measured and what that must be. A check that fails raises nothing; its row shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compute.devices.base import Found
from compute.devices.health import fault_of
from compute.devices.nvml import NvmlSampler
from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Checkpoint, Metric
from models_app.recipes import base
from models_app.runner import main as runner
from models_app.runner_protocol import EXIT_DEVICE, EXIT_OK, EXIT_STOPPED
from tests.support.datasets import TARGET, write_csv
from tests.support.servers.ports import free_port
from tests.support.work import wait_until_sent
from tests.unit.models_app.test_recipes import ingested

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 5
#: How far a loss may be from the CPU's, as a share of it: float32 differs in the order of sums, bfloat16 has 8 bits.
CLOSE, CLOSE_MIXED = 1e-3, 3e-2
TABLES = {"tabular.classifier": "breast_cancer", "tabular.regressor": "diabetes"}
CHILD_S = 120
FREED_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Row:
    """One line of the table. `works`: None if this check has no meaning on this device."""

    name: str
    measured: str
    must: str
    works: bool | None
    seconds: float = 0.0


@dataclass
class Bench:
    """The device under test, and a folder; `cpu` is the device to compare with."""

    device: Found
    folder: Path
    sampler: NvmlSampler = field(default_factory=NvmlSampler)
    cpu: Found = field(default_factory=lambda: Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 8 << 30))

    @property
    def lease(self) -> dict[str, str]:
        """Return the device as a lease names it."""
        return {"kind": self.device.kind, "uuid": self.device.uuid}

    @property
    def gpu(self) -> bool:
        """Return whether the device is a GPU."""
        return self.device.kind == "cuda"

    def table(self, recipe: str) -> Path:
        """Return the table on which a recipe trains."""
        path = self.folder / TABLES[recipe] / "data.parquet"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(ingested(path.parent, write_csv(TABLES[recipe], path.parent).read_bytes()))
        return path

    def job(self, device: Found, recipe: str, folder: Path, **params: Any) -> dict[str, Any]:
        """Lay the folder of a training; return its job. Without dropout, whose random numbers differ between devices."""
        for name in ("in", "out"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(self.table(recipe), folder / "in" / "data.parquet")
        return {
            "attempt": "a1", "task": "train", "device": {"kind": device.kind, "uuid": device.uuid}, "threads": 1, "recipe": recipe,
            "params": {"epochs": EPOCHS, "patience": 50, "dropout": 0.0, **params}, "inputs": {"target": TARGET},
            "limits": {"checkpoint_s": 1000},
        }  # fmt: skip

    def start(self, device: Found, recipe: str, name: str, **params: Any) -> Child:
        """Start the real runner in its sandbox on a device."""
        folder = self.folder / name
        payload = self.job(device, recipe, folder, **params)
        slot = Slot(device.kind, device.uuid, device.index, 1, device.memory_bytes)
        return Child(
            entrypoint=Path(runner.__file__), attempt="a1", workdir=folder, slot=slot, payload=payload, sandbox_required=False
        )  # fmt: skip

    def losses(self, device: Found, recipe: str, name: str) -> list[float]:
        """Train to the end; return the validation loss of each epoch. Raises RuntimeError with the log if it fails."""
        child = self.start(device, recipe, name)
        if not child.exited.wait(CHILD_S) or child.exit_code != EXIT_OK:
            child.kill()
            raise RuntimeError(f"exit code {child.exit_code}: {' '.join(child.lines)[-300:]}")
        return [one.values["val_loss"] for one in child.said if isinstance(one, Metric) and "val_loss" in one.values]

    def child(self, what: str, **given: Any) -> dict[str, Any]:
        """Run one of `tests.gpu.child` with this device; return what it prints. Raises RuntimeError with its errors."""
        command = [sys.executable, "-m", "tests.gpu.child", what, json.dumps({"device": self.lease, **given})]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CHILD_S, check=False)
        if done.returncode:
            raise RuntimeError(
                done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
            )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def leased_device(bench: Bench) -> Iterator[Row]:
    """Torch sees the leased device and no other; one that is not there is refused, not replaced by the CPU."""
    seen = bench.child("opened")
    name, wanted = "torch opens exactly the leased device", f"{int(bench.gpu)} CUDA device, {bench.device.uuid}"
    yield Row(
        name,
        f"{seen['devices']} CUDA device, {seen['uuid']}",
        wanted,
        f"{seen['devices']} CUDA device, {seen['uuid']}" == wanted,
    )
    missing = Found("GPU-00000000-0000-0000-0000-000000000000", "cuda", "none", "none", 0, 1 << 30)
    child = bench.start(missing, "tabular.classifier", "missing")
    child.exited.wait(CHILD_S)
    yield Row(
        "a GPU that is not there is refused",
        f"exit {child.exit_code}",
        f"exit {EXIT_DEVICE}",
        child.exit_code == EXIT_DEVICE,
    )


def recipes(bench: Bench) -> Iterator[Row]:
    """Each recipe ends with the CPU's loss: in the sandbox in float32, and with its network in bfloat16."""
    for recipe in sorted(one.id for one in base.recipes()):
        short = recipe.rpartition(".")[2]
        reference = bench.losses(bench.cpu, recipe, f"{short}-cpu")
        if bench.gpu:
            yield _close(f"{recipe}, float32", reference, bench.losses(bench.device, recipe, f"{short}-gpu"), CLOSE)
        folder = bench.folder / f"{short}-mixed"
        found = bench.child("mixed", folder=str(folder), job=bench.job(bench.device, recipe, folder))["losses"]
        yield _close(f"{recipe}, bfloat16 (AMP)", reference, found, CLOSE_MIXED)


def _close(name: str, reference: list[float], found: list[float], limit: float) -> Row:
    if len(found) != len(reference):
        return Row(name, f"{len(found)} epochs", f"{len(reference)} epochs", works=False)
    off = max(abs(a - b) / max(abs(b), 1e-9) for a, b in zip(found, reference, strict=True))
    measured = f"loss {found[-1]:.5f}, CPU {reference[-1]:.5f}: off by {off:.1e} at most"
    return Row(name, measured, f"within {limit:.0e} at each epoch", off <= limit)


def one_rank(bench: Bench) -> Iterator[Row]:
    """A group of one rank adds up without a change, by nccl on a GPU and gloo on a CPU."""
    found, backend = bench.child("alone", port=free_port()), "nccl" if bench.gpu else "gloo"
    said = f"{found['backend']}, sums {'equal' if found['same'] else 'differ'}"
    yield Row(
        "one rank by nccl" if bench.gpu else "one rank by gloo",
        said,
        f"{backend}, sums equal",
        said == f"{backend}, sums equal",
    )


def sampler(bench: Bench) -> Iterator[Row]:
    """Our readings are those of nvidia-smi."""
    name = "sampler against nvidia-smi"
    tool, found = shutil.which("nvidia-smi"), bench.sampler.inventory()
    if not found:
        yield Row(name, "no driver", "memory and power equal", works=None)
        return
    if tool is None:
        yield Row(name, "nvidia-smi is not on the PATH", "memory and power equal", works=False)
        return
    asked = "uuid,name,memory.total,memory.used,power.draw"
    command = [tool, f"--query-gpu={asked}", "--format=csv,noheader,nounits"]
    rows = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    shown = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in row.split(",")] for row in rows)}
    for one in found:
        product, total, used, watts = shown.get(one.uuid, ("not shown", "0", "0", "0"))
        reading = bench.sampler.read(one.uuid, None)
        memory_off = abs(reading.memory_bytes / 1024**2 - float(used))
        power_off = abs((reading.power_w or 0.0) - float(watts)) if watts.replace(".", "").isdigit() else 0.0
        works = one.name == product and abs(one.memory_bytes / 1024**2 - float(total)) < 1024
        works = works and memory_off <= 64 and power_off <= max(25.0, 0.25 * float(watts) if power_off else 0.0)
        measured = f"{product}: memory off by {memory_off:.0f} MiB, power by {power_off:.0f} W"
        yield Row(name, measured, "memory within 64 MiB, power within 25 W or a quarter", works)


def share(bench: Bench) -> Iterator[Row]:
    """A process that may use a quarter of the memory gets no more: the cap is torch's, which a share of a device relies on."""
    name, must = "memory cap of a share (0.25)", "taken up to it, refused beyond"
    if not bench.gpu:
        yield Row(name, "a CPU device has no memory of its own", must, works=None)
        return
    found = bench.child("capped", share=0.25)
    yield Row(
        name,
        f"{found['taken'] / 1024**3:.1f} GiB taken, {'refused' if found['refused'] else 'given'} beyond",
        must,
        found["refused"],
    )


def stops(bench: Bench) -> Iterator[Row]:
    """Work that is stopped, or killed in mid-step, leaves the device without a fault, with its memory free."""
    uuids = [one.uuid for one in bench.sampler.inventory()]
    bench.sampler.vitals(uuids)  # from here on errors (XID) count
    used = _memory(bench)
    child = bench.start(bench.device, "tabular.classifier", "asked", epochs=1000, width=512)
    wait_until_sent(child, lambda said: isinstance(said, Metric))
    child.ask_to_stop()
    child.exited.wait(CHILD_S)
    kept = sum(isinstance(said, Checkpoint) for said in child.said)
    yield Row(
        "a stop saves a checkpoint",
        f"exit {child.exit_code}, {kept} checkpoint",
        f"exit {EXIT_STOPPED}, 1 checkpoint",
        (child.exit_code, kept) == (EXIT_STOPPED, 1),
    )
    child = bench.start(bench.device, "tabular.classifier", "killed", epochs=1000, width=512)
    wait_until_sent(child, lambda said: isinstance(said, Metric))
    child.kill()
    seen = bench.child("opened")  # it opens again
    faults = [reason for vitals in bench.sampler.vitals(uuids).values() if (reason := fault_of(vitals))]
    left = max(0, _memory(bench) - used)
    measured = f"opens again as {seen['uuid']}; {'; '.join(faults) or 'no fault'}; {left / 1024**2:.0f} MiB left"
    works = seen["uuid"] == bench.device.uuid and not faults and left < FREED_BYTES
    yield Row("a kill in mid-step leaves no fault (XID, ECC)", measured, "opens again, no fault, memory free", works)


def _memory(bench: Bench) -> int:
    """Return the memory in use, in bytes; the driver frees that of a killed process within a moment."""
    if not bench.gpu:
        return 0
    least = bench.sampler.read(bench.device.uuid, None).memory_bytes
    for _ in range(20):
        time.sleep(0.1)
        least = min(least, bench.sampler.read(bench.device.uuid, None).memory_bytes)
    return least


CHECKS: tuple[Callable[[Bench], Iterator[Row]], ...] = (leased_device, recipes, one_rank, sampler, share, stops)


def run(bench: Bench) -> Iterator[Row]:
    """Yield the rows of all checks; one that breaks off is a row that fails, and hides no other."""
    for check in CHECKS:
        began = time.monotonic()
        try:
            for row in check(bench):
                yield Row(row.name, row.measured, row.must, row.works, time.monotonic() - began)
                began = time.monotonic()
        except Exception as error:  # noqa: BLE001 (whatever it is, the row shows it)
            said = f"{type(error).__name__}: {error}".replace("\n", " ").replace("|", "/")[:300]
            yield Row(check.__name__.replace("_", " "), said, "to end", works=False, seconds=time.monotonic() - began)
