"""`manage.py doctor`: a healthy installation is ok, and each planted fault is named."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from pytest_django import Settings

from compute.devices.base import Found
from compute.fleet import nodes
from compute.sandbox import probe, sandbox
from compute.scheduling import slots
from config import doctor
from config.demo import organisations
from tenants.operators import grants
from tests.support import factories
from tests.support.endpoints import make_endpoint
from tests.support.servers.fetcher import fetcher
from tests.support.servers.services import S3

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[3]
Control = Callable[[], AbstractContextManager[None]]


def examine(as_control: Control) -> dict[str, list[str]]:
    with as_control():
        findings = list(doctor.examine())
    told: dict[str, list[str]] = {"ok": [], "note": [], "wrong": []}
    for finding in findings:
        told[finding.level].append(f"{finding.subject}: {finding.text}")
    return told


def test_a_command_without_the_environment_explains_what_to_type(tmp_path: Path) -> None:
    def doctor_of(*python: str) -> str:
        done = subprocess.run(
            [*python, "manage.py", "doctor"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "EXCHEQUER_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 1
        return done.stdout

    without_packages = doctor_of(sys.executable, "-S")
    assert "make venv" in without_packages and ".venv/bin/python manage.py doctor" in without_packages
    before_the_start = doctor_of(sys.executable)
    assert "SECRET_KEY" in before_the_start and "make up" in before_the_start
    assert "Traceback" not in without_packages + before_the_start


class Ready(BaseHTTPRequestHandler):
    """Responds as a ready serving node."""

    def do_GET(self) -> None:
        """Return 200 for any path."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the log line."""


@pytest.fixture
def serving_node(settings: Settings) -> Iterator[None]:
    """A server on the ports of the serving node and the usage server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(
            update={"serving_port": server.server_port, "ingest_port": server.server_port}
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_a_healthy_installation_has_nothing_wrong(
    as_control: Control, s3: S3, serving_node: None, settings: Settings
) -> None:
    assert any(line.startswith("fetcher: does not answer at") for line in examine(as_control)["wrong"])
    with fetcher() as running:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"fetcher_socket": str(running.socket)})
        told = examine(as_control)
    assert told["wrong"] == []
    assert "migrations: all applied" in told["ok"]
    assert f"object store: bucket '{s3.bucket}' can be written, read and cleared" in told["ok"]


def test_accounts_with_the_published_password_beside_real_organisations_are_named(as_control: Control) -> None:
    factories.make_user("owner@riverside.example", password=organisations.PASSWORD)
    factories.make_user("admin@riverside.example", password="another one entirely")
    assert not any(line.startswith("demo:") for lines in examine(as_control).values() for line in lines)
    factories.make_tenant("real")
    with as_control():
        grants.grant(organisations.OPERATOR, "platform_admin", password=organisations.PASSWORD)
    told = examine(as_control)
    assert [line.split()[1] for line in told["note"] if line.startswith("demo:")] == ["owner@riverside.example"]
    assert [line.split()[1] for line in told["wrong"] if line.startswith("demo:")] == [organisations.OPERATOR]


def test_a_table_without_forced_row_security_is_named(as_control: Control, superuser: psycopg.Connection) -> None:
    superuser.execute("CREATE TABLE careless (id int, tenant_id uuid)")
    try:
        assert (
            "row security: careless holds tenants' rows and row security is not forced on it"
            in examine(as_control)["wrong"]
        )
    finally:
        superuser.execute("DROP TABLE careless")


def test_a_role_that_owns_a_table_is_named(as_control: Control, superuser: psycopg.Connection) -> None:
    superuser.execute("CREATE TABLE owned (id int); ALTER TABLE owned OWNER TO exchequer_app")
    try:
        wrong = examine(as_control)["wrong"]
        assert any(line.startswith("roles: exchequer_app owns tables or other parts") for line in wrong)
    finally:
        superuser.execute("DROP TABLE owned")


def test_a_role_whose_statements_may_last_for_ever_is_named(
    as_control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a login without the settings: the product's own are shared by every database of the server."""
    monkeypatch.setattr(doctor, "ROLES", ("exchequer_app", "exchequer_bypassing"))
    assert any(
        "exchequer_bypassing" in line and "has no statement_timeout" in line for line in examine(as_control)["wrong"]
    )


def test_services_that_are_away_are_named(as_control: Control, settings: Settings) -> None:
    away = {"broker_url": "redis://127.0.0.1:9/0", "s3_endpoint_url": "http://127.0.0.1:9"}
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=away)
    subjects = {line.split(":")[0] for line in examine(as_control)["wrong"]}
    assert {"broker", "object store"} <= subjects


def test_a_bucket_of_checkpoints_that_locks_nothing_is_named(as_control: Control, s3: S3, settings: Settings) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"audit_bucket": s3.bucket})
    (line,) = [one for one in examine(as_control)["wrong"] if one.startswith("object store:")]
    assert f"bucket '{s3.bucket}' has no Object Lock with a default retention" in line


def test_missing_sandbox_layers_are_wrong_where_they_are_required(
    as_control: Control, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_layers", lambda: ["file rules (Landlock)"])
    assert "sandbox: missing on this machine: file rules (Landlock)" in examine(as_control)["note"]
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"sandbox": "required"})
    assert "sandbox: missing on this machine: file rules (Landlock)" in examine(as_control)["wrong"]


def test_a_missing_unprivileged_user_is_reported_with_its_fix(
    as_control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_layers", lambda: [sandbox.USER])
    assert any("as an ordinary user" in line for line in examine(as_control)["note"])
    printed = io.StringIO()
    call_command("doctor", "--sandbox", stdout=printed)
    assert printed.getvalue().startswith("unprivileged user. Run `make up` as an ordinary user")


def test_folders_that_were_opened_are_listed(as_control: Control, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "opened-folders").write_text("/srv/closed\n")
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"home": tmp_path})
    assert "opened folders: /srv/closed was opened for passing through (o+x)" in examine(as_control)["note"]


def test_the_command_fails_when_anything_is_wrong(as_control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor.DoctorFinding("wrong", "clock", "two hours late")
    monkeypatch.setattr(doctor, "examine", lambda: iter([finding]))
    printed = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("doctor", stdout=printed)
    assert end.value.code == 1
    assert printed.getvalue() == "wrong clock: two hours late\n"


def test_the_sandbox_of_this_machine_can_be_probed() -> None:
    assert all(not layer.startswith(probe.UNKNOWN) for layer in doctor.missing_layers())


def test_endpoints_without_a_slot_are_counted(as_control: Control) -> None:
    assert "serving slots: 0 of 0 are free and no endpoint waits" in examine(as_control)["ok"]
    tenant = factories.make_tenant()
    make_endpoint(tenant)
    (line,) = [line for line in examine(as_control)["wrong"] if line.startswith("serving slots")]
    assert line.startswith("serving slots: 1 endpoint waits and none of 0 is free: set EXCHEQUER_SERVING_SLOTS higher")
    found = [Found("slot-0", "cpu", "serving", "Serving slot 0", 0, 0)]
    nodes.register(name="serving.a", hostname="h", boot=uuid4(), found=found, missing_layers=[], serves=True)
    assert any("although 1 are free" in line for line in examine(as_control)["note"])
    with as_control():
        assert slots.assign_slots() == 1
    assert "serving slots: 0 of 1 are free and no endpoint waits" in examine(as_control)["ok"]
