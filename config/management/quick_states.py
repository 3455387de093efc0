"""Migrations without needless rendering of models: half of the time in which an empty database migrates.

Django renders a model and all that are related to it (50 here) whenever its migration adds or removes an index or a
constraint, although neither changes a field. Here they change in the rendered model. Old and new state then share it,
which PostgreSQL's schema editor does not notice: it is given the index or the constraint itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.migrations.state import ProjectState


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


QUICK = {"_append_option": _append, "_remove_option": _remove}
