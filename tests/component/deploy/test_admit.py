"""A machine of the platform gets a node's credentials without a token, and a node asks over a unix socket of its machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from config import node_settings
from deploy import node_file, node_join
from deploy.server import admit
from tenants.outbound import straight
from tests.conftest import SESSION
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_serving_node_gets_a_login_a_secret_and_the_key_that_it_signs_with(
    superuser: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "DATABASE_OWNER_URL", SESSION.cluster.url("exchequer_owner", str(connection.settings_dict["NAME"]))
    )
    monkeypatch.setenv("EXCHEQUER_PUBLIC_URL", "https://exchequer.example")
    file = tmp_path / "node.env"

    def admitted(secret_key: str) -> dict[str, str]:
        monkeypatch.setenv("SECRET_KEY", secret_key)
        admit.main(["--serving", "--name", "beside", "--to", str(file)])
        return node_file.read(file)

    first = admitted("x" * 40)
    assert first.keys() == {
        "DATABASE_URL", "EXCHEQUER_DB_ROLE", node_settings.SECRET, node_settings.SERVING, node_settings.PLATFORM,
    }  # fmt: skip
    assert "x" * 40 not in first.values()
    assert admitted("x" * 40) == first, "what works stays"
    assert (
        (second := admitted("y" * 40))[node_settings.SERVING]
        == node_settings.serving_key("y" * 40)
        != first[node_settings.SERVING]
    )
    made = superuser.execute("SELECT id FROM compute_node WHERE name = 'serving.beside'").fetchall()
    login = f"exchequer_node_{made[0][0].hex}"
    assert f"//{login}:" in second["DATABASE_URL"]
    groups = (
        "SELECT r::regrole::text FROM pg_auth_members m, LATERAL (SELECT m.roleid AS r) WHERE m.member = %s::regrole"
    )
    assert superuser.execute(groups, [login]).fetchall() == [("exchequer_serving",)], (
        "it is not a node that runs attempts"
    )
    assert (opens(first["DATABASE_URL"]), opens(second["DATABASE_URL"])) == (False, True)
    superuser.execute("SELECT compute_end_node(%s)", [made[0][0]])
    assert not opens(second["DATABASE_URL"])
    superuser.execute(f"DROP ROLE {login}")


def opens(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_machine_of_the_platform_is_admitted_once_and_again_after_its_end(
    superuser: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "DATABASE_OWNER_URL", SESSION.cluster.url("exchequer_owner", str(connection.settings_dict["NAME"]))
    )
    file = tmp_path / "node.env"

    def admitted() -> dict[str, str]:
        admit.main(["--name", "beside", "--to", str(file)])
        assert file.stat().st_mode & 0o777 == 0o600
        return node_file.read(file)

    first = admitted()
    try:
        assert first["EXCHEQUER_NODE_ID"] == "beside"
        assert opens(first["DATABASE_URL"])
        assert "exchequer_node_" in first["DATABASE_URL"]
        assert admitted() == first, "what works stays"
        superuser.execute("SELECT compute_end_node(id) FROM compute_node WHERE name = 'beside'")
        assert not opens(first["DATABASE_URL"])
        second = admitted()
        assert second[node_settings.SECRET] != first[node_settings.SECRET]
        assert (opens(first["DATABASE_URL"]), opens(second["DATABASE_URL"])) == (False, True)
        superuser.execute("DELETE FROM compute_nodesecret")
        assert admitted()[node_settings.SECRET] != second[node_settings.SECRET], (
            "a login without its secret does not work"
        )
        assert os.listdir(tmp_path) == ["node.env"]
        monkeypatch.delenv("DATABASE_OWNER_URL")
        with pytest.raises(SystemExit, match="DATABASE_OWNER_URL not set"):
            admitted()
    finally:
        login = first["DATABASE_URL"].partition("//")[2].partition(":")[0]
        superuser.execute(f"DROP ROLE {login}")


@contextmanager
def web(environment: dict[str, str], place: Path, log: Path) -> Iterator[None]:
    """Run the web server with a socket for nodes."""
    command = [
        sys.executable,
        "-m",
        "deploy.server.web",
        "--port",
        str(free_port()),
        "--processes",
        "1",
        "--nodes",
        str(place),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_a_node_asks_at_a_socket_where_nothing_else_answers(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    place = tmp_path / "nodes.sock"
    base = f"unix:{place}"

    def answer(path: str, body: bytes | None = b"{}") -> tuple[int, bytes]:
        url = straight.url(base, path)
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with straight.opener(base).open(request, timeout=30) as found:
                return found.status, found.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def answers() -> bool:
        try:
            return answer("/node/v1/key/")[0] == 400
        except OSError:  # nobody listens yet
            return False

    with web(process_environment("app", EXCHEQUER_PUBLIC_URL="https://exchequer.example"), place, tmp_path / "web.log"):
        wait_until(answers, "the socket answers")
        assert place.stat().st_mode & 0o777 == 0o660
        work = {"tenant": "0" * 32, "kind": "attempt", "id": "0" * 32, "token": 1}
        status, said = answer("/node/v1/key/", json.dumps(work).encode())
        assert (status, json.loads(said)["code"]) == (401, "not_a_node")
        for elsewhere in ("/", "/healthz", "/api/v1/me/", "/accounts/login/"):
            assert answer(elsewhere, None)[0] == 404


def test_a_secret_is_sent_where_nobody_else_can_read_it() -> None:
    safe = (
        "https://exchequer.example",
        "http://127.0.0.1:8000",
        "http://localhost:8000",
        "unix:/run/platform/nodes.sock",
    )
    unsafe = ("", "http://web:8000", "unix:nodes.sock", "unix://web/nodes.sock", "ftp://exchequer.example", "https://")
    assert [one for one in (*safe, *unsafe) if node_settings.is_safe(one)] == list(safe)
    for url in ("http://console.example", "unix:/run/platform/nodes.sock", "console.example"):
        with pytest.raises(node_join.Refused):
            node_join.join(url, "token", Path("/nowhere/node.env"))
