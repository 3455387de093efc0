"""Parameters and cards of the tabular recipes. No torch here: the web process imports this file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from models_app.recipes.base import Card, Cost, Parameters, Recipe

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]

_COST = Cost(start_s=4.0, step_s=0.0011, madd_s=0.00016, values_s=0.06)


class TabularParameters(Parameters):
    """Parameters shared by the tabular recipes."""

    epochs: int = Field(
        150,
        ge=1,
        le=1000,
        title="Epochs",
        description="The most passes over the training rows. Training stops earlier when it no longer improves.",
    )
    patience: int = Field(
        20,
        ge=1,
        le=200,
        title="Patience",
        description="Stop after this many epochs without a better result on the validation rows.",
    )
    learning_rate: float = Field(
        0.001,
        ge=1e-6,
        le=1.0,
        title="Learning rate",
        description="Size of a step. Lower it when the loss jumps, raise it when it hardly moves.",
    )
    batch_size: int = Field(
        0,
        ge=0,
        le=65536,
        title="Batch size",
        description="Rows in one step; 0 chooses by the size of the table. Larger is faster, smaller learns more in an epoch.",
    )
    layers: int = Field(1, ge=1, le=6, title="Hidden layers", description="How deep the network is.")
    width: int = Field(128, ge=4, le=2048, title="Units a layer", description="How wide each hidden layer is.")
    dropout: float = Field(
        0.3,
        ge=0.0,
        le=0.8,
        title="Dropout",
        description="Share of hidden units that are switched off at random while training.",
    )
    weight_decay: float = Field(
        0.1,
        ge=0.0,
        le=10.0,
        title="Weight decay",
        description="Pulls weights towards zero: more of it, less overfitting.",
    )
    validation_share: float = Field(
        0.15, ge=0.05, le=0.4, title="Validation share", description="Share of the rows that decide when to stop."
    )
    test_share: float = Field(
        0.25,
        ge=0.05,
        le=0.4,
        title="Test share",
        description="Share of the rows kept aside to measure the finished model. It never sees them before.",
    )
    seed: int = Field(
        42, ge=0, le=2**31 - 1, title="Seed", description="The same seed, data and parameters train the same model."
    )
    exclude_columns: list[ColumnName] = Field(
        default_factory=list,
        max_length=2000,
        title="Columns to leave out",
        json_schema_extra={"default": []},
        description="Identifiers, and columns that would not be known at the time of prediction.",
    )


def steps_of(rows: int, batch_size: int) -> tuple[int, int]:
    """Return the rows of a batch and the number of batches in one epoch over `rows` training rows.

    Batch size 0 means about forty batches an epoch, a power of two from 32 to 4096 rows each.
    """
    size = batch_size or min(4096, max(32, 1 << max(0, (rows // 40).bit_length() - 1)))
    return size, -(-rows // size)


class ClassifierParameters(TabularParameters):
    """Parameters of `tabular.classifier`."""

    balance_classes: bool = Field(
        False,
        title="Balance classes",
        description="Give rare classes the same say as common ones. Scores then no longer match real frequencies.",
    )


class RegressorParameters(TabularParameters):
    """Parameters of `tabular.regressor`."""


_LIMITS = (
    "Up to 5 million rows and 2,000 columns that fit in memory. Free text columns are left out. "
    "It learns from rows one by one: for series over time, the random split flatters the result."
)

CLASSIFIER = Recipe(
    id="tabular.classifier",
    version="1",
    title="Table classifier",
    task="classification",
    card=Card(
        summary="Predicts which class a row belongs to, with a score for each class.",
        when="The target column holds classes: yes or no, a category, a digit. From a few hundred rows on.",
        limits=_LIMITS + " At most 100 classes; classes with fewer than three rows cannot be measured.",
    ),
    parameters=ClassifierParameters,
    module="models_app.recipes.tabular.train",
    predicts="models_app.recipes.tabular.prediction.batch",
    cost=_COST,
)

REGRESSOR = Recipe(
    id="tabular.regressor",
    version="1",
    title="Table regressor",
    task="regression",
    card=Card(
        summary="Predicts a number for a row.",
        when="The target column holds quantities: a price, a duration, a measurement. From a few hundred rows on.",
        limits=_LIMITS + " It does not give an interval around the number.",
    ),
    parameters=RegressorParameters,
    module="models_app.recipes.tabular.train",
    predicts="models_app.recipes.tabular.prediction.batch",
    cost=_COST,
)

RECIPES = (CLASSIFIER, REGRESSOR)
