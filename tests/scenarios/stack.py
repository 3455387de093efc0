"""The whole product as `make up` starts it, in its own home: the basis of scenarios and fault runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.support.servers import kept_data
from tests.support.servers.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
READY_S = 600
STOP_S = 20


class Stack:
    """One running installation with an organisation `lab` and an API key with all scopes."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.email, self.password = "olga@lab.example", secrets.token_urlsafe(12)
        self.key = f"exq_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
        self.variables = {
            "EXCHEQUER_HOME": str(home),
            "EXCHEQUER_HTTP_PORT": str(self.port),
            "EXCHEQUER_SERVING_PORT": str(free_port()),
            "EXCHEQUER_OPERATOR_PORT": str(free_port()),
            "EXCHEQUER_INGEST_PORT": str(free_port()),
            "EXCHEQUER_DEMO": "0",
            "EXCHEQUER_INIT_TENANT": "Lab",
            "EXCHEQUER_INIT_EMAIL": self.email,
            "EXCHEQUER_INIT_PASSWORD": self.password,
            "EXCHEQUER_INIT_API_KEY": self.key,
            "EXCHEQUER_HEARTBEAT_S": "1",
            "EXCHEQUER_LEASE_S": "4",
            "EXCHEQUER_SWEEP_S": "1",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.console = home.with_suffix(".console")

    def fill(self) -> None:
        """Lay a migrated database into a new home, if an earlier session kept one: migrating takes ten seconds each time.

        Tests of a first start do without.
        """
        data = self.home / "postgres" / "data"
        if not data.exists() and "DATABASE_URL" not in self.variables:
            data.parent.mkdir(parents=True, exist_ok=True)
            kept_data.restore(data)

    def start(self) -> float:
        """Start and wait until it is up; return the seconds that took."""
        began = time.monotonic()
        self.begin()
        try:
            wait_until(self.said_up, "make up", READY_S)
        except AssertionError as late:
            raise AssertionError(f"{late}; its console says:\n{self.console.read_text()[-3000:]}") from None
        return time.monotonic() - began

    def begin(self) -> None:
        """Start without waiting."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "CHROMIUM")}
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local"],
                cwd=ROOT,
                env=kept | self.variables,
                stdout=console,
                stderr=console,
            )

    def said_up(self) -> bool:
        """Return whether the newest start printed its address."""
        assert self.process is not None
        text = self.console.read_text()
        assert self.process.poll() is None, f"make up ended:\n{text[-3000:]}"
        return "Exchequer is up" in text.rpartition("starting in")[2]

    def stop(self) -> float:
        """Request a clean stop; return the seconds it took. Fails if it takes longer than allowed."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return time.monotonic() - began

    def processes(self) -> list[int]:
        """Return the processes that belong to this home."""
        return processes_of(self.home)

    def pid(self, part: str) -> int:
        """Return the process id of a part: postgres, valkey, web, ops, node, controller."""
        return int((self.home / "run" / f"{part}.pid").read_text())

    def environment(self, part: str) -> dict[str, str]:
        """Return the variables that a part was started with."""
        text = Path(f"/proc/{self.pid(part)}/environ").read_text()
        return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)

    def log(self, part: str) -> str:
        """Return the log of a part."""
        return (self.home / "logs" / f"{part}.log").read_text()

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the API with the organisation's key; a relative path is below /api/v1/."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return requests.request(method, f"{self.url}/api/v1/{path}", headers=headers, timeout=30, **options)

    def get(self, path: str, **options: Any) -> Any:
        """Return the JSON of a GET that must succeed."""
        answer = self.request("GET", path, **options)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()

    def post(self, path: str, status: int = 201, **options: Any) -> Any:
        """Return the JSON of a POST that must return `status`."""
        answer = self.request("POST", path, **options)
        assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def manage(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a management command beside the running product, as a person would."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        return subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=kept | {"EXCHEQUER_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    # Frequent steps of scenarios, through the API.

    def upload(self, name: str, content: bytes, target: str) -> str:
        """Upload a CSV, wait until it is ready and return the dataset's id."""
        made = self.post(
            "datasets/", data={"name": name, "target": target}, files={"file": (f"{name}.csv", content, "text/csv")}
        )
        wait_until(lambda: self.get(f"datasets/{made['id']}/")["state"] != "ingesting", "the upload is read")
        dataset = self.get(f"datasets/{made['id']}/")
        assert dataset["state"] == "ready", dataset
        identity: str = dataset["id"]
        return identity

    def launch(self, dataset: str, recipe: str = "tabular.classifier", **more: Any) -> str:
        """Launch a training job on one CPU device; return its id."""
        body = {
            "name": "scenario",
            "kind": "train",
            "project": "default",
            "recipe": recipe,
            "dataset": dataset,
            "params": {},
            "device_class": "cpu",
            "devices": 1,
            "tier": "on_demand",
            "max_seconds": 600,
            **more,
        }
        identity: str = self.post("jobs/", json=body)["id"]
        return identity

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API shows it."""
        job: dict[str, Any] = self.get(f"jobs/{job_id}/")
        return job

    def wait_ended(self, job_id: str, seconds: float = 180) -> dict[str, Any]:
        """Wait until a job has ended and return it."""
        ended = ("succeeded", "failed", "cancelled")
        job: dict[str, Any] = wait_until(
            lambda: (found := self.job(job_id))["state"] in ended and found, f"job {job_id} ends", seconds
        )
        return job


def processes_of(home: Path) -> list[int]:
    """Return the processes that belong to a home, found by their environment or command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                text = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                ended = b"Z" in (folder / "stat").read_bytes().rpartition(b")")[2][:3]
                if str(home).encode() in text and not ended:
                    found.append(int(folder.name))
    return found


@contextlib.contextmanager
def running_stack(*, started: bool = True, **variables: str) -> Iterator[Stack]:
    """Start an installation in a temporary home and stop it at the end, checking that no process is left.

    With `started=False` the scenario starts it itself.
    """
    folder = Path(tempfile.mkdtemp(prefix="exq-"))
    stack = Stack(folder / "home", **variables)
    try:
        if started:
            stack.fill()
            stack.start()
        yield stack
        took = stack.stop()
        assert took <= STOP_S, f"stopping took {took:.0f} s"
        assert stack.processes() == []
    finally:
        for pid in stack.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if stack.process is not None:
            stack.process.wait(30)  # one that is never awaited warns when it is collected
        shutil.rmtree(folder, ignore_errors=True)
