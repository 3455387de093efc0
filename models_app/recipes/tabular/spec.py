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
        description="The maximum number of passes over the training rows. Training stops earlier if it no longer improves.",
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
        description="Step size. Lower it if the loss jumps, raise it if the loss hardly changes.",
    )
    batch_size: int = Field(
        0,
        ge=0,
        le=65536,
        title="Batch size",
        description="Rows in one step; 0 chooses by table size. Larger is faster; smaller takes more steps in an epoch.",
    )
    layers: int = Field(1, ge=1, le=6, title="Hidden layers", description="The number of hidden layers.")
    width: int = Field(128, ge=4, le=2048, title="Units per layer", description="The width of each hidden layer.")
    dropout: float = Field(
        0.3,
        ge=0.0,
        le=0.8,
        title="Dropout",
        description="Share of hidden units that training switches off at random.",
    )
    weight_decay: float = Field(
        0.1,
        ge=0.0,
        le=10.0,
        title="Weight decay",
        description="Pulls weights towards zero, which reduces overfitting.",
    )
    validation_share: float = Field(
        0.15, ge=0.05, le=0.4, title="Validation share", description="Share of the rows that decide when to stop."
    )
    test_share: float = Field(
        0.25,
        ge=0.05,
        le=0.4,
        title="Test share",
        description="Share of the rows that measure the finished model. Training never uses them.",
    )
    seed: int = Field(
        42, ge=0, le=2**31 - 1, title="Seed", description="The same seed, data and parameters train the same model."
    )
    exclude_columns: list[ColumnName] = Field(
        default_factory=list,
        max_length=2000,
        title="Columns to leave out",
        json_schema_extra={"default": []},
        description="Identifiers, and columns that are unknown at prediction time.",
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
        description="Weight classes equally, so that rare classes count as much as common ones. Scores then no longer match real frequencies.",
    )


class RegressorParameters(TabularParameters):
    """Parameters of `tabular.regressor`."""


_LIMITS = "Up to 5 million rows and 2,000 columns that fit in memory. Free-text columns are left out. Rows are treated as independent: for time series, the random split overstates quality."

CLASSIFIER = Recipe(
    id="tabular.classifier",
    version="1",
    title="Table classifier",
    task="classification",
    card=Card(
        summary="Predicts which class a row belongs to, with a score for each class.",
        when="The target column holds classes: yes or no, a category, a digit. Needs a few hundred rows or more.",
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
        when="The target column holds quantities: a price, a duration, a measurement. Needs a few hundred rows or more.",
        limits=_LIMITS + " It does not return a prediction interval.",
    ),
    parameters=RegressorParameters,
    module="models_app.recipes.tabular.train",
    predicts="models_app.recipes.tabular.prediction.batch",
    cost=_COST,
)

RECIPES = (CLASSIFIER, REGRESSOR)
