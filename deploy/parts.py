"""What `make up` runs: each part's command, its readiness, and the few secrets that it may hold."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from deploy.home import LOG_BYTES, MASTER_KEYS, Home
from deploy.postgres import Cluster, StartError
from deploy.services import WEED_PORTS, SeaweedFS, Valkey
from deploy.supervisor import Part

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]
CELERY = [
    sys.executable,
    "-m",
    "celery",
    "-A",
    "config",
    "worker",
    "--without-gossip",
    "--without-mingle",
    "--loglevel=INFO",
]
DATABASE_URLS = {"app": "DATABASE_URL", "control": "DATABASE_CONTROL_URL", "owner": "DATABASE_OWNER_URL"}
#: Variables that only some parts may see; every part starts without them.
GUARDED = (
    *DATABASE_URLS.values(),
    "EXCHEQUER_INIT_TENANT",
    "EXCHEQUER_INIT_EMAIL",
    "EXCHEQUER_INIT_PASSWORD",
    "EXCHEQUER_INIT_API_KEY",
)
SECRETS = (
    *GUARDED,
    "SECRET_KEY",
    "BROKER_URL",
    "CACHE_URL",
    "S3_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
FAMILIES = ("EXCHEQUER_", "S3_", "AWS_", "STRIPE_", "EMAIL_", "ALLOWED_", "CSRF_")


@dataclass
class Plan:
    """What runs here, what is given from outside, and the environments of the processes."""

    home: Home
    given: dict[str, str]
    http_port: int
    serving_port: int
    cluster: Cluster | None
    valkey: Valkey | None
    seaweedfs: SeaweedFS | None
    shared: dict[str, str]
    databases: dict[str, str]
    master: dict[str, str]
    master_made: Path | None = None

    @property
    def url(self) -> str:
        """Where people find the product."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def serving_url(self) -> str:
        """Where programs send what is to be predicted."""
        return f"http://127.0.0.1:{self.serving_port}"

    @property
    def bucket(self) -> str:
        """The bucket for objects."""
        return self.shared["S3_BUCKET"]

    def environment(self, role: str, **more: str) -> dict[str, str]:
        """Return the environment of a process that works as one database role: with that role's URL and no other."""
        return self.shared | {DATABASE_URLS[role]: self.databases[role], "EXCHEQUER_DB_ROLE": role} | more

    def for_commands(self) -> dict[str, str]:
        """Return what `manage.py` needs when a person types a command beside the running product."""
        settings = {name: value for name, value in self.shared.items() if name.startswith(FAMILIES) or name in SECRETS}
        return settings | self.master | {DATABASE_URLS[role]: url for role, url in self.databases.items()}


def plan(home: Home, variables: Mapping[str, str]) -> Plan:
    """Decide what to start from the variables of the caller; raise `StartError` naming what is missing or wrong."""
    given = with_secret_files(variables)
    kept = home.secrets()
    ports = kept["ports"]
    databases = {role: given.get(name, "") for role, name in DATABASE_URLS.items()}
    cluster = None
    if not any(databases.values()):
        cluster = Cluster(home.path / "postgres", kept["database"])
        databases = {role: cluster.url(f"exchequer_{role}") for role in DATABASE_URLS}
    elif not all(databases.values()):
        missing = [name for role, name in DATABASE_URLS.items() if not databases[role]]
        raise StartError(
            f"with a database of your own, all three URLs are needed; missing: {', '.join(missing)} (see deploy/roles.sql)"
        )

    valkey = None if given.get("BROKER_URL") else Valkey(home.path / "valkey", ports["valkey"], kept["valkey"])
    seaweedfs = None
    if not given.get("S3_ENDPOINT_URL"):
        weed_ports = {name: ports[name] for name in WEED_PORTS}
        seaweedfs = SeaweedFS(home.path / "seaweedfs", weed_ports, kept["s3_access_key"], kept["s3_secret_key"])
    elif not given.get("AWS_ACCESS_KEY_ID") or not given.get("AWS_SECRET_ACCESS_KEY"):
        raise StartError("with an object store of your own, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed")

    master, made = home.master_key(given)
    shared = {name: value for name, value in given.items() if name not in (*GUARDED, *MASTER_KEYS)}
    defaults = {
        "SECRET_KEY": kept["secret_key"],
        "BROKER_URL": valkey.url if valkey else "",
        "CACHE_URL": f"{valkey.url.removesuffix('/0')}/1" if valkey else "",
        "S3_ENDPOINT_URL": seaweedfs.url if seaweedfs else "",
        "S3_BUCKET": "exchequer",
        "AWS_ACCESS_KEY_ID": kept["s3_access_key"],
        "AWS_SECRET_ACCESS_KEY": kept["s3_secret_key"],
        "EXCHEQUER_SANDBOX": "best_effort",
        "EXCHEQUER_DEMO": "1",
        "EXCHEQUER_NODE_ID": socket.gethostname(),
        "PYTHONUNBUFFERED": "1",
    }
    shared = defaults | {name: value for name, value in shared.items() if value} | {"EXCHEQUER_HOME": str(home.path)}
    http_port, serving_port = (
        _port(given, "EXCHEQUER_HTTP_PORT", "8000"),
        _port(given, "EXCHEQUER_SERVING_PORT", "8001"),
    )
    return Plan(home, given, http_port, serving_port, cluster, valkey, seaweedfs, shared, databases, master, made)


