"""A RabbitMQ server of a test's own, from the machine's package."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from compute.procfs import group_members
from tests.support.servers.ports import free_ports
from tests.support.waiting import wait_until

#: Debian's script of the same name on the PATH changes to a user of its own.
SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
MISSING = "RabbitMQ is not installed here; type: apt-get update && apt-get install --yes --no-install-recommends rabbitmq-server"
CONFIGURATION = """
listeners.tcp.1 = {host}:{port}
distribution.listener.interface = 127.0.0.1
loopback_users = none
default_user = exchequer
default_pass = {password}
log.console = true
log.file = false
disk_free_limit.absolute = 50MB
"""


class RabbitMQ:
    """One server with one user; `prefix` is put before its command, as to start it in a network namespace."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> None:
        if not SCRIPT.exists():
            pytest.fail(MISSING, pytrace=False)
        self.folder, self.host, self.prefix = folder, host, prefix
        self.port, self._distribution, self._names = free_ports(3)
        self._password = "not-a-secret"
        self._said = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL for Celery."""
        return f"amqp://exchequer:{self._password}@{self.host}:{self.port}//"

    @property
    def pid(self) -> int:
        """Return the process id of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {"host": self.host, "port": self.port, "password": self._password}
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION.format(**values))
        with (self.folder / "out").open("ab") as out:
            self._said = out.tell()
            self._process = subprocess.Popen(
                [*self.prefix, str(SCRIPT)], env=self._environment(), stdout=out, stderr=out, start_new_session=True
            )
        wait_until(self._listens, "RabbitMQ", 60)

    def kill(self) -> None:
        """Kill it, as a fault does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it, and the name server of its own that it started."""
        self._end(signal.SIGTERM)
        epmd = shutil.which("epmd")
        if epmd:
            subprocess.run(
                [*self.prefix, epmd, "-port", str(self._names), "-kill"], capture_output=True, check=False, timeout=10
            )

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, how)
            self._process.wait(
                30
            )  # a shell: the server below it goes on for a moment, and has the name that the next one needs
            wait_until(lambda: not group_members(self.pid), "RabbitMQ to end", 60)

    def _listens(self) -> bool:
        assert self._process is not None
        text = (self.folder / "out").read_bytes()[self._said :].decode(errors="replace")
        assert self._process.poll() is None, text[-2000:]
        return f"started TCP listener on {self.host}:{self.port}" in text

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": "exchequer@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._names),
        }
