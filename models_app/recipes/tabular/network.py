"""The network of the tabular recipes: a linear part beside a deep part.

After Cheng et al., "Wide & Deep Learning for Recommender Systems" (2016): the linear part learns simple relations from
few rows, the deep part adds the rest. The deep part's last layer starts at zero, so that training starts from the
linear model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models_app.recipes.tabular.shapes import embedding_size, inputs_of


class TabularNet(nn.Module):
    """Inputs: numeric float32 [rows, n] and codes int64 [rows, c]. Output: float32 [rows, outputs]."""

    def __init__(
        self, *, numeric: int, codes: Sequence[int], outputs: int, layers: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.shape: dict[str, Any] = {
            "numeric": numeric,
            "codes": list(codes),
            "outputs": outputs,
            "layers": layers,
            "width": width,
            "dropout": dropout,
        }
        self.embeddings = nn.ModuleList(nn.Embedding(count, embedding_size(count)) for count in codes)
        inputs = inputs_of(numeric, list(codes))
        self.linear = nn.Linear(inputs, outputs)
        deep: list[nn.Module] = []
        for layer in range(layers):
            deep += [nn.Linear(inputs if layer == 0 else width, width), nn.ReLU(), nn.Dropout(dropout)]
        self.deep = nn.Sequential(*deep)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        parts = [numeric, *(embedding(codes[:, at]) for at, embedding in enumerate(self.embeddings))]
        inputs = torch.cat(parts, dim=1)
        found: Tensor = self.linear(inputs) + self.head(self.deep(inputs))
        return found
