"""Migrations without needless rendering of models: a fifth of the time in which an empty database migrates.

Django renders a model and all that are related to it (50 here) whenever its migration adds the model, a field with a
relation, an index or a constraint. Here an index or a constraint changes in the rendered model, and a new model or field
has that one model rendered. Old and new state then share the others, whose relations lead to a class of before: PostgreSQL's
schema editor reads names and types from them, which are the same. Functions of a migration get all models as they should
be, because Django renders a state that is marked as delayed again for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import models
from django.db.migrations.state import ModelState, ProjectState


@contextmanager
def quick_states() -> Iterator[None]:
    """Change indexes and constraints of rendered models in place, in this process, while the context is open."""
    kept = {name: getattr(ProjectState, name) for name in QUICK}
    for name, quick in QUICK.items():
        setattr(ProjectState, name, quick)
    try:
        yield
    finally:
        for name, slow in kept.items():
            setattr(ProjectState, name, slow)


def _append(self: ProjectState, app_label: str, model_name: str, option_name: str, obj: Any) -> None:
    _set(self, (app_label, model_name), option_name, [*_of(self, (app_label, model_name), option_name), obj])


def _remove(self: ProjectState, app_label: str, model_name: str, option_name: str, obj_name: str) -> None:
    left = [one for one in _of(self, (app_label, model_name), option_name) if one.name != obj_name]
    _set(self, (app_label, model_name), option_name, left)


def _of(state: ProjectState, key: tuple[str, str], option: str) -> list[Any]:
    return list(state.models[key].options[option])


def _set(state: ProjectState, key: tuple[str, str], option: str, value: list[Any]) -> None:
    state.models[key].options[option] = value
    if "apps" in state.__dict__:
        setattr(state.apps.get_model(*key)._meta, option, value)


def _add_model(self: Any, model_state: ModelState) -> None:
    key = (model_state.app_label, model_state.name_lower)
    self.models[key] = model_state
    if self._relations is not None:
        self.resolve_model_relations(key)
    _render(self, key)


def _add_field(
    self: Any,
    app_label: str,
    model_name: str,
    name: str,
    field: models.Field[Any, Any],
    preserve_default: bool,
) -> None:
    key = (app_label, model_name)
    if not preserve_default:
        field = field.clone()
        field.default = models.NOT_PROVIDED
    self.models[key].fields[name] = field
    if self._relations is not None:
        self.resolve_model_field_relations(key, name, field)
    _render(self, key)


def _render(state: Any, key: tuple[str, str]) -> None:
    if "apps" in state.__dict__:
        state.is_delayed = True
        state._reload({key})


QUICK = {"_append_option": _append, "_remove_option": _remove, "add_model": _add_model, "add_field": _add_field}
