"""`make up`, started for real: the console's output, and what is left when it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import procfs
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

# One start serves the whole module: on one worker.
pytestmark = pytest.mark.xdist_group("local")

ROOT = Path(__file__).resolve().parents[3]
PARTS = {
    "postgres",
    "valkey",
    "seaweedfs",
    "web",
    "operator",
    "serving",
    "usage",
    "ops",
    "node",
    "controller",
    "fetcher",
}
# The limit is 15 s, but another test and its servers share the two cores. A machine with a slower ordinary start is
# slower here too.
READY_AGAIN_S = 30
UP_S = 300
OPERATOR = {
    "EXCHEQUER_INIT_OPERATOR_EMAIL": "root@platform.example",
    "EXCHEQUER_INIT_OPERATOR_PASSWORD": "a long pass phrase",
    "EXCHEQUER_INIT_OPERATOR_API_KEY": "xop_given-to-the-first-start-of-all",
}


class Console:
    """One run of the local stack and its output."""

    def __init__(self, home: Path, port: int, **more: str) -> None:
        self.home, self.port = home, port
        self.serving_port, self.operator_port, self.ingest_port = free_port(), free_port(), free_port()
        self.output = home.parent / f"{home.name}-{time.monotonic_ns()}.out"
        variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
        variables |= {"EXCHEQUER_HOME": str(home), "EXCHEQUER_HTTP_PORT": str(port), "EXCHEQUER_DEMO": "0"}
        variables |= {
            "EXCHEQUER_SERVING_PORT": str(self.serving_port),
            "EXCHEQUER_OPERATOR_PORT": str(self.operator_port),
            "EXCHEQUER_INGEST_PORT": str(self.ingest_port),
        }
        variables |= more
        self.began, self.took = time.monotonic(), 0.0
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local"],
                cwd=ROOT,
                env=variables,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def said(self, text: str) -> bool:
        return text in self.output.read_text()

    def wait_up(self) -> float:
        wait_until(
            lambda: self.said(f"Exchequer is up: http://127.0.0.1:{self.port}") or self.process.poll() is not None,
            "it says that it is up",
            UP_S,
        )
        assert self.process.poll() is None, self.output.read_text()
        self.took = time.monotonic() - self.began
        return self.took

    def pid(self, name: str) -> int:
        return int((self.home / "run" / f"{name}.pid").read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(25)


def left_over(home: Path) -> list[str]:
    """Return the command lines of processes that belong to the home, by their arguments or their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and procfs.alive(int(entry.name)):
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(home) in words:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="exqup-", dir="/tmp"))
    yield folder / "home"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def runs(home: Path) -> Iterator[list[Console]]:
    """The runs on the home, the last one last; what still runs after the module is stopped."""
    consoles: list[Console] = []
    yield consoles
    for console in consoles:
        if console.process.poll() is None:
            console.stop()


@pytest.fixture
def running(home: Path, runs: list[Console]) -> Console:
    """A run that is up: the last one, or a new one if a test ended it (tests come in any order)."""
    if not runs or runs[-1].process.poll() is not None:
        owner = {"EXCHEQUER_INIT_EMAIL": "o@acme.example", "EXCHEQUER_INIT_PASSWORD": "a long pass phrase"}
        runs.append(Console(home, free_port(), EXCHEQUER_INIT_TENANT="Acme", **owner, **OPERATOR))
        runs[-1].wait_up()
    return runs[-1]


def test_a_start_shows_each_step_and_serves(running: Console) -> None:
    for part in PARTS:
        assert running.said(f"starting {part}")
        assert running.said(f"{part} is ready")
    assert running.said("migrating the database")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/readyz", timeout=60) as answer:
        assert answer.status == 200
    assert running.said(f"Predictions are answered at http://127.0.0.1:{running.serving_port}")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.serving_port}/v2/health/ready", timeout=60) as answer:
        assert answer.status == 200
    assert {path.stem for path in (running.home / "run").glob("*.pid")} == PARTS | {"up"}
    assert all((running.home / "logs" / f"{part}.log").exists() for part in PARTS)


