"""The workers compared by the figures of dispatch: the product's node, plain Celery that starts the same process, and a BRPOP.

Run as `python -m bench.dispatch_worker node|bare|raw`. Each answer is a time by the wall clock of this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("dispatch_child.py")
ANSWERED = "bench:answered"


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


def start_process(to_its_end: bool = False) -> None:
    """Start the child as bare Celery would; answer when it has started, or when it has ended."""
    child = subprocess.Popen([sys.executable, "-I", str(CHILD)])
    started = time.time()
    if to_its_end:
        child.wait()
    _answer(time.time() if to_its_end else started)
    child.wait()


def note() -> None:
    """Answer at once."""
    _answer(time.time())


def pop() -> None:
    """Answer each message of a plain list, until terminated."""
    import redis
    from django.conf import settings

    with redis.Redis.from_url(settings.EXCHEQUER.broker_url) as notes:
        while True:
            if notes.brpop(["bench:raw"], timeout=1):
                notes.rpush(ANSWERED, time.time())


def _answer(at: float) -> None:
    import redis
    from django.conf import settings

    with redis.Redis.from_url(settings.EXCHEQUER.broker_url) as notes:
        notes.rpush(ANSWERED, at)


def main(which: str) -> None:
    """Serve one of the queues with one slot."""
    import django

    django.setup()
    if which == "raw":
        pop()
    from compute import kinds
    from config.celery import app

    kinds.register(NothingKind())
    app.task(start_process, name="bench.start_process")
    app.task(note, name="bench.note")
    pool, queue = ("threads", "node.bench") if which == "node" else ("prefork", "bare")
    slots = "2" if which == "node" else "1"
    quiet = ["--without-mingle", "--without-gossip", "-l", "WARNING"]
    app.worker_main(["worker", "-P", pool, "-c", slots, "-Q", queue, "-n", f"{which}@%h", *quiet])


if __name__ == "__main__":
    main(sys.argv[1])
