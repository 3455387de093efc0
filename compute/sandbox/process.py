"""One child process: started in its own session with an empty environment, read, stopped, and timed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from compute import limits
from compute.devices.base import DeviceKind
from compute.policy import WHOLE
from compute.sandbox import protocol, sandbox, uids

LAUNCHER = Path(__file__).with_name("launch.py")
PACKAGE = LAUNCHER.parents[1]
ROOT = LAUNCHER.parents[2]
CHILD_USERS = 1_000
PYTHON = sorted({*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix}, key=len, reverse=True)
"""Folders of Python and its packages, innermost first."""


@dataclass(frozen=True)
class Slot:
    """The device given to a child, the only one it can use.

    `memory_bytes` is what it may have, of `share` thousandths of the device. `network`: the process whose network it shares with peers, whom it finds on its `interface`.
    """

    kind: DeviceKind
    uuid: str
    index: int
    threads: int
    memory_bytes: int
    network: int | None = None
    interface: str = "lo"
    share: int = WHOLE


@dataclass(frozen=True)
class Member:
    """A process group on its device, in its folder."""

    slot: Slot
    group: int
    workdir: Path


class Child:
    """A started child. `elapsed()` is the billed running time: from start to exit, on the monotonic clock.

    `startup_s`: the time until its program first reported work; None before.
    """

    def __init__(
        self,
        *,
        entrypoint: Path,
        attempt: str,
        workdir: Path,
        slot: Slot,
        payload: dict[str, Any],
        sandbox_required: bool,
    ) -> None:
        """Write the child's two files and start it; raises OSError if it cannot be started."""
        self.said: deque[protocol.Report] = deque()
        self.lines: deque[str] = deque()
        self._logged = 0
        self.startup_s: float | None = None
        self._ended_at: float | None = None
        self.peak_bytes = 0  # peak memory, set on exit
        self._over = threading.Event()
        self.exited = threading.Event()
        self.changed = threading.Event()  # set when there is news
        (workdir / "tmp").mkdir(exist_ok=True)
        _write(workdir / "job.json", payload)
        self._slot, self._workdir, self._user = slot, workdir, unprivileged_user(workdir, entrypoint)
        uid = self._user.uid if self._user else None
        try:
            _write(workdir / "sandbox.json", _policy(entrypoint, slot, uid, required=sandbox_required))
            hand_over(workdir, uid)
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(LAUNCHER), str(entrypoint), "--attempt", attempt],
                cwd=workdir,
                env=_environment(workdir, slot),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a session leader cannot move to another group, out of reach of our signals
            )
        except BaseException:
            self._give_user_back()
            raise
        self.began = time.monotonic()
        readers = [(self._read_messages, self._process.stdout), (self._log, self._process.stderr)]
        self._readers = [threading.Thread(target=read, args=(pipe,), daemon=True) for read, pipe in readers if pipe]
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    @property
    def group(self) -> int:
        """Return the id of the process group."""
        return self._process.pid

    @property
    def members(self) -> tuple[Member, ...]:
        """Return the process on its device."""
        return (Member(self._slot, self.group, self._workdir),)

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, negative signal number for a killed child, None while it runs."""
        return self._process.returncode if self.exited.is_set() else None

    def elapsed(self) -> float:
        """Return the seconds from start to now, or to the exit."""
        return (self._ended_at or time.monotonic()) - self.began

    def ask_to_stop(self) -> None:
        """Ask the child to save a checkpoint and exit."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the whole group; returns when the child is gone and its output is read."""
        self._signal(signal.SIGKILL)
        self.exited.wait(10)

    def _signal(self, number: int) -> None:
        if self._ended_at is None:
            for send in (os.killpg, os.kill):  # the group, and the child itself in any group
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(self.group, number)

    def _wait(self) -> None:
        """Record the time of exit, then kill the rest of the group before its id can be reused."""
        os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOWAIT)
        self._ended_at = time.monotonic()
        self._over.set()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        _, status, used = os.wait4(self.group, 0)
        self._process.returncode, self.peak_bytes = os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024
        self._give_user_back()
        for reader in self._readers:
            reader.join(5)
        self.exited.set()
        self.changed.set()

    def _give_user_back(self) -> None:
        """Close the folder to the child's user, then free that user for another child."""
        if self._user is not None:
            with contextlib.suppress(OSError):
                os.chown(self._workdir, os.geteuid(), os.getegid(), follow_symlinks=False)
            self._user.give_back()

    def _read_messages(self, pipe: IO[bytes]) -> None:
        metrics = 0
        for line in _lines(pipe, limits.EVENT_LINE_BYTES, self._over):
            event = protocol.parse(line)
            if isinstance(event, protocol.Metric):
                metrics += 1
                if metrics > limits.METRICS:
                    continue
            if event is not None:
                if isinstance(event, protocol.Progress) and self.startup_s is None:
                    self.startup_s = time.monotonic() - self.began
                self.said.append(event)
                if isinstance(event, protocol.Checkpoint):
                    self.changed.set()

    def _log(self, pipe: IO[bytes]) -> None:
        for line in _lines(pipe, 4 * limits.LOG_LINE_CHARS, self._over):
            self._logged += 1
            if self._logged <= limits.LOG_LINES:
                said = _without_places(line.decode("utf-8", "replace").rstrip("\r\n"), self._workdir)
                self.lines.append(protocol.clean(said, limits.LOG_LINE_CHARS))
            elif self._logged == limits.LOG_LINES + 1:
                self.lines.append(f"(only the first {limits.LOG_LINES} lines are kept)")


