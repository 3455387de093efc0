"""Open exactly the leased device, or fail.

There is no fallback: a child that silently trained on the CPU while a GPU is billed would make the invoice wrong. The
caller exits 69 and the platform takes the device out of use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from models_app.runner_protocol import DeviceUnavailable


def restrict_visibility(device: Mapping[str, Any]) -> None:
    """Let CUDA see the leased device only. Must run before torch is imported.

    Raises DeviceUnavailable if the lease names a kind unknown to the runner or a GPU without uuid.
    """
    kind = device.get("kind")
    if kind == "cpu":
        visible = ""
    elif kind == "cuda" and device.get("uuid"):
        visible = str(device["uuid"])
    else:
        raise DeviceUnavailable(f"The lease names no usable device: {dict(device)!r}.")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible  # noqa: TID251 - this process's own environment, written, not read
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # noqa: TID251 - cuBLAS repeats its results only with this


def open_device(device: Mapping[str, Any], threads: int) -> Any:
    """Return the torch.device of the lease, verified by a small sum on it; of a share of a GPU only so much memory.

    Raises DeviceUnavailable if torch cannot open it.
    """
    import torch

    torch.set_num_threads(max(1, threads))
    torch.use_deterministic_algorithms(mode=True)
    if device["kind"] == "cpu":
        return torch.device("cpu")
    try:
        if not torch.cuda.is_available() or torch.cuda.device_count() != 1:
            raise DeviceUnavailable(f"torch {torch.__version__} does not see device {device['uuid']}.")
        opened = torch.device("cuda", 0)
        if (share := float(device.get("share", 1))) < 1:
            torch.cuda.set_per_process_memory_fraction(share, opened)
        if float(torch.ones(8, device=opened).sum()) != 8.0:
            raise DeviceUnavailable(f"Device {device['uuid']} does not add up.")
    except RuntimeError as error:
        raise DeviceUnavailable(f"torch cannot open device {device['uuid']}: {error}") from error
    return opened
