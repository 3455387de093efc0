"""One disposable set of services for a whole test session, shared by all its worker processes.

The first worker that needs a service starts it under a file lock and records its address for the others. The session's
main process stops everything at its end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from filelock import FileLock

from deploy import procfs
from deploy.local.postgres import ROLES, Cluster
from deploy.local.services import SEAWEED_PORTS, SeaweedFS, Valkey
from tests.support.servers.ports import free_port, free_ports
from tests.support.waiting import wait_until

FOLDER_VARIABLE = "EXCHEQUER_TEST_SESSION"
TEST_ROLE = "exchequer_test"
#: Row security does not restrict it: no process of the product may start with such a login.
BYPASSING_ROLE = "exchequer_bypassing"
#: An operator's own login in the web role's group.
GROUPED_ROLE = "exchequer_grouped"
#: Passwords of disposable servers that only this user can reach.
PASSWORDS = dict.fromkeys((*ROLES, TEST_ROLE, BYPASSING_ROLE, GROUPED_ROLE), "throw-away")


@dataclass(frozen=True)
class S3:
    """Address and credentials of the test object store."""

    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str


class Session:
    """The folder of one test session: services, their records and their logs."""

    #: Kept, because a `Popen` collected while its process runs warns; the main process ends them all.
    keepers: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = Cluster(folder / "postgres", PASSWORDS, durable=False)

    @classmethod
    def current(cls) -> Session:
        """Return the session that this process belongs to; the main process makes the folder, its workers inherit it."""
        name = os.environ.get(FOLDER_VARIABLE)
        if name is None or "PYTEST_XDIST_WORKER" not in os.environ:
            # A short path: the name of a database socket must fit into 100 bytes.
            name = os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="exq-", dir="/tmp")
            (Path(name) / "main.pid").write_text(str(os.getpid()))
        return cls(Path(name))

    def once(self, name: str, make: Callable[[], object]) -> object:
        """Run `make` in one process of the session; every process gets its (JSON) result."""
        note = self.folder / f"{name}.json"
        with self.lock(name):
            if not note.exists():
                note.write_text(json.dumps(make()))
            return json.loads(note.read_text())

    def lock(self, name: str) -> FileLock:
        """Return the lock that guards the start of one service."""
        return FileLock(self.folder / f"{name}.lock")

    def start_cluster(self) -> None:
        """Start PostgreSQL and wait until it answers."""
        self.cluster.prepare()
        account = self.cluster.account
        user = (account.uid, account.gid) if os.geteuid() == 0 else None
        self.keep("postgres", self.cluster.command(), user=user)
        self.cluster.wait_ready()

    def stop_cluster(self) -> None:
        """Stop PostgreSQL in an orderly manner, so that its data may be copied."""
        postmaster = int((self.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])
        procfs.stop(postmaster, procfs.FAST_SHUTDOWN, seconds=60)
        self.keepers.pop().wait(60)

    def make_roles(self) -> None:
        """Make the product's roles and the login roles of the tests."""
        with self.cluster.superuser("postgres") as connection:
            connection.execute(f"CREATE ROLE {TEST_ROLE} LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS")
            connection.execute(f"CREATE ROLE {BYPASSING_ROLE} LOGIN BYPASSRLS")
            connection.execute(f"CREATE ROLE {GROUPED_ROLE} LOGIN")
        self.cluster.provision()
        with self.cluster.superuser("postgres") as connection:
            connection.execute(f"GRANT exchequer_app, exchequer_control, exchequer_operator TO {TEST_ROLE}")
            connection.execute(f"GRANT exchequer_app TO {BYPASSING_ROLE}, {GROUPED_ROLE}")
            # As `roles.sql` sets them for exchequer_app: SET ROLE applies none of its settings.
            for name, value in {"role": "exchequer_app", "statement_timeout": "30s", "lock_timeout": "10s"}.items():
                connection.execute(f"ALTER ROLE {TEST_ROLE} SET {name} = '{value}'")

    def start_valkey(self, name: str = "valkey") -> str:
        """Start a Valkey once by `name`; return the URL of its database 0."""

        def make() -> str:
            server = Valkey(self.folder / name, free_port(), "throw-away")
            server.prepare()
            self.keep(name, server.command())
            wait_until(server.ready, "Valkey")
            return server.url

        return str(self.once(name, make))

    def start_s3(self, bucket: str) -> S3:
        """Start SeaweedFS once, with `bucket` in it."""

        def make() -> list[int]:
            ports = free_ports(len(SEAWEED_PORTS))
            server = self._weed(ports)
            server.prepare()
            self.keep("seaweedfs", server.command())
            return ports

        server = self._weed(self.once("seaweedfs", make))  # type: ignore[arg-type]
        wait_until(server.ready, "SeaweedFS")
        wait_until(lambda: server.make_bucket(bucket), f"the bucket {bucket}")
        return S3(server.url, bucket, server.access_key, server.secret_key)

    def keep(self, name: str, command: list[str], user: tuple[int, int] | None = None) -> None:
        """Run `command` until the session's main process ends."""
        main = (self.folder / "main.pid").read_text()
        as_user = [f"--user={user[0]}:{user[1]}"] if user else []
        with (self.folder / f"{name}.log").open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("server_guard.py")), main, "--", *as_user, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.keepers.append(keeper)
        (self.folder / f"{name}.keeper").write_text(str(keeper.pid))

    def stop(self) -> None:
        """Stop every service of the session and remove its folder. Only the main process does this."""
        for note in self.folder.glob("*.keeper"):
            procfs.stop(int(note.read_text()), 15, seconds=10)
        if (self.folder / "seaweedfs.json").exists():
            self._weed(json.loads((self.folder / "seaweedfs.json").read_text())).clear_sockets()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.environ.pop(FOLDER_VARIABLE, None)

    def _weed(self, ports: list[int]) -> SeaweedFS:
        named = dict(zip(SEAWEED_PORTS, ports, strict=True))
        return SeaweedFS(self.folder / "seaweedfs", named, "test-access", "test-secret-key")
