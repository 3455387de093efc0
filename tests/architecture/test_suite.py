"""Rules about the test suite: which worker and which run takes a test."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from tests import conftest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.xdist_group("grouped")
def test_tests_of_a_group_share_a_worker(request: pytest.FixtureRequest) -> None:
    """pytest-xdist detects a group by the suffix of the name; without it, groups are silently split."""
    assert request.node.nodeid.endswith("@grouped") == ("PYTEST_XDIST_WORKER" in os.environ)


def test_what_is_made_for_a_whole_module_is_made_by_one_worker() -> None:
    """pytest-xdist distributes ungrouped tests one by one, so each worker would set up the module's fixtures again."""
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r'^@pytest\.fixture\(.*scope="(module|package|class)"', text := path.read_text(), re.M)
        and not re.search(r"^pytestmark = (.+\n)*?.*pytest\.mark\.xdist_group\(", text, re.M)
    ]
    assert found == []


def test_each_fixture_that_starts_a_server_is_known_to_the_quick_run() -> None:
    tree = ast.parse(Path(conftest.__file__).read_text())
    functions = {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    starting = {name for name, text in functions.items() if re.search(r"SESSION\.start_|\.launch\(", text)}
    assert starting <= conftest.BEYOND_THE_DATABASE <= functions.keys()


def test_the_quick_run_takes_rules_units_permissions_and_main_paths_of_every_app() -> None:
    line = re.search(r"^QUICK := (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert line is not None
    taken = line[1].split()
    assert taken == ["tests/architecture", "tests/unit", "tests/integration", "tests/api/test_matrix.py"]
    assert all((ROOT / place).exists() for place in taken)
    whole = {
        path.relative_to(ROOT / "tests/integration").parts[0]
        for path in (ROOT / "tests/integration").rglob("test_*.py")
        if not re.search(rf"services|nightly|\b(s3|{'|'.join(conftest.BEYOND_THE_DATABASE)})\b", path.read_text())
    }
    assert {"billing", "compute", "dashboards", "models_app", "tenants"} <= whole
