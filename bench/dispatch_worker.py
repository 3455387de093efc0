"""The two workers compared by G-d3: `node`, the product's, and `bare`, plain Celery that starts the same process.

Run as `python -m bench.dispatch_worker node|bare`. Each start is recorded by the wall clock of this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("dispatch_child.py")
STARTED = "bench:started"


class NothingKind:
    """A job that stages nothing, starts a child that does nothing, and stores nothing."""

    name = "nothing"
    entrypoint = CHILD
    meter = "device_seconds"

    def validate(self, actor: Any, spec: dict[str, Any]) -> dict[str, Any]:
        return spec

    def plan(self, spec: dict[str, Any]) -> Any:
        """Return a plan of one second."""
        from compute.kinds import Plan

        return Plan(typical_s=1)

    def describe(self, job: Any) -> dict[str, Any]:
        return {}

    def stage(self, job: Any, workdir: Path) -> dict[str, Any]:
        return {}

    def reads(self, job: Any) -> list[str]:
        return []

    def save_checkpoint(self, job: Any, token: int, folder: Path) -> dict[str, Any]:
        return {}

    def collect(self, job: Any, token: int, workdir: Path) -> dict[str, Any]:
        return {}

    def complete(self, job: Any, collected: dict[str, Any]) -> dict[str, Any]:
        return {}


def start_process() -> None:
    """Start the child as bare Celery would and record when it has started."""
    import redis
    from django.conf import settings

    child = subprocess.Popen([sys.executable, "-I", str(CHILD)])
    started = time.time()
    with redis.Redis.from_url(settings.EXCHEQUER.broker_url) as notes:
        notes.rpush(STARTED, started)
    child.wait()


def main(which: str) -> None:
    """Serve one of the two queues with one slot."""
    import django

    django.setup()
    from compute import kinds
    from config.celery import app

    kinds.register(NothingKind())
    app.task(start_process, name="bench.start_process")
    pool, queue = ("threads", "node.bench") if which == "node" else ("prefork", "bare")
    slots = "2" if which == "node" else "1"
    quiet = ["--without-mingle", "--without-gossip", "-l", "WARNING"]
    app.worker_main(["worker", "-P", pool, "-c", slots, "-Q", queue, "-n", f"{which}@%h", *quiet])


if __name__ == "__main__":
    main(sys.argv[1])
