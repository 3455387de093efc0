"""Rules about the code, checked on its syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.trees import parsed

pytestmark = pytest.mark.xdist_group("code")

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("config", "dashboards", "models_app", "compute", "billing", "tenants", "deploy")
LONGEST = 300
MOST_ARGUMENTS = 6


def modules(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for room in rooms or ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(ROOT), parsed(path)


def names_called(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            yield name, node.lineno


def test_no_module_exceeds_300_lines() -> None:
    long = {
        str(path): lines for path, _ in modules() if (lines := len((ROOT / path).read_text().splitlines())) > LONGEST
    }
    assert long == {}


def test_no_function_takes_more_than_six_arguments() -> None:
    # More than this is one frozen object; `actor` or `operator` says who asks and does not count. A template names what a tag is given.
    own = {"self", "cls", "actor", "operator"}
    long = []
    for path, tree in modules():
        if "templatetags" in path.parts:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = {one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)} - own
                if len(arguments) > MOST_ARGUMENTS:
                    long.append(f"{path}:{node.lineno} {node.name}: {len(arguments)}")
    assert long == []


def test_money_never_touches_a_float() -> None:
    found = []
    for path, tree in modules("billing"):
        found += [f"{path}:{line}" for name, line in names_called(tree) if name == "float"]
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                found.append(f"{path}:{node.lineno}")
    assert found == []


def test_money_is_rounded_in_one_place() -> None:
    # rating/flat.py floors a quantity to what a hold affords; it never rounds money.
    rounding = ("money.py", "flat.py")
    found = [
        f"{path}:{line}"
        for path, tree in modules("billing")
        if path.name not in rounding
        for name, line in names_called(tree)
        if name in ("quantize", "round")
    ]
    assert found == []


def test_only_the_database_clock_is_read() -> None:
    forbidden = {"utcnow", "today"}
    found = []
    for path, tree in modules("tenants", "billing", "compute", "models_app"):
        # The child has no database; ids only need an order; the age of orphans comes from the object store's own
        # clock.
        if {"runner", "recipes", "ids.py", "orphans.py"} & set(path.parts):
            continue
        found += [f"{path}:{line}" for name, line in names_called(tree) if name in forbidden]
        source = (ROOT / path).read_text()
        if "timezone.now" in source or "CURRENT_TIMESTAMP" in source or "datetime.now(" in source:
            found.append(str(path))
    assert found == []


def test_only_config_reads_the_environment() -> None:
    allowed = {Path("config/env.py")}
    found = []
    for path, tree in modules("config", "dashboards", "models_app", "compute", "billing", "tenants"):
        if path in allowed or {"runner", "sandbox", "recipes"} & set(path.parts):
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ("environ", "getenv")
                and isinstance(node.value, ast.Name)
                and node.value.id == "os"
            ):
                found.append(f"{path}:{node.lineno}")
    assert found == []


def test_no_import_inside_a_function_hides_a_circle() -> None:
    # An app is ready only once all models are; the launcher of attempts first determines its root.
    found = []
    for path, tree in modules("tenants", "billing", "compute", "models_app"):
        for function in ast.walk(tree):
            if (
                isinstance(function, ast.FunctionDef)
                and function.name != "ready"
                and path != Path("compute/sandbox/launch.py")
            ):
                for node in ast.walk(function):
                    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOMS:
                        found.append(f"{path}:{node.lineno}")
    assert found == []


def test_no_row_lock_holds_up_references() -> None:
    # FOR UPDATE makes a transaction that references the row wait at its commit, holding all its locks: a deadlock.
    found = []
    for path, tree in modules("billing", "compute", "models_app", "tenants", "config", "deploy"):
        for node in ast.walk(tree):
            called = getattr(node.func, "attr", "") if isinstance(node, ast.Call) else ""
            weak = isinstance(node, ast.Call) and any(
                keyword.arg == "no_key" and getattr(keyword.value, "value", None) is True for keyword in node.keywords
            )
            said = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            # Django's own update_or_create locks the row that it finds with FOR UPDATE.
            if (called == "select_for_update" and not weak) or called == "update_or_create" or "FOR UPDATE" in said:
                found.append(f"{path}:{getattr(node, 'lineno', 0)}")
    assert found == []


def test_no_signal_decides_anything() -> None:
    found = []
    for path, tree in modules("billing", "compute", "models_app", "tenants", "dashboards"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in ("django.db.models.signals", "django.dispatch"):
                found.append(f"{path}:{node.lineno}")
    assert found == []


def test_billing_does_not_know_what_it_bills() -> None:
    words = ("gpu", "nvidia", "cuda", "torch", "dataset")
    found = []
    for path, _ in modules("billing"):
        text = (ROOT / path).read_text().lower()
        found += [f"{path}: {word}" for word in words if word in text]
    assert found == []


def test_every_public_function_says_what_it_does() -> None:
    found = []
    for path, tree in modules():
        if path.name == "__init__.py" or "management" in path.parts:
            continue
        if ast.get_docstring(tree) is None:
            found.append(f"{path}: module")
        for node in tree.body:
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and ast.get_docstring(node) is None
                and node.name != "Migration"
            ) and not (isinstance(node, ast.ClassDef) and path.name == "apps.py"):
                found.append(f"{path}:{node.lineno} {node.name}")
    assert found == []


def test_every_test_asserts_something() -> None:
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = parsed(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                asserts = any(isinstance(inner, ast.Assert) for inner in ast.walk(node))
                checks = any(
                    word in name
                    for name, _ in names_called(node)
                    for word in ("raises", "assert", "expect", "check", "verify", "warns")
                )
                if not (asserts or checks):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert found == []


def test_answers_are_made_by_the_serializers_that_describe_them() -> None:
    # A dict beside the serializer says more or less than the description, and nobody sees it.
    found = []
    for path, tree in modules("tenants", "billing", "compute", "models_app"):
        if path.parent.name != "api":
            continue
        found += [f"{path}:{line} asdict" for name, line in names_called(tree) if name == "asdict"]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Response" and node.args:
                answer = node.args[0]
                if isinstance(answer, ast.Dict) and ".data" not in ast.unparse(answer):
                    found.append(f"{path}:{node.lineno} {ast.unparse(answer)}")
    assert found == []


def test_each_loop_of_a_sweep_begins_where_the_last_one_ended() -> None:
    """So that bad rows in front do not hold up the rest for ever (`tenants/isolation/sweeps.py`)."""
    loops, faults = 0, []
    for path, tree in modules("models_app", "compute", "billing", "tenants"):
        for opened in [node for node in ast.walk(tree) if isinstance(node, ast.With)]:
            if not any(item.optional_vars and ast.unparse(item.optional_vars) == "each" for item in opened.items):
                continue
            for loop in [node for node in opened.body if isinstance(node, ast.For)]:
                loops += 1
                faults += [] if ast.unparse(loop.iter).startswith("each.over(") else [f"{path}:{loop.lineno}"]
    assert loops > 20
    assert faults == []