def test_the_first_operator_is_named_and_asks_with_the_key_that_was_given(running: Console) -> None:
    assert running.said(f"Operators' console: http://127.0.0.1:{running.operator_port}")
    said = [file.read_text() for file in running.home.parent.glob(f"{running.home.name}-*.out")]
    assert sum("root@platform.example is platform_admin" in text for text in said) == 1, "at the first start"
    asked = urllib.request.Request(
        f"http://127.0.0.1:{running.operator_port}/api/operator/v1/me/",
        headers={"Authorization": f"Bearer {OPERATOR['EXCHEQUER_INIT_OPERATOR_API_KEY']}"},
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 (loopback)
        assert json.load(answer)["roles"] == ["platform_admin"]


def test_the_counts_of_all_web_processes_are_added_up(running: Console) -> None:
    """Any process reports the counts of all, with the route instead of `/t/NAME/`."""

    def asked(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def counted(text: str) -> float:
        line = re.search(
            r'^exchequer_http_requests_total\{method="GET",route="/healthz",status="200"\} (.+)$', text, re.M
        )
        return float(line[1]) if line else 0.0

    before = counted(asked("/metrics"))
    for _ in range(12):
        asked("/healthz")
    assert [counted(asked("/metrics")) - before for _ in range(8)] == [12.0] * 8


def test_each_process_holds_only_the_database_urls_it_may(running: Console) -> None:
    allowed = {
        "web": {"DATABASE_URL"},
        "operator": {"DATABASE_OPERATOR_URL"},
        "serving": {"DATABASE_URL"},
        "usage": {"DATABASE_URL"},
        "node": {"DATABASE_URL"},
        "ops": {"DATABASE_CONTROL_URL"},
        "controller": {"DATABASE_CONTROL_URL"},
    }
    for part in PARTS:
        variables = Path(f"/proc/{running.pid(part)}/environ").read_bytes().decode()
        assert set(re.findall(r"DATABASE\w*URL", variables)) == allowed.get(part, set()), part
        assert "EXCHEQUER_INIT_" not in variables, part


def test_only_those_that_open_secrets_hold_the_master_key(running: Console) -> None:
    holders = {
        part
        for part in PARTS
        if "EXCHEQUER_MASTER_KEY" in Path(f"/proc/{running.pid(part)}/environ").read_bytes().decode()
    }
    # The usage server writes audit entries, whose labels are encrypted; it holds no key of a store or the broker.
    assert holders == {"web", "usage", "ops"}
    variables = Path(f"/proc/{running.pid('usage')}/environ").read_bytes().decode()
    assert not re.search(r"(AWS_|S3_|STRIPE_|BROKER_URL)", variables)
    for part in ("node", "serving"):
        node = Path(f"/proc/{running.pid(part)}/environ").read_bytes().decode()
        assert not re.search(r"(^|\0)(AWS_|S3_|STRIPE_|SECRET_KEY|CACHE_URL)", node), "it is handed what its work needs"
        assert "EXCHEQUER_NODE_SECRET=" in node
        assert ("EXCHEQUER_SERVING_KEY=" in node, "BROKER_URL=" in node) == (part == "serving", part == "node")
    said = [file.read_text() for file in running.home.parent.glob(f"{running.home.name}-*.out")]
    assert sum(text.count(f"made the master key {running.home / 'master.key'}") for text in said) == 1, (
        "at the first start"
    )


def test_the_fetcher_holds_nothing_and_only_its_user_reaches_it(running: Console) -> None:
    variables = Path(f"/proc/{running.pid('fetcher')}/environ").read_bytes().decode().strip("\0").split("\0")
    assert [name.partition("=")[0] for name in variables] == ["PATH"]
    assert (running.home / "run" / "fetcher.sock").stat().st_mode & 0o777 == 0o600


def test_only_ops_holds_the_key_of_checkpoints(running: Console) -> None:
    holders = {
        part
        for part in PARTS
        if "EXCHEQUER_AUDIT_KEY" in Path(f"/proc/{running.pid(part)}/environ").read_bytes().decode()
    }
    assert holders == {"ops"}


def test_secrets_are_readable_by_their_owner_only(running: Console) -> None:
    for name in (
        "secrets.json",
        "master.key",
        "audit.key",
        "environment.json",
        "valkey/valkey.conf",
        "seaweedfs/s3.json",
    ):
        assert (running.home / name).stat().st_mode & 0o077 == 0, name


def test_a_second_start_on_the_same_home_is_refused(running: Console) -> None:
    second = Console(running.home, free_port())
    assert second.process.wait(90) == 1
    assert second.said(f"Exchequer already runs on {running.home} (process {running.process.pid})")


@pytest.mark.parametrize(
    "part",
    [
        "postgres",
        "fetcher",
        *(pytest.param(part, marks=pytest.mark.nightly) for part in ("valkey", "serving", "web", "node")),
    ],
)
def test_a_killed_part_is_named_and_started_again(running: Console, part: str) -> None:
    before = running.pid(part)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.said(f"{part} was killed by SIGKILL") and running.said(f"{part} is back"), "it is back")
    assert running.pid(part) != before


@pytest.mark.nightly
@pytest.mark.last
def test_after_kill_9_of_the_supervisor_nothing_runs_and_a_new_start_copes(
    running: Console, home: Path, runs: list[Console]
) -> None:
    running.process.kill()
    running.process.wait()
    wait_until(lambda: not left_over(home), "all parts are gone")
    assert (home / "run" / "postgres.pid").exists()  # nothing was left to remove it

    again = Console(home, running.port)
    runs.append(again)
    took = again.wait_up()
    try:
        assert took < max(READY_AGAIN_S, 1.5 * running.took)
    finally:
        began = time.monotonic()
        code = again.stop()
    assert code == 0
    assert time.monotonic() - began < 20
    assert left_over(home) == []
    assert not list((home / "run").glob("*.pid"))
    assert (home / "postgres" / "data" / "PG_VERSION").exists()


def test_a_port_in_use_is_found_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        console = Console(tmp_path / "h", port)
        assert console.process.wait(90) == 1
    assert console.said(f"port {port} cannot be used")
    assert console.said("EXCHEQUER_HTTP_PORT=")
    assert not list((tmp_path / "h" / "run").glob("[!u]*.pid"))


def test_a_home_with_a_long_path_is_refused_with_the_cure(tmp_path: Path) -> None:
    console = Console(tmp_path / ("long" * 25), free_port())
    assert console.process.wait(90) == 1
    assert console.said("set EXCHEQUER_HOME to a shorter path")


def test_one_database_url_of_four_is_refused_with_the_missing_names(tmp_path: Path) -> None:
    console = Console(tmp_path / "h", free_port(), DATABASE_URL="postgresql://a@127.0.0.1/x")
    assert console.process.wait(90) == 1
    assert console.said("missing: DATABASE_CONTROL_URL, DATABASE_OWNER_URL, DATABASE_OPERATOR_URL")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"EXCHEQUER_HTTP_PROT": "8123"}, "EXCHEQUER_HTTP_PROT is not a setting: did you mean EXCHEQUER_HTTP_PORT?"),
        ({"EXCHEQUER_CPU_DEVICES": "two"}, "EXCHEQUER_CPU_DEVICES: Input should be a valid integer"),
        (
            {"EXCHEQUER_MASTER_KEY_PREVIOUS_FILE": "/nowhere"},
            "EXCHEQUER_MASTER_KEY_PREVIOUS_FILE: cannot read /nowhere",
        ),
        ({"EMAIL_URL_FILE": "/nowhere"}, "EMAIL_URL_FILE: cannot read /nowhere"),
        ({"EXCHEQUER_METRICS_TOKEN_FILE": "/dev/null"}, "EXCHEQUER_METRICS_TOKEN_FILE: /dev/null is empty"),
    ],
)
def test_a_mistyped_setting_ends_the_start_with_a_message(given: dict[str, str], said: str, tmp_path: Path) -> None:
    console = Console(tmp_path / "h", free_port(), **given)
    assert console.process.wait(90) == 1
    assert console.said(said)
    assert not console.said("Traceback") and not console.said("starting postgres")


@pytest.mark.parametrize("place", ["/proc/exchequer", "/dev/full", "file/below", "taken"])
def test_a_home_that_cannot_be_written_is_refused_with_the_cure(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken/run/up.lock").mkdir(parents=True)
    console = Console(tmp_path / "h", free_port(), EXCHEQUER_HOME=str(tmp_path / place))
    assert console.process.wait(90) == 1
    assert console.said("set EXCHEQUER_HOME")
    assert not console.said("Traceback")


def test_a_damaged_file_of_secrets_is_named(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h/secrets.json").write_text('{"ports": ')
    console = Console(tmp_path / "h", free_port())
    assert console.process.wait(90) == 1
    assert console.said(f"{tmp_path}/h/secrets.json is damaged")
    assert not console.said("Traceback")
