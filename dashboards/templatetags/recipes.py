"""Template tags for recipes."""

from collections.abc import Mapping
from typing import Any

from django import template
from django.template import Context

from models_app import queries

register = template.Library()
BY_ITSELF = frozenset({"batch_size"})
"""Parameters for which 0 lets the recipe choose."""


@register.filter
def column_type(kind: Any) -> str:
    """Return the label of a column type, the same everywhere."""
    return queries.COLUMN_TYPES.get(str(kind), str(kind or "\u2013"))


@register.filter
def parameter(value: Any, name: str) -> Any:
    """Return a parameter's value, or the word for one that the recipe chooses itself."""
    return "automatic" if name in BY_ITSELF and value == 0 else value


@register.filter
def recipe_title(recipe_id: Any) -> str:
    """Return the title of a recipe; the id of one that is no longer offered."""
    return next((recipe.title for recipe in queries.recipe_cards() if recipe.id == recipe_id), str(recipe_id))


@register.filter
def titled(values: Mapping[str, Any], recipe_id: Any) -> list[tuple[str, Any]]:
    """Return parameters in their schema's order, each with its title; parameters unknown to the recipe come last."""
    chosen = [recipe for recipe in queries.recipe_cards() if recipe.id == recipe_id]
    known: Mapping[str, Any] = chosen[0].schema()["properties"] if chosen else {}
    named = [
        (str(schema.get("title", name)), parameter(values[name], name))
        for name, schema in known.items()
        if name in values
    ]
    others = [(name.replace("_", " ").capitalize(), value) for name, value in values.items() if name not in known]
    return [*named, *others]


@register.simple_tag(takes_context=True)
def data_named(context: Context, version_id: Any) -> str:
    """Return the name of a dataset version, such as `diabetes v1`; empty if hidden from the reader."""
    return queries.data_name(context["request"].actor, version_id)


@register.simple_tag(takes_context=True)
def version_named(context: Context, version_id: Any) -> str:
    """Return the name of a model version, such as `risk v2`; empty if hidden from the reader."""
    return queries.version_name(context["request"].actor, version_id)
