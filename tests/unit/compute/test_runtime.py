"""The runtime's knowledge of the attempts it runs."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from compute import limits
from compute.agent import runtime
from compute.agent.runtime import Runtime
from compute.fleet import nodes
from compute.leases import leases
from compute.sandbox.process import Slot


@dataclass(frozen=True)
class Mine:
    """The parts of a claim that the runtime reads."""

    job: Any
    attempt_id: UUID
    slot: Slot
    others: dict[int, Slot] = field(default_factory=dict)

    @property
    def slots(self) -> dict[int, Slot]:
        return {0: self.slot, **self.others}


class Waiting:
    """A supervisor that runs until it is released."""

    made: list["Waiting"]

    def __init__(self, mine: Mine, sampler: Any, home: Path) -> None:
        self.mine, self.job_id, self.woken, self.stopped = mine, mine.job.id, 0, 0
        self.runs, self.go = threading.Event(), threading.Event()
        self.made.append(self)

    def run(self) -> None:
        self.runs.set()
        assert self.go.wait(20)

    def wake(self) -> None:
        self.woken += 1

    def shut_down(self) -> None:
        self.stopped += 1


def shut_down(node: Runtime) -> None:
    """Shut a node down, and wait until it has stopped its attempts."""
    node.shut_down()
    for thread in threading.enumerate():
        if thread.name == "leave":
            thread.join(60)


def test_a_fenced_attempt_does_not_hide_the_next_attempt_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    Waiting.made = []
    job = SimpleNamespace(id=uuid4())
    slot = Slot(kind="cpu", uuid="cpu-0", index=0, threads=1, memory_bytes=1)
    monkeypatch.setattr(runtime, "AttemptSupervisor", Waiting)
    monkeypatch.setattr(leases, "claim", lambda **asked: Mine(job, asked["attempt_id"], slot))
    node = Runtime("n1")
    threads = []
    for token in (1, 2):
        threads.append(threading.Thread(target=node.run, args=(uuid4(), uuid4(), token)))
        threads[-1].start()
        while len(Waiting.made) < token:
            assert threads[-1].is_alive()
        assert Waiting.made[-1].runs.wait(20)
    fenced, present = Waiting.made
    try:
        fenced.go.set()
        threads[0].join(20)
        node.wake(str(job.id))
        node.wake(str(uuid4()))
        assert (fenced.woken, present.woken) == (0, 1)
        shut_down(node)
        assert (fenced.stopped, present.stopped) == (0, 1)
    finally:
        present.go.set()
        threads[1].join(20)
    shut_down(node)
    assert present.stopped == 1, "one that has ended is forgotten"


class Ended(BaseException):
    """The process has ended."""


@pytest.mark.parametrize(
    ("accepting", "broker", "busy", "ends"),
    [
        (False, True, False, True),
        (True, True, False, False),
        (False, False, False, False),
        (False, True, True, False),
    ],
    ids=["deaf", "in service", "broker away", "busy"],
)
def test_an_idle_worker_without_wake_ups_ends(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, accepting: bool, broker: bool, busy: bool, ends: bool
) -> None:
    node, looks = Runtime("n1"), 0

    def look(me: nodes.Registered) -> bool:
        nonlocal looks
        looks += 1
        if looks == 20:
            node._stop.set()
        return accepting

    def end(code: int) -> None:
        raise Ended

    monkeypatch.setattr(limits, "UNRESPONSIVE_AFTER_S", 0.05)
    monkeypatch.setattr(nodes, "alive", lambda me: True)
    monkeypatch.setattr(nodes, "accepting", look)
    monkeypatch.setattr(runtime, "broker_answers", lambda: broker)
    monkeypatch.setattr(runtime.os, "_exit", end)
    if busy:
        node._running[uuid4()] = SimpleNamespace()  # type: ignore[assignment]
    me = nodes.Registered(uuid4(), "n1", node.boot)
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"heartbeat_s": 0.01})
    if ends:
        with pytest.raises(Ended):
            node._live(me)
        assert node._stop.is_set(), "no doorbell is answered by a worker that ends"
    else:
        node._live(me)
        assert looks == 20
