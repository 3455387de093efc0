"""Large checkpoints upload in parallel: neither a request to stop nor the end of the worker waits for them."""

from __future__ import annotations

import threading
import time
import types
from collections import deque
from pathlib import Path

import pytest

from compute import kinds, limits
from compute.agent import supervisor
from compute.leases import leases
from compute.sandbox import workdirs
from compute.sandbox.protocol import Checkpoint


class SlowStore:
    """A kind whose store takes as long as the test wants."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.stored: list[str] = []

    def save_checkpoint(self, job, token, folder):
        self.open.wait(60)
        self.stored.append(folder.name)
        return {"files": []}


@pytest.fixture
def running(tmp_path, monkeypatch):
    """Return a supervisor with a child that reports checkpoints, and the store that they go to."""
    store = SlowStore()
    monkeypatch.setattr(kinds, "get", lambda name: store)
    monkeypatch.setattr(leases, "keep_checkpoint", lambda mine, pointer: None)
    monkeypatch.setattr(workdirs, "copy_checkpoint", lambda workdir, step: Path(tmp_path / f"step-{step}"))
    mine = types.SimpleNamespace(job=types.SimpleNamespace(id="j", kind="train"), attempt_id="a", token=1, work=None)
    watched = supervisor.AttemptSupervisor(mine, None, tmp_path)
    watched._child = types.SimpleNamespace(said=deque(), lines=deque(), began=0.0, elapsed=lambda: 1.0, startup_s=None)
    watched._heartbeat.next = time.monotonic() + 1000
    yield watched, store
    store.open.set()


def test_the_supervisor_does_not_wait_for_checkpoint_uploads(running):
    watched, store = running
    for step in (1, 2, 3):
        began = time.monotonic()
        watched._child.said.append(Checkpoint(step))
        watched._gather()
        assert time.monotonic() - began < 20, "the store is closed for a minute"
    store.open.set()
    watched._saver.finish(watched._heartbeat, watched._gather)
    assert store.stored == ["step-1", "step-3"]


def test_a_worker_that_ends_gives_up_a_checkpoint_that_outlasts_the_grace(running, monkeypatch):
    monkeypatch.setattr(limits, "STOP_GRACE_S", 0.3)
    monkeypatch.setattr(running[0]._heartbeat, "due", lambda: False)
    watched, store = running
    watched._child.said.append(Checkpoint(1))
    watched._gather()
    watched.shut_down()
    began = time.monotonic()
    watched._saver.finish(watched._heartbeat, watched._gather)
    assert 0.2 < time.monotonic() - began < 20, "the store is closed for a minute"
    assert store.stored == []
