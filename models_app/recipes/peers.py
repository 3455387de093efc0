"""Data-parallel training: each rank takes its part of every batch, and all add up their gradients.

All ranks read the same data in the same order and take the same steps, so that they agree without asking. Needs no
network for one rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

PATIENCE = timedelta(seconds=300)
"""How long a rank waits for another one: the slowest reads the data, or saves a checkpoint."""


class Peers:
    """The ranks of one training run. `rank` 0 writes what all of them made."""

    def __init__(self, gang: Mapping[str, Any] | None, device: torch.device) -> None:
        """Meet the other ranks at `gang` (rank, ranks, host, port); raises RuntimeError if they do not come."""
        self.rank, self.ranks = (0, 1) if gang is None else (int(gang["rank"]), int(gang["ranks"]))
        self._device = device
        if gang is None:
            return
        store = TCPStore(str(gang["host"]), int(gang["port"]), self.ranks, self.rank == 0, timeout=PATIENCE)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.ranks, timeout=PATIENCE)

    def part(self, rows: Tensor) -> Tensor:
        """Return this rank's part of `rows` int64 [batch]: every `ranks`-th."""
        return rows[self.rank :: self.ranks]

    def seed(self, *numbers: int) -> None:
        """Seed torch for one step of several ranks, each differently: a resumed run draws the same again."""
        if self.ranks > 1:
            mixed = self.rank
            for number in numbers:
                mixed = (mixed * 1_000_003 + number) % 2**63
            torch.manual_seed(mixed)

    def add_up(self, parameters: Iterable[nn.Parameter], *figures: float) -> list[float]:
        """Add up the gradients of all ranks in place, and these figures of each; return the sums of the figures."""
        if self.ranks == 1:
            return list(figures)
        owned = list(parameters)
        for one in owned:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        grads = [one.grad for one in owned if one.grad is not None]
        flat = torch.cat([*(grad.flatten() for grad in grads), torch.tensor(figures, device=self._device)])
        dist.all_reduce(flat)
        at = 0
        for grad in grads:
            grad.copy_(flat[at : at + grad.numel()].view_as(grad))
            at += grad.numel()
        return [float(value) for value in flat[at:]]

    def leave(self) -> None:
        """Leave the other ranks."""
        if self.ranks > 1:
            dist.destroy_process_group()
