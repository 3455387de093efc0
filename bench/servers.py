"""The servers that a figure compares: started, awaited, loaded in turn, and frozen meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.load import Seen, median
from bench.rows import Options
from deploy import procfs

ROOT = Path(__file__).resolve().parent.parent
PEERS_VARIABLE = "BENCH_PEERS"
START_S = 120
SECONDS, WARM_S = 3.0, 0.7
TINY_S = 0.3
TINY_TRIES = 20
"""Retries of a smoke run on a machine too busy for any response in one of its short rounds."""


def peers() -> str:
    """Return the interpreter with the peers, or an empty string."""
    return os.environ.get(PEERS_VARIABLE, "")


class NotStarted(Exception):
    """A server that did not start. The message holds what is known."""


@dataclass(frozen=True)
class Load:
    """One load: the number of callers, and of slow sockets beside them; `request` if not the server's own."""

    connections: int
    slow: int = 0
    request: bytes = b""


class Server:
    """One server process and its children, on its own port; `request` is what callers send."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, request: bytes, log: Path, environment: dict[str, str]
    ) -> None:
        self.name, self.port, self.request, self._log = name, port, request, log
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            raise NotStarted(f"{name} did not start: {error}") from error

    def load(self, load: Load, seconds: float = SECONDS) -> Seen:
        """Load it from another process."""
        command = [
            sys.executable, "-m", "bench.client", str(self.port), f"--connections={load.connections}",
            f"--seconds={seconds}", f"--slow={load.slow}",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, input=load.request or self.request, stdout=subprocess.PIPE, check=True)
        return Seen(**json.loads(done.stdout))

    def wait(self, step: Callable[[], object] = lambda: None) -> None:
        """Wait until it responds with 200, calling `step` meanwhile. Raises NotStarted."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            step()
            if self.load(Load(1), 0.5).rate > 0:
                return
            time.sleep(0.5)
        raise NotStarted(f"{self.name} did not start: {self.last_words()}")

    def freeze(self) -> None:
        """Suspend it and its children: an idle server that uses CPU would distort the others."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume it and its children."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and its children."""
        below = procfs.descendants(self._process.pid)
        self.thaw()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Orphaned processes are still in its group.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def peak_mb(self) -> float:
        """Return the most memory that it and its children held, summed up."""
        return sum(_peak_kb(pid) for pid in (self._process.pid, *procfs.descendants(self._process.pid))) / 1024

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:120] if lines else "no output"

    def _signal(self, number: int) -> None:
        for pid in (self._process.pid, *procfs.descendants(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _peak_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def in_turn(options: Options, sides: dict[str, tuple[Server, Sequence[Load]]]) -> dict[tuple[str, int], Seen]:
    """Load every side once per round, in turn, all others frozen; return the medians by name and index in its loads."""
    warm, seconds = (TINY_S, TINY_S) if options.tiny else (WARM_S, SECONDS)
    found: dict[tuple[str, int], list[Seen]] = {}
    for server, _ in sides.values():
        server.freeze()
    try:
        for _ in range(options.rounds):
            for name, (server, loads) in sides.items():
                server.thaw()
                for at, load in enumerate(loads):
                    server.load(load, warm)
                    one = server.load(load, seconds)
                    for _ in range(TINY_TRIES if options.tiny and not one.rate else 0):
                        one = one if one.rate else server.load(load, seconds)
                    found.setdefault((name, at), []).append(one)
                server.freeze()
    finally:
        for server, _ in sides.values():
            server.thaw()
    return {key: median(seen) for key, seen in found.items()}


def ask(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    """Return a request as bytes: keep-alive, JSON body, with a key if given."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Accept: application/json"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode() + body