def _without_places(line: str, workdir: Path) -> str:
    """Return a log line without host paths, because the job's owner reads it."""
    for place in (workdir, ROOT, *PYTHON):
        line = line.replace(f"{place}/", "")
    return line


def hand_over(workdir: Path, user: int | None) -> None:
    """Give the folder, but not the targets of links in it, to the user that the child steps down to."""
    workdir.chmod(0o700)
    if user is None:
        return
    for folder, _, files in os.walk(workdir):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, user, user, follow_symlinks=False)


def unprivileged_user(workdir: Path, entrypoint: Path) -> uids.User | None:
    """Take a user that no other child of this host has; None if not root or if it could not read Python.

    Raises OSError when all are in use.
    """
    if os.geteuid() != 0 or _closed(entrypoint, workdir.parent):
        return None
    return uids.take(limits.FIRST_CHILD_UID, CHILD_USERS)


@functools.cache
def _closed(entrypoint: Path, home: Path) -> bool:
    needed = (*sandbox.interpreter_paths(), PACKAGE, package_root(entrypoint), home)
    return bool(sandbox.closed_to_others(needed))


def package_root(entrypoint: Path) -> Path:
    """Return the outermost package folder around the entrypoint, or its own folder."""
    folder = entrypoint.resolve().parent
    if not (folder / "__init__.py").exists():
        return folder
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


def _policy(entrypoint: Path, slot: Slot, user: int | None, *, required: bool) -> dict[str, Any]:
    return {
        "user": user,
        "parent": os.getpid(),
        "read_paths": [str(PACKAGE), str(package_root(entrypoint))],
        "cuda": slot.kind == "cuda",
        "address_space": limits.CHILD_ADDRESS_SPACE,
        "threads": limits.most_threads(slot.threads),
        "file_size": limits.CHILD_FILE_BYTES,
        "network": slot.network,
        "required": required,
    }


def _environment(workdir: Path, slot: Slot) -> dict[str, str]:
    threads, on = str(slot.threads), slot.interface
    peers = {"GLOO_SOCKET_IFNAME": on, "NCCL_SOCKET_IFNAME": on, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_IO_THREADS")
    return dict.fromkeys(names, threads) | {
        "CUDA_VISIBLE_DEVICES": slot.uuid if slot.kind == "cuda" else "",
        "TMPDIR": str(workdir / "tmp"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **(peers if slot.network is not None else {}),
    }


def _write(path: Path, body: dict[str, Any]) -> None:
    path.write_text(json.dumps(body, default=str))


class _Pace:
    """Throttles a child that writes faster than it is read: its pipe fills, and only it waits."""

    def __init__(self, over: threading.Event) -> None:
        self._over = over
        self._ahead, self._at = 0.0, time.monotonic()

    def received(self, size: int) -> None:
        """Count one read, and wait until the next is due; not for the rest of an exited child."""
        now = time.monotonic()
        self._ahead = max(0.0, self._ahead - (now - self._at) * limits.SAID_BYTES_S) + size + limits.LINE_BYTES
        self._at = now
        if self._ahead > limits.SAID_AT_ONCE:
            self._over.wait((self._ahead - limits.SAID_AT_ONCE) / limits.SAID_BYTES_S)


def _lines(pipe: IO[bytes], most: int, over: threading.Event) -> Iterator[bytes]:
    """Yield lines to the end, then close; an overlong line is truncated."""
    pace = _Pace(over)
    with pipe:
        while line := pipe.readline(most):
            pace.received(len(line))
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = pipe.readline(most)
                pace.received(len(rest))
            yield line
