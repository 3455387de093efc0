"""The figures of `make bench` still run, the quick ones by day, all at night; speed does not matter here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

import bench
from bench import database
from bench.database import FRESH, SHARED
from deploy.local.postgres import DATABASE
from tests.conftest import SESSION
from tests.support.examples import NIGHT
from tests.support.servers.database import TEMPLATE, copy_database

ROOT = Path(bench.__file__).parent.parent
#: The quick ones, one of each kind at least: the others start processes or fill tables for half a minute each.
BY_DAY = frozenset({"G-b3", "G-c1", "G-c2", "G-c3", "G-c4", "G-e4", "G-e5", "G-h1"})


@pytest.fixture
def server(django_db_setup: None) -> Iterator[Path]:
    """The tests' database server, with the two databases that a separate run creates and migrates."""
    names = (SHARED, FRESH)
    with SESSION.cluster.superuser("postgres") as admin:
        with SESSION.lock("copy"):
            for name in names:
                copy_database(admin, name, TEMPLATE)
                SESSION.cluster.grant(name)
        yield SESSION.cluster.folder
        for name in names:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def opened(folder: str) -> Path:
    """Make a folder accessible to the account of the database server."""
    Path(folder).chmod(0o711)
    return Path(folder)


def test_a_run_of_its_own_makes_and_migrates_its_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to migrate, which takes longest and which every test relies on."""
    asked: list[Any] = []
    monkeypatch.setattr(database, "subprocess", SimpleNamespace(run=lambda *given, **more: asked.append((given, more))))
    with (
        TemporaryDirectory(prefix="exq-", dir="/tmp") as folder,
        database.database(opened(folder)) as (given, superuser),
    ):
        assert superuser(f"SELECT count(*) FROM pg_database WHERE datname IN ('{DATABASE}', '{FRESH}')") == "2"
        with psycopg.connect(given("app")["DATABASE_URL"]) as link:
            assert link.execute("SELECT current_user").fetchone() == ("exchequer_app",)
    [((command,), more)] = asked
    assert command[1:3] == ["manage.py", "migrate"]
    assert more["env"]["EXCHEQUER_DB_ROLE"] == "owner"


def test_each_figure_runs_tiny_and_says_what_it_saw(server: Path, tmp_path: Path) -> None:
    declared = {
        goal
        for file in (ROOT / "bench" / "figures").rglob("*.py")
        for goal in (line.split('"')[1] for line in file.read_text().splitlines() if line.startswith('@figure("'))
    }
    wanted = declared if NIGHT else declared & BY_DAY
    only = [word for goal in sorted(wanted) for word in ("--only", goal)]
    results = tmp_path / "results.json"
    environment = {name: value for name, value in os.environ.items() if name != "BENCH_PEERS"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", "--server", str(server), "--results", str(results), *only],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    rows = json.loads(results.read_text())["rows"]
    assert {row["goal"] for row in rows} == wanted
    absolute = {name: value for row in rows for name, value in row["absolute"].items()}
    # Comparisons with peers have no ratio without them, but load was applied.
    alone = {row["goal"] for row in rows if row["measured"] is None}
    assert alone <= {"G-a1", "G-g1"}
    if NIGHT:
        assert absolute["shipped req/s"] > 0
        assert absolute["shipped failed"] == 0
        assert absolute["shipped billed"] > 0
        assert absolute["held req/s"] > 0
    assert all(row["measured"] > 0 for row in rows if row["measured"] is not None)