def with_secret_files(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with `NAME_FILE` replaced by the content of that file, for every secret."""
    result = dict(variables)
    for name in SECRETS:
        file = result.pop(f"{name}_FILE", "")
        if file and not result.get(name):
            try:
                result[name] = Path(file).read_text().strip()
            except OSError as error:
                raise StartError(f"{name}_FILE: cannot read {file}: {error.strerror}") from error
    return result


def postgres(cluster: Cluster) -> Part:
    """The database server. When the supervisor dies it still shuts down in order."""
    return Part(
        name="postgres",
        command=cluster.command(),
        environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        prepare=cluster.prepare,
        ready=cluster.ready,
        stop_signal=signal.SIGINT,
        grace_s=6,
        orphan_signal=signal.SIGINT,
        account=(cluster.account.uid, cluster.account.gid) if os.geteuid() == 0 else None,
    )


def valkey(server: Valkey) -> Part:
    """The broker."""
    return Part(
        name="valkey",
        command=server.command(),
        environment={"PATH": os.defpath},
        prepare=server.prepare,
        ready=server.ready,
        grace_s=2,
    )


def seaweedfs(server: SeaweedFS, bucket: str) -> Part:
    """The object store. It writes through at once, so a short grace loses nothing; its own way down takes fifteen seconds."""
    return Part(
        name="seaweedfs",
        command=server.command(),
        environment={"PATH": os.defpath, "HOME": str(server.folder)},
        prepare=server.prepare,
        ready=lambda within_s: server.ready(within_s) and server.make_bucket(bucket, within_s),
        grace_s=2,
    )


def web(plan: Plan, listener: socket.socket) -> Part:
    """The web server on a socket that the supervisor holds: while it restarts, connections wait instead of failing."""
    return Part(
        name="web",
        command=[sys.executable, "-m", "deploy.web", "--fd", str(listener.fileno())],
        environment=plan.environment(
            "app", PROMETHEUS_MULTIPROC_DIR=str((plan.home.run / "web-counts").absolute()), **plan.master
        ),
        cwd=str(ROOT),
        ready=lambda within_s: answers(f"{plan.url}/readyz", within_s),
        pass_fds=(listener.fileno(),),
    )


def serving(plan: Plan, listener: socket.socket) -> Part:
    """The node that answers predictions, in one process: batches are made of all requests of an endpoint.

    Its way down: answer, record, account for it, give back the money that it holds.
    """
    return Part(
        name="serving",
        command=[sys.executable, "-m", "deploy.serving", "--fd", str(listener.fileno())],
        environment=plan.environment("app", OMP_NUM_THREADS="1", **plan.master),
        cwd=str(ROOT),
        ready=lambda within_s: answers(f"{plan.serving_url}/readyz", within_s),
        pass_fds=(listener.fileno(),),
    )


def ops(plan: Plan) -> Part:
    """The worker for mail, webhooks, invoices, exports and events."""
    command = [*CELERY, "--queues=ops", "--pool=threads", "--concurrency=4", "--hostname=ops@%h"]
    return _worker(plan, "ops", command, plan.environment("control", **plan.master))


def node(plan: Plan) -> Part:
    """This machine's worker: one thread a device, each watching over the child that trains."""
    name = plan.shared["EXCHEQUER_NODE_ID"]
    devices = int(plan.shared.get("EXCHEQUER_CPU_DEVICES") or 0) or os.cpu_count() or 1
    command = [
        *CELERY,
        f"--queues=node.{name}",
        "--pool=threads",
        f"--concurrency={devices}",
        f"--hostname=node@{name}",
    ]
    return _worker(plan, "node", command, plan.environment("app", **plan.master))


def controller(plan: Plan) -> Part:
    """The leader loop: assigns, reaps, relays events, fires schedules."""
    return Part(
        name="controller", command=[*MANAGE, "controller"], environment=plan.environment("control"), cwd=str(ROOT)
    )


def stop_demo_clock(plan: Plan) -> None:
    """Show the real time again: a demo that was killed while it was loaded left the database's clock moved."""
    with psycopg.connect(plan.databases["owner"], autocommit=True) as owner:
        owner.execute("DELETE FROM demo_clock")


def answers(url: str, within_s: float) -> bool:
    """Return whether a GET of a page on this machine answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=within_s) as response:  # noqa: S310 (a fixed loopback address)
            return bool(response.status == 200)
    except OSError:
        return False


def _worker(plan: Plan, name: str, command: list[str], environment: dict[str, str]) -> Part:
    log = plan.home.log(name)
    start = 0

    def remember_end_of_log() -> None:
        nonlocal start
        start = log.stat().st_size if log.exists() and log.stat().st_size <= LOG_BYTES else 0

    def says_ready(within_s: float) -> bool:
        if not log.exists():
            return False
        with log.open("rb") as file:
            file.seek(start)
            return b" ready." in file.read()

    return Part(
        name=name,
        command=command,
        environment=environment,
        cwd=str(ROOT),
        prepare=remember_end_of_log,
        ready=says_ready,
    )


def _port(given: Mapping[str, str], name: str, usual: str) -> int:
    text = given.get(name) or usual
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise StartError(f"{name} is {text!r}: a number from 1 to 65535 is needed")
    return int(text)
