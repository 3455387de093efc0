"""Rules about the test suite: which worker and which run takes a test."""

from __future__ import annotations

import ast
import os
import re
from datetime import date
from pathlib import Path

import pytest

from tests import conftest
from tests.support.servers import kept_data

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


def test_kept_data_are_of_these_migrations_models_and_roles() -> None:
    made_of = {str(path.relative_to(ROOT)) for path in kept_data.sources()}
    assert {f"{app}/migrations/0001_initial.py" for app in ("tenants", "billing", "compute", "models_app")} <= made_of
    assert {"deploy/roles.sql", "config/settings.py", "compute/models/jobs.py"} <= made_of
    assert {"tenants/isolation/rls.py", "tests/support/servers/services.py"} <= made_of, "what those import"
    assert not any(path.startswith(".venv") for path in made_of), "packages count by their versions"


def test_a_changed_migration_and_another_day_make_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migration = tmp_path / "0001_initial.py"
    monkeypatch.setattr(kept_data, "sources", lambda: {migration})
    migration.write_text("operations = []\n")
    before = kept_data.digest()
    assert kept_data.digest() == before
    migration.write_text("operations = [1]\n")
    assert kept_data.digest() != before
    migration.write_text("operations = []\n")
    monkeypatch.setattr(kept_data, "BEGAN", date(2030, 1, 1))
    assert kept_data.digest() != before


def test_only_the_data_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_data, "FOLDER", tmp_path / "kept")
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        monkeypatch.setattr(kept_data, "digest", f"state{number}".__str__)
        (data / "PG_VERSION").write_text(str(number))
        kept_data.keep(data)
        os.utime(tmp_path / "kept" / f"state{number}", (number, number))
    for number, is_kept in enumerate((False, True, True)):
        monkeypatch.setattr(kept_data, "digest", f"state{number}".__str__)
        assert kept_data.restore(tmp_path / f"copy{number}") == is_kept
    assert (tmp_path / "copy2" / "PG_VERSION").read_text() == "2"
