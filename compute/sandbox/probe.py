"""Detect missing sandbox layers of this host with a throw-away child."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

from compute.sandbox import workdirs
from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Layers

ENTRYPOINT = Path(__file__).with_name("probe_child.py")
_SLOT = Slot(kind="cpu", uuid="probe", index=0, threads=1, memory_bytes=0)
UNKNOWN = "all layers (the probe did not run)"
MOST_SAID = 300


def missing_layers(home: Path) -> list[str]:
    """Return the names of the missing layers on this host; `home` is the parent of work folders.

    Where the probe did not run the only name begins with UNKNOWN, and what the child printed follows.
    """
    workdir = home / f"probe-{uuid4()}"  # unique, as an earlier one may be left over
    payload: dict[str, Any] = {}
    try:
        workdirs.make(workdir)
        child = Child(
            entrypoint=ENTRYPOINT, attempt="probe", workdir=workdir, slot=_SLOT, payload=payload, sandbox_required=False
        )
        child.exited.wait(30)
        child.kill()
        answers = [said.missing for said in child.said if isinstance(said, Layers)]
        return answers[-1] if answers else [f"{UNKNOWN} {' '.join(child.lines)[-MOST_SAID:]}".rstrip()]
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
        return [UNKNOWN]
    finally:
        workdirs.remove(workdir)
