"""Save and restore the full training state, so that a resumed run ends like an uninterrupted one.

A checkpoint is a folder: `tensors.safetensors`, `state.json`, `manifest.json` with the sha256 of both. It is complete
once it has its final name; it contains no pickle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models_app.runner_protocol import write_json

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass
class Position:
    """Position of the run: the next batch of the current epoch, and the state of early stopping."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    loss_rows: int = 0
    best_loss: float = float("inf")
    best_epoch: int = -1
    waited: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "best_loss": self.best_loss if self.best_epoch >= 0 else None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        return cls(**{**value, "best_loss": float("inf") if value["best_loss"] is None else value["best_loss"]})


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a complete checkpoint under `folder`, replacing the previous one."""
    partial, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    partial.mkdir()
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    write_json(partial / STATE, dict(state))
    write_json(partial / MANIFEST, {name: _sha256(partial / name) for name in (TENSORS, STATE)})
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def restore(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and state of a complete checkpoint, None if there is none or its checksums disagree."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if any(_sha256(folder / name) != manifest[name] for name in (TENSORS, STATE)):
            return None
        return load_file(folder / TENSORS), json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, KeyError, ValueError):
        return None


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's moments and step counts as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore saved moments and step counts."""
    saved: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".")
            saved.setdefault(int(index), {})[name] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": saved, "param_groups": whole["param_groups"]})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
