"""What is taken from a child's folder, and what never is."""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from compute import kinds
from compute.agent.supervisor import AttemptSupervisor
from compute.devices.base import Sampler
from compute.leases import messages
from compute.sandbox import workdirs
from compute.sandbox.process import Child
from compute.sandbox.protocol import Checkpoint
from tests.fakes.runner.kind import TickKind


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "work"
    workdirs.make(folder)
    (folder / "checkpoint").mkdir()
    for place in ("out", "checkpoint"):
        (folder / place / "a.json").write_text("{}")
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.json").write_text("secret")
    return tmp_path / "secrets" / "a.json"


def left_beside(workdir: Path) -> list[str]:
    return sorted(path.name for path in workdir.parent.iterdir() if path != workdir)


def test_plain_files_are_copied_out_of_the_childs_reach(workdir: Path) -> None:
    copy, taken = workdirs.copy_checkpoint(workdir, 7), workdirs.take_output(workdir)
    assert copy is not None and copy.parent == taken.parent == workdir.parent
    assert (copy / "a.json").read_text() == (taken / "out" / "a.json").read_text() == "{}"
    workdirs.remove(workdir)
    workdirs.remove(copy)
    assert left_beside(workdir) == []


def whole(folder: Path, secret: Path) -> None:
    (folder / "a.json").unlink()
    folder.rmdir()
    folder.symlink_to(secret.parent)


PLANTS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda folder, secret: (folder / "b").symlink_to(secret),
    "link to the environment": lambda folder, _: (folder / "b").symlink_to("/proc/self/environ"),
    "second name": lambda folder, secret: (folder / "b").hardlink_to(secret),
    "pipe": lambda folder, _: os.mkfifo(folder / "b"),
    "folder": lambda folder, _: (folder / "b").mkdir(),
    "too many": lambda folder, _: [(folder / str(n)).touch() for n in range(workdirs.MOST_FILES)],
    "too large": lambda folder, _: os.truncate(folder / "a.json", workdirs.OUTPUT_BYTES + 1),
    "folder is a link": whole,
}


@pytest.mark.parametrize("plant", PLANTS)
def test_nothing_but_plain_files_of_bounded_size_is_taken(workdir: Path, secret: Path, plant: str) -> None:
    for place in ("out", "checkpoint"):
        PLANTS[plant](workdir / place, secret)
    assert workdirs.copy_checkpoint(workdir, 1) is None
    with pytest.raises(workdirs.NotPlain):
        workdirs.take_output(workdir)
    assert left_beside(workdir) in ([], ["work-taken"])
    assert not [path for path in workdir.parent.glob("work-*/**/*") if path.is_file() and path.read_text() == "secret"]


def test_a_file_replaced_by_a_link_during_the_copy_is_not_followed(
    workdir: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "checkpoint" / "b.json").write_text("{}")
    really, swapped = os.read, []

    def read(handle: int, size: int) -> bytes:
        if not swapped:  # while the first file is copied, the child swaps the other one, and this one too
            for name in ("a.json", "b.json"):
                (workdir / "checkpoint" / name).unlink()
                (workdir / "checkpoint" / name).symlink_to(secret)
                swapped.append(name)
        return really(handle, size)

    monkeypatch.setattr(workdirs.os, "read", read)
    assert workdirs.copy_checkpoint(workdir, 1) is None
    assert swapped and left_beside(workdir) == []


