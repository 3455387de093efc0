"""What a check runs in a process of its own, with the leased device alone: `python -m tests.gpu.child WHAT JSON`.

Each prints one JSON object.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from models_app.runner.device import open_device, restrict_visibility
from models_app.runner_protocol import Context, Reporter


def opened(device: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Open the device; return what torch sees."""
    import torch

    found = open_device(device, 1)
    if found.type != "cuda":
        return {"devices": torch.cuda.device_count(), "uuid": device["uuid"], "busy_bytes": 0}
    seen = torch.cuda.get_device_properties(0)
    return {"devices": torch.cuda.device_count(), "uuid": f"GPU-{seen.uuid}".replace("GPU-GPU-", "GPU-")}


def mixed(device: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Train with the forward pass in bfloat16; return the losses of each epoch. The product itself trains in float32."""
    import torch

    from models_app.recipes.tabular import train

    plain = train.Training._outputs

    def outputs(self: train.Training, rows: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            found = plain(self, rows)
        assert found.dtype == torch.bfloat16, f"the network computed in {found.dtype}"
        return found.float()

    train.Training._outputs = outputs  # type: ignore[method-assign]
    said = io.StringIO()
    folder = Path(given["folder"])
    train.run(Context(folder, given["job"], Reporter(said), lambda: False, open_device(device, 1)))
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    return {"losses": [line["values"]["val_loss"] for line in lines if "val_loss" in line.get("values", {})]}


def alone(device: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Meet nobody: a group of one rank adds up gradients as many do."""
    import torch
    import torch.distributed as dist

    from models_app.recipes.peers import Peers

    opened_device = open_device(device, 1)
    peers = Peers({"rank": 0, "ranks": 1, "host": "127.0.0.1", "port": given["port"]}, opened_device)
    numbers = torch.arange(1000, dtype=torch.float32, device=opened_device)
    before = numbers.clone()
    dist.all_reduce(numbers)
    backend, same = dist.get_backend(), bool(torch.equal(numbers, before))
    peers.leave()
    dist.destroy_process_group()
    return {"backend": backend, "same": same}


def capped(device: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Take memory up to a share of the device, then beyond; return whether the first is given and the second refused."""
    import torch

    opened_device = open_device(device, 1)
    whole, share = torch.cuda.get_device_properties(0).total_memory, given["share"]
    torch.cuda.set_per_process_memory_fraction(share, opened_device)
    kept = torch.empty(int(whole * share * 0.9), dtype=torch.uint8, device=opened_device)
    try:
        torch.empty(int(whole * share * 0.2), dtype=torch.uint8, device=opened_device)
    except torch.cuda.OutOfMemoryError:
        return {"taken": kept.numel(), "refused": True}
    return {"taken": kept.numel(), "refused": False}


def main() -> None:
    """Restrict this process to the device, before torch is imported, and do what the command line names."""
    what, text = sys.argv[1:]
    given = json.loads(text)
    restrict_visibility(given["device"])
    found = {"opened": opened, "mixed": mixed, "alone": alone, "capped": capped}[what](given["device"], given)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
