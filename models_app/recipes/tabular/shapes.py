"""Shapes of a tabular network's tensors, derived from its signature. No torch: used to validate stored models.

Embedding sizes follow fastai's rule, min(50, 1.6 n^0.56).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def embedding_size(codes: int) -> int:
    """Return the length of the embedding of one of `codes` categories."""
    return min(50, round(1.6 * math.pow(codes, 0.56)))


def inputs_of(numeric: int, codes: list[int]) -> int:
    """Return the width of the first layer's input: the numeric inputs and the embeddings."""
    return numeric + sum(embedding_size(count) for count in codes)


def tensor_shapes(network: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return name -> shape of every tensor of `TabularNet(**network)`.

    Raises KeyError or TypeError for another network.
    """
    inputs, outputs = inputs_of(network["numeric"], network["codes"]), network["outputs"]
    width = network["width"]
    found = {f"embeddings.{at}.weight": [count, embedding_size(count)] for at, count in enumerate(network["codes"])}
    found |= {"linear.weight": [outputs, inputs], "linear.bias": [outputs]}
    for layer in range(network["layers"]):
        place = f"deep.{3 * layer}"  # each layer is three modules: linear, activation, dropout
        found |= {f"{place}.weight": [width, inputs if layer == 0 else width], f"{place}.bias": [width]}
    return found | {"head.weight": [outputs, width], "head.bias": [outputs]}
