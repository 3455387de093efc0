"""Ingestion on a worker with other work: crashes, kills, limits, turns, and what a killed worker left."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from compute.sandbox import workdirs
from models_app import tasks, wakeups
from models_app.datasets import ingest_child, ingestion, operations
from models_app.datasets.ingest_queue import Turns
from models_app.models import DatasetVersion
from models_app.object_store import storage
from tenants.isolation import locks
from tenants.isolation.scoping import tenant_scope
from tests.support.factories import actor_for, make_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CRASH = "import os\nos.write(2, b'no such bin\\n')\nraise SystemExit(1)\n"
ABORT = "import os\nos.abort()\n"
NOTHING = "raise SystemExit(0)\n"
KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
IDLE = "import time\ntime.sleep(2)\n"
BUSY = "while True: pass\n"


@pytest.fixture(autouse=True)
def _store(s3):
    storage.ensure_bucket()


@pytest.fixture
def child(tmp_path, monkeypatch):
    """`child(code)`: make every child run this instead."""

    def replace(code: str) -> None:
        script = tmp_path / "child.py"
        script.write_text(code)
        monkeypatch.setattr(ingest_child, "ENTRYPOINT", script)

    return replace


def upload(actor, data=b"a,b\n1,2\n3,4\n"):
    return operations.upload(actor=actor, name=f"t{uuid4()}", file=io.BytesIO(data), filename="t.csv")


def read(actor, version) -> DatasetVersion:
    ingestion.ingest(version.id, actor.tenant_id)
    return row_of(actor, version)


def row_of(actor, version) -> DatasetVersion:
    with tenant_scope(actor.tenant_id):
        return DatasetVersion.objects.get(id=version.id)


@pytest.mark.parametrize("code", [CRASH, ABORT, NOTHING], ids=["an error", "an abort", "no result"])
def test_a_file_that_crashes_the_reader_twice_fails_at_once(child, code, monkeypatch):
    runs = []
    run = ingestion.run_child
    monkeypatch.setattr(ingestion, "run_child", lambda *args, **more: (runs.append(1), run(*args, **more))[1])
    child(code)
    actor = actor_for(make_tenant())
    row = read(actor, upload(actor))
    assert (row.state, row.code, len(runs)) == ("failed", "ingest_crashed", 2)
    assert "Save it in the other format" in row.message


def test_a_crash_that_does_not_recur_costs_nothing(monkeypatch):
    run, crashes = ingestion.run_child, [ingest_child.ChildCrashed("once")]

    def first_crash(*args, **more):
        if crashes:
            raise crashes.pop()
        return run(*args, **more)

    monkeypatch.setattr(ingestion, "run_child", first_crash)
    actor = actor_for(make_tenant())
    row = read(actor, upload(actor))
    assert (row.state, row.tries) == ("ready", 1)


def test_a_child_that_was_killed_is_tried_again_later(child):
    child(KILLED)
    actor = actor_for(make_tenant())
    row = read(actor, upload(actor))
    assert (row.state, row.tries) == ("ingesting", 1)


def test_a_crash_on_a_disk_without_room_counts_as_no_try(child, monkeypatch):
    child(CRASH)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=0))
    actor = actor_for(make_tenant())
    row = read(actor, upload(actor))
    assert (row.state, row.tries) == ("ingesting", 0)


@pytest.mark.parametrize(
    ("code", "limits", "words"),
    [
        (IDLE, {"CPU_S": 1.0}, None),
        (BUSY, {"CPU_S": 1.0}, "seconds of a processor"),
        (IDLE, {"WALL_S": 0.5}, "when the system is less busy"),
    ],
    ids=["waits for the processor", "uses it", "waits too long"],
)
def test_only_what_the_child_computes_counts_against_the_file(child, tmp_path, monkeypatch, code, limits, words):
    child(code)
    for name, value in limits.items():
        monkeypatch.setattr(ingest_child, name, value)
    work = tmp_path / "work"
    workdirs.make(work)
    fault = ingest_child.run_child(work, target="")
    assert (fault is None) == (words is None)
    assert fault is None or (fault.code == "too_slow" and words in fault.message)


def test_of_one_tenant_one_file_is_read_whatever_the_number_of_workers(superuser):
    actor, other = actor_for(make_tenant()), actor_for(make_tenant())
    version = upload(actor)
    superuser.execute(
        locks.TAKE.format(locks.NAME), [ingestion.reader_of(actor.tenant_id)]
    )  # another worker reads one of its files
    assert read(actor, version).token == 0
    assert read(other, upload(other)).state == "ready"
    superuser.execute(locks.LET_GO.format(locks.NAME), [ingestion.reader_of(actor.tenant_id)])
    assert read(actor, version).state == "ready"
    assert superuser.execute(locks.TAKE.format(locks.NAME), [ingestion.reader_of(actor.tenant_id)]).fetchone() == (
        True,
    ), "it was let go"


def test_files_that_wait_hold_no_thread_and_all_are_read_in_turn(monkeypatch):
    tenants, reading, most, order = [uuid4() for _ in range(3)], set(), [], []
    go_on = threading.Event()

    def slow(version_id, tenant_id):
        assert tenant_id not in reading, "two files of one tenant at once"
        reading.add(tenant_id)
        most.append(len(reading))
        go_on.wait(30)
        order.append(tenants.index(tenant_id))
        reading.discard(tenant_id)

    monkeypatch.setattr(tasks, "turns", Turns(), raising=False)
    monkeypatch.setattr(ingestion, "ingest", slow)
    with ThreadPoolExecutor(4) as worker:
        monkeypatch.setattr(wakeups, "wake_ingest", lambda *ids: worker.submit(tasks.ingest, *map(str, ids)))
        for tenant in tenants:
            for _ in range(4):
                wakeups.wake_ingest(uuid4(), tenant)
        try:
            worker.submit(lambda: "a mail is sent").result(20)
        finally:
            go_on.set()
        wait_until(lambda: len(order) == 12, lambda: f"all twelve are read, not only {order}")
    assert sorted(order) == sorted([0, 1, 2] * 4)
    assert max(most) == 2
    assert 2 in order[:4], "who came last does not wait for all files of the others"


def test_the_sweep_ignores_versions_that_merely_wait(as_control, demo_clock):
    busy, idle = actor_for(make_tenant()), actor_for(make_tenant())
    running, *_ = [upload(busy) for _ in range(3)]
    here, lost = upload(idle), upload(idle)
    demo_clock.advance(timedelta(minutes=1))
    ingestion.claim(running.id, busy.tenant_id)
    rung = []
    with as_control():
        ingestion.requeue_stale(wake=lambda *ids: rung.append(ids), known={here.id})
    assert rung == [(lost.id, idle.tenant_id)]
    demo_clock.advance(timedelta(seconds=ingestion.CLAIM_S + 1))
    with as_control():
        assert ingestion.requeue_stale(wake=lambda *ids: rung.append(ids)) == 5, "a lost worker holds nobody up"


def test_what_a_killed_worker_left_on_the_disk_is_removed(as_control, settings):
    home = settings.EXCHEQUER.home / "work" / "ingest"
    left, used = home / str(uuid4()), home / str(uuid4())
    taken = left.with_name(f"{left.name}-taken")
    for folder in (left, taken, used):
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "source").write_bytes(b"a,b\n1,2\n")
    for folder in (left, taken):
        os.utime(folder, (time.time() - 7200,) * 2)
    with as_control():
        tasks.requeue_stale()
    assert {path for path in (left, taken, used) if path.exists()} == {used}
    workdirs.remove(used)
