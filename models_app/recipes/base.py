"""The interface of a recipe, and the list of recipes. Imports no torch: the web process reads it to draw forms."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Task = Literal["classification", "regression"]

SPEC_MODULES = ("models_app.recipes.tabular.spec",)


class Parameters(BaseModel):
    """Base of a recipe's parameters: exact types, hard ranges, no NaN, no unknown names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class UnknownRecipe(LookupError):
    """There is no such recipe."""


class InvalidParameters(ValueError):
    """The parameters do not fit the recipe. `fields` maps a parameter's name to its messages."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {' '.join(messages)}" for name, messages in fields.items()))
        self.fields = fields


@dataclass(frozen=True)
class Card:
    """The description that a person reads before choosing the recipe."""

    summary: str
    when: str
    limits: str


@dataclass(frozen=True)
class Cost:
    """How the recipe's run time grows: a start, and seconds per step and per million multiply-adds.

    Predicting: seconds per million values read or written.
    """

    start_s: float
    step_s: float
    madd_s: float
    values_s: float


@dataclass(frozen=True)
class Recipe:
    """One vetted recipe. `version` changes whenever the same parameters would train another model.

    `module` trains, `predicts` predicts a whole table; both are dotted names that only the runner imports.
    """

    id: str
    version: str
    title: str
    task: Task
    card: Card
    parameters: type[Parameters]
    module: str
    predicts: str
    cost: Cost

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the parameters: title, description, default, range, in the form's order."""
        return self.parameters.model_json_schema()

    def parse(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, defaults filled in, as JSON values. Raises InvalidParameters."""
        try:
            return self.parameters.model_validate(dict(values)).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidParameters(_by_field(error)) from error

    def parse_strings(self, values: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
        """Return all parameters from a form's strings; an empty string means the default. Raises InvalidParameters."""
        given = {name: value for name, value in values.items() if value not in ("", [], None)}
        try:
            return self.parameters.model_validate_strings(given).model_dump(mode="json")
        except ValidationError as error:
            raise InvalidParameters(_by_field(error)) from error

    def digest(self) -> str:
        """Return the sha256 over the recipe's source files, which identifies the code that trained a model."""
        return _source_digest(self.module)


def recipes() -> tuple[Recipe, ...]:
    """Return every recipe, in the order of the catalogue."""
    found: list[Recipe] = []
    for module in SPEC_MODULES:
        found.extend(importlib.import_module(module).RECIPES)
    return tuple(found)


def recipe(recipe_id: str) -> Recipe:
    """Return one recipe by id. Raises UnknownRecipe."""
    for candidate in recipes():
        if candidate.id == recipe_id:
            return candidate
    raise UnknownRecipe(f"There is no recipe {recipe_id!r}. Known: {', '.join(r.id for r in recipes())}.")


def training_module(recipe_id: str) -> str:
    """Return the dotted name of the module that trains this recipe. Only the runner may import it."""
    return recipe(recipe_id).module


def prediction_module(recipe_id: str) -> str:
    """Return the dotted name of the module that predicts tables with this recipe's models. Only the runner may import it."""
    return recipe(recipe_id).predicts


@cache
def _source_digest(module: str) -> str:
    folder = Path(__file__).resolve().parents[2].joinpath(*module.split(".")[:-1])
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


UNKNOWN = "The recipe has no such parameter; its schema lists all. Fields of the job go beside `params`, not in it."


def _by_field(error: ValidationError) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else "params"
        words = UNKNOWN if problem["type"] == "extra_forbidden" else problem["msg"] + "."
        fields.setdefault(name, []).append(words)
    return fields
