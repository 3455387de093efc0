"""Compare model versions: metrics, data, parameters and cost, with differences highlighted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_app.recipes import base
from models_app.registry import lineage as queries
from models_app.training.training import BETTER
from models_app.views.figures import single
from tenants.parsing import uuid_in
from tenants.web.requests import TenantRequest
from tenants.web.views import page

MOST = 4


@dataclass(frozen=True)
class Row:
    """One line: a value for each version, or None. `best`: indexes of the best value.

    `key`: the parameter's name in its recipe.
    """

    name: str
    values: Sequence[Any]
    best: frozenset[int] = frozenset()
    key: str = ""

    @property
    def differs(self) -> bool:
        """Whether the versions have different values."""
        return any(value != self.values[0] for value in self.values[1:])


@require_safe
@page("models.view")
def compare(request: TenantRequest) -> HttpResponse:
    """Compare the two to four versions given by `v`; show a hint for fewer."""
    actor = request.actor
    asked = dict.fromkeys(uuid_in(text) for text in request.GET.getlist("v"))
    versions = [queries.lineage(actor, one) for one in list(asked)[:MOST] if one is not None]
    context = {
        "versions": versions,
        "figures": figures(versions),
        "params": parameters(versions),
        "dropped": max(0, len(asked) - MOST),
    }
    return render(request, "models_app/compare.html", context)


def figures(versions: Sequence[queries.Lineage]) -> list[Row]:
    """Return the test metrics with the indexes of the best value; only versions of one recipe compare."""
    held = [single(version.metrics) for version in versions]
    found = []
    for name in dict.fromkeys(name for one in held for name in one):
        values = [one.get(name) for one in held]
        known = [value for value in values if value is not None]
        better = BETTER.get(name, "higher")
        top = min(known) if better == "lower" else max(known)
        ranked = len(set(known)) > 1 and better
        found.append(Row(name, values, frozenset(at for at, value in enumerate(values) if ranked and value == top)))
    return found


def parameters(versions: Sequence[queries.Lineage]) -> list[Row]:
    """Return the parameters by title, differing ones first."""
    titles: dict[str, str] = {}
    for recipe in base.recipes():
        titles |= {name: str(one.get("title", name)) for name, one in recipe.schema()["properties"].items()}
    names = dict.fromkeys(name for version in versions for name in version.params)
    rows = [Row(titles.get(name, name), [version.params.get(name) for version in versions], key=name) for name in names]
    return sorted(rows, key=lambda row: not row.differs)
