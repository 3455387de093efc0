"""The same eager network that the product serves, loaded in the usual way."""

from __future__ import annotations

import os

import torch

from models_app.recipes.tabular.network import TabularNet

FILE = "BENCH_MODEL"


class Model:
    """Rows of numbers in, rows of numbers out. One PyTorch thread per process, as in the product."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        held = torch.load(os.environ[FILE], weights_only=True)
        self._net = TabularNet(**held["network"])
        self._net.load_state_dict(held["weights"])
        self._net.eval()

    def __call__(self, rows: list[list[float]]) -> list[float]:
        """Return the predictions for `rows` [rows, columns]."""
        with torch.inference_mode():
            codes = torch.zeros((len(rows), 0), dtype=torch.int64)
            found: list[float] = self._net(torch.tensor(rows, dtype=torch.float32), codes)[:, 0].tolist()
        return found
