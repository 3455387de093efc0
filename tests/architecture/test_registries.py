"""The lowest app knows nothing of those above it, by name either: they fill its registries when Django starts."""

import ast
import re
from collections.abc import Iterator

import pytest
from django.apps import apps
from django.urls import URLPattern, URLResolver, get_resolver

from tests.architecture.test_code import modules

pytestmark = pytest.mark.xdist_group("code")

UPPER = ("billing", "compute", "models_app", "dashboards")
#: Routes whose names are words that the lowest app needs otherwise, as for permissions; refused where a route is meant.
WORDS = {"budgets", "datasets", "endpoint", "endpoints", "jobs", "models", "prices"}
CALLS = {"reverse", "redirect", "resolve_url", "NavigationEntry"}


def texts(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def routes(patterns: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for entry in patterns:
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns)
        else:
            yield entry


def upper_routes() -> set[str]:
    found = set()
    for route in routes(get_resolver().url_patterns):
        view = getattr(route.callback, "cls", route.callback)
        if route.name and view.__module__.split(".")[0] in UPPER:
            found.add(route.name)
    return found


def test_the_lowest_app_names_no_route_of_another() -> None:
    above = upper_routes()
    assert {"overview", "budgets", "job", "endpoint"} <= above
    found = []
    for path, tree in modules("tenants"):
        found += [f"{path}:{line} {text}" for text, line in texts(tree) if text in above - WORDS]
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in CALLS:
                found += [f"{path}:{line} {text}" for text, line in texts(call) if text in WORDS]
    assert found == []


def test_the_lowest_app_names_no_table_of_another() -> None:
    above = {model._meta.db_table for model in apps.get_models() if model._meta.app_label in UPPER}
    assert {"compute_job", "billing_budget"} <= above
    found = [
        f"{path}:{line} {sorted(named)}"
        for path, tree in modules("tenants")
        for text, line in texts(tree)
        if (named := above & set(re.findall(r"\w+", text)))
    ]
    assert found == []


def test_the_lowest_app_names_no_action_of_another() -> None:
    action = re.compile(rf"\b(?:{'|'.join(UPPER)})\.[a-z_]+\.[a-z_]+")
    found = [
        f"{path}:{line} {named[0]}"
        for path, tree in modules("tenants")
        for text, line in texts(tree)
        if (named := action.search(text))
    ]
    assert found == []
