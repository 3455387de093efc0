"""A thief with the credentials of a node's worker, on the real product (T1)."""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from celery import Celery
from django.core import signing
from redis import Redis
from redis.exceptions import ResponseError

from tests.scenarios.stack import ROOT, Stack
from tests.support.datasets import csv_bytes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("walks")


def test_the_login_of_a_node_shows_an_organisation_only_while_it_works_for_it(stack: Stack) -> None:
    url = stack.environment("node")["DATABASE_URL"]
    assert url.startswith("postgresql://exchequer_node_"), "the worker logs in as its node"
    before = len(stack.log("node"))  # what another test forged is refused there, too
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
    assert "permission denied" not in stack.log("node")[before:]


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


def test_messages_that_a_thief_forges_or_takes_change_nothing(stack: Stack) -> None:
    """A message is a wake-up: what it names is read in the database, and what is lost is sent again. With all of the broker's rights."""
    stolen, web = stack.environment("node"), stack.environment("web")
    tenant, node = stack.get("me/")["tenant"]["id"], f"node.{stolen['EXCHEQUER_NODE_ID']}"
    dataset = stack.upload("woken", csv_bytes("breast_cancer"), "target")
    first = stack.wait_ended(stack.launch(dataset, params={"epochs": 2}))
    with psycopg.connect(web["DATABASE_URL"], autocommit=True) as link:
        link.execute("SELECT set_config('app.tenant', %s, false)", [tenant])
        files = [
            key
            for row in link.execute("SELECT source_key, data_key FROM models_app_datasetversion")
            for key in row
            if key
        ]
        attempts = [str(one) for (one,) in link.execute("SELECT id FROM compute_attempt")]
        counted = "SELECT (SELECT count(*) FROM compute_attempt), (SELECT count(*) FROM billing_usageevent), (SELECT sum(amount) FROM billing_usageevent)"
        before = link.execute(counted).fetchone()
        broker = Redis.from_url(web["BROKER_URL"])
        forger = Celery(broker=web["BROKER_URL"], set_as_current=False)
        taken = ("unacked", f"unacked.{stolen['EXCHEQUER_NODE_ID']}")
        nobody = str(uuid.uuid4())
        for attempt in (*attempts, nobody):
            for token in (0, 1, 2, 99):
                for place in (node, "ops", "node.other"):
                    forger.send_task("compute.run_attempt", (tenant, attempt, token), queue=place)
        for name, arguments in (
            ("models_app.discard", (files, tenant)),
            ("models_app.remove_job_files", (first["id"], tenant)),
            ("models_app.ingest", (nobody, tenant)),
            ("tenants.deliver", (nobody, tenant)),
            ("compute.run_attempt", ("no id", "none", "none")),
            ("compute.call_node", ()),
            ("billing.run_periods", ()),
            ("os.system", ("true",)),
        ):
            for place in (node, "ops"):
                forger.send_task(name, arguments, queue=place)
        forger.send_task("tenants.deliver", (nobody, tenant), queue="ops", serializer="pickle")
        wait_until(lambda: not any((*map(broker.llen, (node, "ops")), *map(broker.hlen, taken))), "all were read", 120)
        assert link.execute(counted).fetchone() == before, "nothing ran or was billed again"
    assert stack.job(first["id"]) == first
    job = stack.launch(dataset, params={"epochs": 2})
    for _ in range(50):
        broker.delete(node, "ops")  # a thief who reads the queues of others takes their messages away
    ended = stack.wait_ended(job, 300)
    assert (ended["state"], len([one for one in ended["attempts"] if float(one["billed_seconds"]) > 0])) == (
        "succeeded",
        1,
    )
    assert stack.get("audit/verify/")["ok"] is True
    for command in ("verify_ledger", "reconcile"):
        assert stack.manage(command).returncode == 0
    broker.delete("node.other")


def test_the_broker_lets_a_node_read_its_own_queue_and_no_other(stack: Stack) -> None:
    stolen = stack.environment("node")
    own, broker = f"node.{stolen['EXCHEQUER_NODE_ID']}", Redis.from_url(stolen["BROKER_URL"])
    before = len(stack.log("node"))
    broker.llen(own)  # its own is open to it
    refused: tuple[Callable[[], object], ...] = (
        lambda: broker.lrange("ops", 0, -1),
        lambda: broker.lpush("ops", "forged"),
        lambda: broker.rpop("node.other"),
        lambda: broker.lpush("node.other", "forged"),
        lambda: broker.hgetall("unacked"),
        lambda: broker.sadd("_kombu.binding.ops", "mine"),
        lambda: broker.set("another", "1"),
        lambda: broker.eval("return redis.call('lrange', 'ops', 0, -1)", 0),
        lambda: broker.publish("any", "forged"),
        broker.keys,
        broker.scan,
        broker.flushdb,
        broker.config_get,
        broker.acl_list,
        broker.client_list,
    )
    for attempt in refused:
        with pytest.raises(ResponseError, match=r"(?i)permission"):
            attempt()
    assert "NoPermissionError" not in stack.log("node")[before:]


def test_a_session_that_a_thief_forges_opens_nothing(stack: Stack) -> None:
    """A cookie names a row that the web process wrote; a node can neither read nor write one."""
    stolen, serving = stack.environment("node"), stack.environment("serving")
    kept = (stolen["EXCHEQUER_NODE_SECRET"], serving["EXCHEQUER_SERVING_KEY"], serving["EXCHEQUER_NODE_SECRET"])
    content = {
        "_auth_user_id": stack.get("me/")["tenant"]["id"],
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    }
    forged = [signing.dumps(content, key=key, salt="django.contrib.sessions.backends.signed_cookies") for key in kept]
    for cookie in (*forged, *kept, "a" * 32):
        answer = requests.get(f"{stack.url}/t/lab/", cookies={"exchequer": cookie}, allow_redirects=False, timeout=30)
        assert (answer.status_code, "/login" in answer.headers["Location"]) == (302, True)
    for url in (stolen["DATABASE_URL"], serving["DATABASE_URL"]):
        with psycopg.connect(url, autocommit=True) as thief:
            for refused in ("SELECT * FROM tenants_session", "INSERT INTO tenants_session VALUES ('a', '', now())"):
                with pytest.raises(psycopg.Error, match="permission denied"):
                    thief.execute(refused)


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
