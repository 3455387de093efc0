"""Supervision of parts: start, readiness, restart after a crash, ordered stop."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from deploy import procfs
from deploy.local.postgres import StartError
from deploy.local.state_dir import Home

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
HEALTHY_AFTER_S = 30.0
#: Time limit of a readiness check: while a part is awaited, and while others wait for the supervisor too.
PATIENT_S, BRIEF_S = 5.0, 0.5
ASK_AGAIN_S = 1.0


@dataclass(kw_only=True)
class Part:
    """One supervised process.

    `prepare` runs before each start. `ready` returns, within so many seconds, whether it serves. `stop_signal` asks it
    to end; after `grace_s` its process group is killed. The kernel sends it `orphan_signal` if the supervisor itself
    dies.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    ready: Callable[[float], bool] = lambda within_s: True
    prepare: Callable[[], object] = lambda: None
    ready_s: float = 60.0
    stop_signal: int = signal.SIGTERM
    grace_s: float = 8.0
    orphan_signal: int = signal.SIGKILL
    account: tuple[int, int] | None = None
    cwd: str = "/"
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    start_again_at: float | None = field(default=None, init=False)
    pause_s: float = field(default=FIRST_PAUSE_S, init=False)
    again: bool = field(default=False, init=False)
    ask_at: float = field(default=0.0, init=False)

    def runs(self) -> bool:
        """Return whether the process exists."""
        return self.process is not None and self.process.poll() is None

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """Return the process of the last start; `RuntimeError` before the first."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.process


class Supervisor:
    """Starts, watches and stops the parts of one home. Single-threaded: the kernel's death signal follows the thread."""

    def __init__(
        self, home: Home, say: Callable[[str], None], waiting: Callable[[str], None] = lambda what: None
    ) -> None:
        self.home = home
        self.parts: list[Part] = []
        self.say = say
        self.waiting = waiting
        self.stop_asked = 0
        self._steps: set[int] = set()
        procfs.adopt_orphans()

    def start(self, part: Part) -> None:
        """Start a part and keep it running."""
        self.parts.append(part)
        self._spawn(part)

    def wait_ready(self, *parts: Part) -> None:
        """Wait until each part is ready; raise `StartError` with the end of its log if it exits or takes too long."""
        for part in parts:
            deadline = part.started_at + part.ready_s
            while not part.ready(PATIENT_S):
                if not part.runs():
                    raise StartError(f"{part.name} ended while it started:\n{self._last_lines(part)}")
                if time.monotonic() > deadline:
                    raise StartError(
                        f"{part.name} was not ready within {part.ready_s:.0f} s:\n{self._last_lines(part)}"
                    )
                self.interrupted()
                self.waiting(part.name)
                time.sleep(0.05)
            self.say(f"{part.name} is ready")

    def run(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        cwd: str,
        on_line: Callable[[str], bool] = lambda line: False,
    ) -> str:
        """Run one step to its end and return its output; its errors go to the step's log.

        `on_line` is called with each line; lines for which it returns True are left out of the output.
        """
        log = self.home.fresh_log(name)
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=procfs.die_with_parent,  # noqa: PLW1509 (no threads here)
            )
        self._steps.add(process.pid)
        try:
            output = self._listen(name, process, on_line)
        except BaseException:
            _kill(-process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            self._steps.discard(process.pid)
        if process.returncode != 0:
            tail = b"\n".join(log.read_bytes()[start:].splitlines()[-15:]).decode(errors="replace")
            raise StartError(f"{name} failed with code {process.returncode}; the end of {log}:\n{tail}")
        return output

    def _listen(self, name: str, process: subprocess.Popen[bytes], on_line: Callable[[str], bool]) -> str:
        """Return the output of a step without the lines taken; the parts are watched meanwhile."""
        if process.stdout is None:
            raise RuntimeError("the step has no output")
        kept: list[str] = []
        rest = b""
        with process.stdout as pipe:
            while True:
                self.interrupted()
                self.tick()
                self.waiting(name)
                if not select.select([pipe], [], [], 0.1)[0]:
                    continue
                found = os.read(pipe.fileno(), 65_536)
                *lines, rest = (rest + found).split(b"\n")
                kept += [line for line in (raw.decode(errors="replace") for raw in lines) if not on_line(line)]
                if not found:
                    break
        process.wait()
        return "".join(f"{line}\n" for line in kept) + rest.decode(errors="replace")

    def interrupted(self) -> None:
        """Raise `KeyboardInterrupt` if a stop was requested."""
        if self.stop_asked:
            raise KeyboardInterrupt

    def watch(self) -> None:
        """Keep every part running until a stop is requested."""
        while not self.stop_asked:
            self.tick()
            time.sleep(0.1)

    def tick(self) -> None:
        """Check every part once: report dead ones on the console and restart them after a growing delay."""
        now = time.monotonic()
        for part in self.parts:
            if part.runs():
                if part.again and time.monotonic() >= part.ask_at:
                    self._ask(part)
                if now - part.started_at > HEALTHY_AFTER_S:
                    part.pause_s = FIRST_PAUSE_S
            elif part.start_again_at is None:
                self.say(
                    f"{part.name} {_ending(part.child.returncode)}; starting it again in {part.pause_s:g} s (log: {self.home.log(part.name)})"
                )
                self._kill_leftovers()
                part.start_again_at = now + part.pause_s
                part.pause_s = min(part.pause_s * 2, LONGEST_PAUSE_S)
            elif now >= part.start_again_at:
                self._start_again(part)
        self._reap()

    def stop(self, *groups: Iterable[str]) -> None:
        """Stop the parts, wave after wave, then all other descendants of this process."""
        for group in groups:
            parts = [part for part in self.parts if part.name in set(group) and part.process is not None]
            self._stop_together(parts)
        for pid in procfs.descendants(os.getpid()):
            self.say(f"process {pid} was left over: killed")
            _kill(pid, signal.SIGKILL)
        self._reap()

    def _spawn(self, part: Part) -> None:
        part.prepare()
        as_account = {"user": part.account[0], "group": part.account[1], "extra_groups": []} if part.account else {}

        def before() -> None:
            procfs.die_with_parent(part.orphan_signal)

        with self.home.fresh_log(part.name).open("ab") as log:
            part.process = subprocess.Popen(  # type: ignore[call-overload]
                part.command,
                cwd=part.cwd,
                env=part.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=before,  # noqa: PLW1509 (no threads here)
                pass_fds=part.pass_fds,
                **as_account,
            )
        part.started_at = time.monotonic()
        part.start_again_at = None
        self.home.write_pid(part.name, part.process.pid)

    def _start_again(self, part: Part) -> None:
        part.again = True
        try:
            self._spawn(part)
        except (OSError, StartError, subprocess.SubprocessError) as error:
            self.say(f"{part.name} cannot be started: {error}; next try in {part.pause_s:g} s")
            part.start_again_at = time.monotonic() + part.pause_s
            part.pause_s = min(part.pause_s * 2, LONGEST_PAUSE_S)

    def _ask(self, part: Part) -> None:
        """Report a restarted part that is ready again. One that hangs delays the others for a moment at most."""
        if part.ready(BRIEF_S):
            part.again = False
            self.say(f"{part.name} is back")
        part.ask_at = time.monotonic() + ASK_AGAIN_S

    def _stop_together(self, parts: list[Part]) -> None:
        for part in parts:
            if part.runs():
                part.child.send_signal(part.stop_signal)
        begun = time.monotonic()
        for part in parts:
            while part.runs() and time.monotonic() - begun < (part.grace_s if self.stop_asked < 2 else 1.0):
                time.sleep(0.05)
            below = procfs.descendants(part.child.pid) if part.runs() else []
            if part.runs():
                _kill(-part.child.pid, signal.SIGKILL)
                part.child.wait()
            for pid in below:
                _kill(pid, signal.SIGKILL)
            self.home.remove_pid(part.name)
            self.say(f"{part.name} stopped")

    def _kill_leftovers(self) -> None:
        """Kill what a dead part left behind: children of this process that are not parts."""
        mine = self._own()
        for pid in procfs.children(os.getpid()):
            if pid not in mine:
                for below in [pid, *procfs.descendants(pid)]:
                    _kill(below, signal.SIGKILL)

    def _reap(self) -> None:
        """Reap adopted orphans; `Popen.poll` reaps our own children."""
        mine = self._own()
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in mine:
                return
            os.waitpid(ended.si_pid, 0)

    def _own(self) -> set[int]:
        return self._steps | {part.process.pid for part in self.parts if part.process is not None}

    def _last_lines(self, part: Part) -> str:
        lines = self.home.log(part.name).read_bytes().splitlines()[-20:]
        return b"\n".join(lines).decode(errors="replace")


def _ending(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _kill(pid: int, number: int) -> None:
    try:
        if pid < 0:
            os.killpg(-pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
