"""Preparation before the first step: the encoding of each column, and the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models_app.recipes.tabular import table
from models_app.recipes.tabular.features import Feature, Strings, fit_categorical, fit_numeric
from models_app.runner_protocol import InputError


def fit_features(
    data: table.Table, train: table.Rows, params: Mapping[str, Any], reasons: Mapping[str, str]
) -> tuple[list[Feature], list[dict[str, str]]]:
    """Fit the encoding on training rows only. Returns the features, and the excluded columns with their reasons.

    `reasons`: why a column of `exclude_columns` is excluded, if it was not a person's choice. Raises InputError if no
    column is left to learn from.
    """
    features: list[Feature] = []
    ignored: list[dict[str, str]] = []
    for name, kind in data.kinds.items():
        if name == data.target.name:
            continue
        feature: Feature | None = None
        column = data.columns.get(name)
        if column is None:
            reason = (
                reasons.get(name, "left out by you")
                if name in params["exclude_columns"]
                else "whole numbers beyond 2^53, which no network can distinguish"
                if name in data.inexact
                else f"{kind} columns are not used by this recipe"
            )
        elif isinstance(column, Strings):
            feature, reason = fit_categorical(name, column.take(train)), "the same value in every training row"
        else:
            feature, reason = fit_numeric(name, kind, column[train]), "the same value in every training row"  # type: ignore[arg-type]
        if feature is None:
            ignored.append({"name": name, "reason": reason})
        else:
            features.append(dataclasses.replace(feature, contract=data.contracts.get(name)))
    if not features:
        raise InputError(
            "no_features",
            "No input column is left: all are constant, empty, text or left out. Add columns to the dataset.",
        )
    return features, ignored


def loss_for(params: Mapping[str, Any], classes: tuple[Any, ...], train: NDArray[Any]) -> nn.Module:
    """Return the loss: squared error of the standardised target, or cross entropy, optionally weighted by rarity."""
    if not classes:
        return nn.MSELoss()
    if not params["balance_classes"]:
        return nn.CrossEntropyLoss()
    counts = np.bincount(train, minlength=len(classes)).clip(min=1)
    return nn.CrossEntropyLoss(weight=torch.tensor(train.size / (len(classes) * counts), dtype=torch.float32))
