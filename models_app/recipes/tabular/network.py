"""The network of the tabular recipes: a linear part beside a deep part.

After Cheng et al., "Wide & Deep Learning for Recommender Systems" (2016): the linear part learns simple relations from
few rows, the deep part adds the rest. The deep part's last layer starts at zero, so that training starts from the
linear model.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models_app.recipes.tabular.shapes import embedding_size, inputs_of


class AdamW(torch.optim.AdamW):
    """The optimiser of torch without the import of its compiler.

    Its public methods are wrapped so that they import torch._dynamo, which nothing here compiles with: a second of
    computing in every job before its first step.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


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
