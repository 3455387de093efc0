"""An installation whose object store and broker belong to the test, so that it can take them away."""

from __future__ import annotations

import re
import secrets
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from deploy.local.services import SEAWEED_PORTS, SeaweedFS, Valkey
from tests.scenarios.stack import Stack, running_stack
from tests.support.servers.ports import free_ports
from tests.support.waiting import wait_until

BUCKET = "exchequer"


@dataclass
class Outside:
    """A server outside the installation, started and killed by the test."""

    server: Valkey | SeaweedFS
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.server.prepare()
        with (self.server.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        server = self.server
        wait_until(server.ready, type(server).__name__)
        if isinstance(server, SeaweedFS):
            wait_until(lambda: server.make_bucket(BUCKET), "the bucket")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Parts:
    """The installation, and its outside servers."""

    stack: Stack
    store: Outside
    broker: Outside

    def person(self) -> Person:
        """Log in at the pages."""
        return Person(self.stack)


class Person:
    """A person at a browser without scripts."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.session = requests.Session()
        self.send("/accounts/login/", {"login": stack.email, "password": stack.password})

    def get(self, path: str) -> requests.Response:
        """Open a page."""
        return self.session.get(self.stack.url + path, timeout=60)

    def send(self, path: str, fields: dict[str, Any], **options: Any) -> requests.Response:
        """Open the page of a form and submit it."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path).text)
        assert token is not None, path
        sent = {**fields, "csrfmiddlewaretoken": token.group(1)}
        return self.session.post(self.stack.url + path, data=sent, timeout=60, **options)


@dataclass
class Watch:
    """Responses meanwhile: a thread keeps requesting API and pages."""

    stack: Stack
    person: Person
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send requests until stopped."""
        paths = ["me/", "jobs/", "datasets/", "spend/", "devices/"]
        turn = 0
        while not self._stop.wait(0.1):
            turn += 1
            path = paths[turn % len(paths)]
            try:
                answer = (
                    self.person.get(f"/t/lab/{'' if path == 'me/' else path}")
                    if turn % 3 == 0 and path in ("me/", "jobs/", "datasets/")
                    else self.stack.request("GET", path)
                )
            except requests.RequestException as error:
                self.faults.append(f"{path}: {error}")
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code not in (200, 503):
                self.faults.append(f"{path}: {answer.status_code} {answer.text[:300]}")
            if answer.status_code == 503 and "Retry-After" not in answer.headers:
                self.faults.append(f"{path}: a 503 that does not say when to come back")

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()


@contextmanager
def watched(parts: Parts) -> Iterator[Watch]:
    """Send requests while the block runs; only 200 and 503 are allowed."""
    watch = Watch(parts.stack, parts.person())
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join(90)
    assert watch.faults == []


@contextmanager
def running_parts(**variables: str) -> Iterator[Parts]:
    """Start everything; kill the test's own servers at the end."""
    folder = Path(tempfile.mkdtemp(prefix="exqp-"))
    ports = free_ports(len(SEAWEED_PORTS) + 1)
    weed = SeaweedFS(
        folder / "weed", dict(zip(SEAWEED_PORTS, ports[:-1], strict=True)), "outside", secrets.token_hex(16)
    )
    store, broker = Outside(weed), Outside(Valkey(folder / "valkey", ports[-1], secrets.token_hex(8)))
    try:
        store.start()
        broker.start()
        given = {
            "S3_ENDPOINT_URL": weed.url,
            "S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": weed.access_key,
            "AWS_SECRET_ACCESS_KEY": weed.secret_key,
            "BROKER_URL": broker.server.url,
            "EXCHEQUER_CPU_DEVICES": "1",
        }
        with running_stack(**{**given, **variables}) as stack:
            yield Parts(stack, store, broker)
    finally:
        store.kill()
        broker.kill()
        weed.clear_sockets()


def wait_running(stack: Stack, job_id: str, seconds: float = 90) -> None:
    """Wait until a job's child runs: its inputs were fetched, and its imports alone take a few seconds more."""
    wait_until(
        lambda: (job := stack.job(job_id))["state"] == "running" and job["attempts"][-1]["start"],
        "the job's child runs",
        seconds,
    )


def pause(seconds: float) -> None:
    """Keep a part away for a while."""
    time.sleep(seconds)
