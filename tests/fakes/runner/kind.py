"""A job kind for tests of compute: `counter.py` as the child, a folder as the object store."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from compute import kinds
from compute.kinds import JobView, Plan
from tenants.access.actor import Actor
from tenants.errors import Invalid


class TickKind:
    """Counts to `steps`, one every `step_s` seconds; `store` is the folder that simulates the object store."""

    name = "tick"
    entrypoint = Path(__file__).with_name("counter.py")
    meter = "device_seconds"

    def validate(self, actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the spec with its defaults; raises Invalid without steps."""
        if not isinstance(spec.get("steps"), int):
            raise Invalid(fields={"steps": ["Give a number of steps."]})
        return {"step_s": 0.05, **spec}

    def plan(self, spec: dict[str, Any]) -> Plan:
        """Return steps times seconds a step."""
        return Plan(typical_s=max(1, round(spec["steps"] * spec["step_s"])), most_devices=4)

    def describe(self, job: JobView) -> dict[str, Any]:
        """Return the number of steps."""
        return {"steps": job.spec["steps"]}

    def stage(self, job: JobView, workdir: Path) -> dict[str, Any]:
        """Fetch the checkpoint, if any."""
        if job.checkpoint:
            shutil.copytree(job.checkpoint["path"], workdir / "checkpoint")
        return {"inputs": job.spec, "task": "train"}

    def reads(self, job: JobView) -> list[str]:
        """Return no keys: nothing lies in a store."""
        return []

    def save_checkpoint(self, job: JobView, token: int, folder: Path) -> dict[str, Any]:
        """Copy the folder into the store."""
        step = json.loads((folder / "state.json").read_text())["step"]
        target = Path(job.spec["store"]) / f"{job.id}-{token}-{step}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder, target)
        return {"path": str(target), "step": step}

    def collect(self, job: JobView, token: int, workdir: Path) -> dict[str, Any]:
        """Return the child's result."""
        result: dict[str, Any] = json.loads((workdir / "out" / "result.json").read_text())
        return result | {"token": token}

    def complete(self, job: JobView, collected: dict[str, Any]) -> dict[str, Any]:
        """Return the result unchanged."""
        return collected


class CanaryKind(TickKind):
    """Runs the hostile script; its result lists the blocked ways out."""

    name = "canary"
    entrypoint = Path(__file__).with_name("canary.py")

    def validate(self, actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
        """Accept the script's parameters."""
        return {"steps": 1, "step_s": 1.0, **spec}


def digest_of(steps: int) -> str:
    """Return the hash of a run that made every step exactly once."""
    digest = ""
    for step in range(1, steps + 1):
        digest = hashlib.sha256(f"{digest}{step}".encode()).hexdigest()
    return digest


def install() -> None:
    """Register both kinds in this process."""
    kinds.register(TickKind())
    kinds.register(CanaryKind())
