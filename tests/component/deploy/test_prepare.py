"""A database is prepared by the image's own command, and an empty one by nothing else; signs of life are checked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.conf import LazySettings
from django.db import connection

from compute import liveness
from config.databases import DATABASE_URLS
from deploy.server import health
from deploy.server.prepare import passwords_in
from tests.conftest import SESSION

ROOT = Path(__file__).resolve().parents[3]


def test_prepare_sets_roles_and_passwords_and_migrates_and_may_run_again(
    process_environment: Callable[..., dict[str, str]],
) -> None:
    database = str(connection.settings_dict["NAME"])
    given = process_environment("control") | {
        name: SESSION.cluster.url(f"exchequer_{role}", database) for role, name in DATABASE_URLS.items()
    }
    given["DATABASE_ADMIN_URL"] = f"postgresql://postgres@/{database}?host={SESSION.cluster.folder}"
    done = subprocess.run(
        [sys.executable, "-m", "deploy.server.prepare"],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the roles are in place" in done.stdout
    assert "No migrations to apply" in done.stdout
    for name in DATABASE_URLS.values():
        psycopg.connect(given[name]).close()  # with the password that its URL holds


def test_only_the_products_own_roles_get_passwords() -> None:
    given = passwords_in(
        {
            "app": "postgresql://exchequer_app:first@db/x",
            "control": "postgresql://somebody_else:second@db/x",
            "owner": "postgresql://exchequer_owner@db/x",
            "operator": "",
        }
    )
    assert given == {"exchequer_app": "first"}


def test_a_process_without_a_port_shows_that_it_lives(
    settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"home": tmp_path})
    monkeypatch.setenv("EXCHEQUER_HOME", str(tmp_path))
    assert health.main(["--beat", "controller"]) == 1
    liveness.beat("controller")
    assert health.main(["--beat", "controller"]) == 0
    old = time.time() - 200
    os.utime(tmp_path / "run/controller.beat", (old, old))
    assert health.main(["--beat", "controller", "--within", "120"]) == 1
    assert "no sign of life for 200 s" in capsys.readouterr().err
