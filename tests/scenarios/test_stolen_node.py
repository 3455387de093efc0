"""A thief with the credentials of a node's worker, on the real product (T1)."""

import os
import shlex
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from tests.scenarios.stack import ROOT, Stack
from tests.support.datasets import csv_bytes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("walks")


def test_the_login_of_a_node_shows_an_organisation_only_while_it_works_for_it(stack: Stack) -> None:
    url = stack.environment("node")["DATABASE_URL"]
    assert url.startswith("postgresql://exchequer_node_"), "the worker logs in as its node"
    dataset = stack.upload("stolen", csv_bytes("digits"), "target")
    with psycopg.connect(url, autocommit=True) as thief:

        def seen() -> list[int]:
            tables = ("tenants_tenant", "compute_job", "tenants_datakey", "models_app_dataset", "billing_contract")
            return [len(thief.execute(f"SELECT FROM {table}").fetchall()) for table in tables]

        assert seen() == [0] * 5, "no organisation is named"
        thief.execute("SELECT set_config('app.tenant', %s, false)", [stack.get("me/")["tenant"]["id"]])
        assert seen() == [0] * 5, "it does no work"
        job = stack.launch(dataset, params={"epochs": 50, "patience": 50, "width": 512, "layers": 4})
        wait_until(lambda: stack.job(job)["state"] == "running", "the job runs")
        tenant, jobs, *_ = seen()
        assert (tenant, jobs) == (1, 1), "the job that it runs, and no other"
        for refused in ("SELECT email FROM tenants_user", "SELECT * FROM tenants_auditentry", "SET ROLE exchequer_app"):
            with pytest.raises(psycopg.Error, match="permission denied"):
                thief.execute(refused)
        stack.post(f"jobs/{job}/cancel/", status=200)
        stack.wait_ended(job)
        wait_until(lambda: seen() == [0] * 5, "the work is over, its child has ended")
    assert "permission denied" not in stack.log("node")


def test_a_thief_of_a_node_finds_no_key_and_is_handed_nothing_of_others(stack: Stack) -> None:
    stolen, web = stack.environment("node"), stack.environment("web")
    for name in ("SECRET_KEY", "EXCHEQUER_MASTER_KEY", "EXCHEQUER_MASTER_KEY_FILE", "AWS_SECRET_ACCESS_KEY"):
        assert name not in stolen
    assert web["SECRET_KEY"] not in stolen.values(), "no cookie can be signed"
    serving = stack.environment("serving")
    assert not {"SECRET_KEY", "EXCHEQUER_MASTER_KEY_FILE", "AWS_SECRET_ACCESS_KEY"} & serving.keys()
    assert not {web["SECRET_KEY"], stolen["EXCHEQUER_NODE_SECRET"]} & set(serving.values())
    assert len({one["DATABASE_URL"] for one in (web, stolen, serving)}) == 3, "each logs in as itself"
    with psycopg.connect(serving["DATABASE_URL"], autocommit=True) as thief:
        thief.execute("SELECT set_config('app.tenant', %s, false)", [stack.get("me/")["tenant"]["id"]])
        for table in ("tenants_tenant", "models_app_endpoint", "models_app_servingslice", "billing_contract"):
            assert thief.execute(f"SELECT FROM {table}").fetchall() == [], "it serves nothing of this organisation"
        for refused in (
            "SELECT * FROM compute_job",
            "SELECT key_hash FROM models_app_endpointkey",
            "SET ROLE exchequer_app",
        ):
            with pytest.raises(psycopg.Error, match="permission denied"):
                thief.execute(refused)

    def asked(what: str, secret: str, **more: object) -> int:
        sent = {"tenant": stack.get("me/")["tenant"]["id"], "kind": "attempt", "token": 1, **more}
        answer = requests.post(
            f"{stolen['EXCHEQUER_PLATFORM_URL']}/node/v1/{what}/",
            json=sent,
            headers={"Authorization": f"Bearer {secret}"},
            timeout=30,
        )
        return answer.status_code

    dataset = stack.upload("finished", csv_bytes("breast_cancer"), "target")
    job = stack.launch(dataset, params={"epochs": 2})
    assert stack.wait_ended(job)["state"] == "succeeded", "with what it was handed it stages, saves and stores"
    secret = stolen["EXCHEQUER_NODE_SECRET"]
    assert asked("key", secret, id=str(uuid.uuid4())) == 403
    assert asked("key", "guessed", id=str(uuid.uuid4())) == 401
    command = [sys.executable, "manage.py", "config"]
    refused = stolen | {"SECRET_KEY": "x" * 40, "EXCHEQUER_MASTER_KEY_FILE": str(stack.home / "master.key")}
    said = subprocess.run(command, cwd=ROOT, env=refused, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode != 0
    assert "EXCHEQUER_MASTER_KEY_FILE: this machine is a node, and must not hold it" in said.stdout + said.stderr


def test_a_second_machine_joins_with_a_token_and_is_ended(stack: Stack, tmp_path: Path) -> None:
    file, console = tmp_path / "node.env", f"http://127.0.0.1:{stack.variables['EXCHEQUER_OPERATOR_PORT']}"

    def join(token: str, url: str = console) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", "node", "join", "--url", url, "--token", token, "--to", str(file)]
        kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # a new machine has no settings
        return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=60, check=False)

    token = stack.manage("node", "token", "second").stdout.strip()
    assert "https://" in join(token, "http://console.example").stderr, "not over http to another machine"
    assert "no token" in join("guessed").stderr
    assert not file.exists()
    joined = join(token)
    assert (joined.returncode, file.stat().st_mode & 0o777) == (0, 0o600), joined.stderr
    assert "was used" in join(token).stderr
    given = dict(line.split("=", 1) for line in shlex.split(file.read_text()))
    password = urlsplit(given["DATABASE_URL"]).password
    assert password
    assert password not in joined.stdout + joined.stderr

    home = {"EXCHEQUER_HOME": str(tmp_path / "home"), "EXCHEQUER_CPU_DEVICES": "1"}
    with (tmp_path / "second.log").open("wb") as log, psycopg.connect(given["DATABASE_URL"], autocommit=True) as link:
        command = [sys.executable, "-m", "deploy.server.worker", "node"]
        worker = subprocess.Popen(
            command, cwd=ROOT, env=stack.environment("node") | given | home, stdout=log, stderr=log
        )
        try:
            seen = "SELECT FROM compute_device d JOIN compute_node n ON n.id = d.node_id WHERE n.name = 'second'"
            wait_until(lambda: link.execute(seen).fetchone() is not None, "the second machine shows its device")
            ended = stack.manage("node", "end", "second")
            assert ended.returncode == 0, ended.stderr
            with pytest.raises(psycopg.OperationalError):
                link.execute("SELECT 1")
        finally:
            worker.kill()
            worker.wait()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(given["DATABASE_URL"])
