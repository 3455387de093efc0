"""A second machine of a running installation: it joins by a token of the console and works as a node of its own.

It is a process beside the first node's, with a folder, a login and devices of its own. The test's clock notes when it must
have been in the pool at least, and could have been at most.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.scenarios.stack import ROOT, Stack, processes_of
from tests.support.waiting import wait_until


@dataclass
class SecondMachine:
    """One machine, which may come and go. `least_s` and `most_s`: seconds for which one device of it was in the pool."""

    stack: Stack
    name: str
    devices: int
    longest_silence_s: float
    least_s: float = 0.0
    most_s: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    _started: float = field(default=0.0, init=False)
    _ready: float = field(default=0.0, init=False)

    @property
    def folder(self) -> Path:
        """Its own home: credentials, scratch and log."""
        return self.stack.home.with_name(self.name)

    @property
    def credentials(self) -> Path:
        """The file that `node join` wrote."""
        return self.folder / "node.env"

    def join(self) -> None:
        """Let it in with a token that `manage.py node token` prints: its password is made by itself."""
        self.folder.mkdir(parents=True)
        made = self.stack.manage("node", "token", self.name)
        assert made.returncode == 0, made.stderr
        (self.folder / "token").write_text(made.stdout)
        console = self.stack.environment("operator")["EXCHEQUER_OPERATOR_PORT"]
        command = ["node", "join", "--url", f"http://127.0.0.1:{console}", "--token-file", str(self.folder / "token")]
        joined = subprocess.run(
            [sys.executable, "manage.py", *command, "--to", str(self.credentials)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert joined.returncode == 0, joined.stdout + joined.stderr

    def start(self) -> None:
        """Start its worker and wait until it takes work."""
        log = self.folder / "node.log"
        before = log.stat().st_size if log.exists() else 0
        of_first = self.stack.environment("node")
        kept = {
            name: value for name, value in of_first.items() if name.startswith("EXCHEQUER_") and name.endswith("_S")
        }
        kept |= {name: of_first[name] for name in ("PATH", "HOME") if name in of_first}
        more = {
            "EXCHEQUER_SANDBOX": of_first["EXCHEQUER_SANDBOX"],
            "BROKER_URL": self.stack.environment("web")["BROKER_URL"],
            "EXCHEQUER_HOME": str(self.folder),
            "EXCHEQUER_CPU_DEVICES": str(self.devices),
        }
        self._started = time.monotonic()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.server.worker", "node", "--credentials", str(self.credentials)],
                cwd=ROOT,
                env=kept | more,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(lambda: b" ready." in log.read_bytes()[before:], lambda: f"its worker:\n{log.read_text()[-3000:]}")
        self._ready = time.monotonic()

    def leave(self) -> None:
        """Stop it as a shutdown does, with a checkpoint of what it runs."""
        assert self.process is not None
        self._at_least_until(time.monotonic())
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.most_s += time.monotonic() - self._started

    def kill(self) -> None:
        """End it and all that it runs at once, as a power cut does. A lease may outlive it."""
        assert self.process is not None
        self._at_least_until(time.monotonic() - self.longest_silence_s)
        self._kill_all()
        self.most_s += time.monotonic() - self._started + self.longest_silence_s

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self._kill_all()

    def _kill_all(self) -> None:
        assert self.process is not None
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)

    def _at_least_until(self, moment: float) -> None:
        self.least_s += max(0.0, moment - self._ready - self.longest_silence_s)