def test_a_checkpoint_that_is_replaced_while_it_is_copied_is_copied_again(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, replaced = os.read, []

    def read(handle: int, size: int) -> bytes:
        if not replaced:
            (workdir / "checkpoint").rename(workdir / "old")
            (workdir / "checkpoint").mkdir()
            replaced.append((workdir / "checkpoint" / "a.json").write_text('{"step": 2}'))
        return really(handle, size)

    monkeypatch.setattr(workdirs.os, "read", read)
    copy = workdirs.copy_checkpoint(workdir, 2)
    assert copy is not None and (copy / "a.json").read_text() == '{"step": 2}'


def test_a_checkpoint_on_a_full_disk_raises_and_leaves_nothing(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workdirs, "_copy", copy)
    with pytest.raises(OSError, match="No space left"):
        workdirs.copy_checkpoint(workdir, 3)
    assert left_beside(workdir) == []


@pytest.fixture
def supervisor(tmp_path: Path) -> AttemptSupervisor:
    kinds.register(TickKind())
    job = SimpleNamespace(id=uuid4(), kind="tick", spec={})
    mine = SimpleNamespace(job=job, attempt_id=uuid4(), token=1, work=None)
    return AttemptSupervisor(cast(messages.Claim, mine), cast(Sampler, None), tmp_path)


def test_a_checkpoint_is_never_copied_by_the_thread_that_keeps_the_lease(
    supervisor: AttemptSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[Any] = []
    monkeypatch.setattr(workdirs, "copy_checkpoint", lambda *_: threads.append(threading.current_thread()))
    child = SimpleNamespace(said=deque([Checkpoint(1)]), lines=deque(), elapsed=lambda: 1.0, began=0.0, startup_s=None)
    supervisor._child = cast(Child, child)
    supervisor._gather()
    supervisor._saver.finish(supervisor._heartbeat, supervisor._gather)
    assert len(threads) == 1 and threads[0] is not threading.current_thread()


def dig(folder: Path, depth: int, name: str = "d") -> None:
    """Make nested folders, by descriptor: no path can be as long."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deepest", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_a_work_folder_is_removed_at_any_depth_and_nothing_else(workdir: Path, secret: Path) -> None:
    dig(workdir / "out", 3_000)
    dig(workdir, 300, "n" * 255)
    (workdir / "link").symlink_to(secret.parent)
    (workdir / os.fsdecode(b"\xff\n")).mkdir()
    os.mkfifo(workdir / "pipe")
    for place in ("a", "a/closed", "a/closed/inner"):
        (workdir / place).mkdir()
    for place in ("a/closed/inner", "a/closed", "a"):
        (workdir / place).chmod(0)
    workdirs.remove(workdir)
    assert not workdir.exists() and secret.read_text() == "secret"


def test_a_folder_that_cannot_be_removed_keeps_no_other_and_no_start(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        if name == "bad":
            raise OSError(errno.EPERM, "Operation not permitted")
        really(name, dir_fd=dir_fd)

    (workdir / "bad").touch()
    for other in ("another", "work-taken", "zz"):
        dig(workdir.parent, 5, other)
    monkeypatch.setattr(workdirs.folders.os, "unlink", unlink)
    workdirs.clear(workdir.parent)
    assert [path.name for path in workdir.parent.iterdir()] == ["work"]
    assert [path.name for path in workdir.iterdir()] == ["bad"]


EXCESSES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "files": ("files and folders", lambda folder: [(folder / str(n)).touch() for n in range(60)]),
    "depth": ("deep", lambda folder: dig(folder, workdirs.folders.MOST_DEPTH)),
    "bytes": ("MB", lambda folder: (folder / "much").write_bytes(bytes(4 * 1024**2))),
}


@pytest.mark.parametrize("what", EXCESSES)
def test_a_child_has_a_quota_of_files_depth_and_bytes(
    workdir: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(workdirs.folders, "MOST_ENTRIES", 50)
    monkeypatch.setattr(workdirs, "OUTPUT_BYTES", 1024**2)
    monkeypatch.setattr(workdirs, "CHECKPOINT_BYTES", 1024**2)
    (workdir / "link").symlink_to(secret.parent.parent)
    assert workdirs.excess(workdir) is None
    words, plant = EXCESSES[what]
    plant(workdir)
    assert words in str(workdirs.excess(workdir))


def test_a_file_without_a_name_counts_too(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workdirs, "OUTPUT_BYTES", 0)
    monkeypatch.setattr(workdirs, "CHECKPOINT_BYTES", 512 * 1024)
    with (workdir / "gone").open("wb") as file:
        file.write(bytes(4 * 1024**2))
        file.flush()
        (workdir / "gone").unlink()
        assert workdirs.excess(workdir) is None
        assert "MB" in str(workdirs.excess(workdir, os.getpid()))
