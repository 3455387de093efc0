"""The state folder of an installation (`EXCHEQUER_HOME`): its lock, secrets, ports and logs."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.postgres import ROLES, StartError, random_passwords
from deploy.local.services import SEAWEED_PORTS, free_ports, port_free

LOG_BYTES = 10 * 1024 * 1024
MASTER_KEY = "master.key"
#: Signs checkpoints of the audit chains: for ops alone.
AUDIT_KEY = "EXCHEQUER_AUDIT_KEY"
#: Only those that read or write stored files hold it: web, ops, node and serving node.
MASTER_KEYS = (
    "EXCHEQUER_MASTER_KEY",
    "EXCHEQUER_MASTER_KEY_FILE",
    "EXCHEQUER_MASTER_KEY_PREVIOUS",
)


class Home:
    """A state folder. Secrets are created once and kept in `secrets.json`, which only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self._lock: int | None = None

    def take(self) -> None:
        """Create the folder and lock it for this process; raise `StartError` if another one holds it."""
        try:
            for folder in (self.path, self.logs, self.run):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StartError(
                f"the state folder {self.path} cannot be made ({error.strerror}): set EXCHEQUER_HOME"
            ) from error
        if self.path.stat().st_uid != os.geteuid():
            raise StartError(
                f"{self.path} belongs to another user: start as that user, or set EXCHEQUER_HOME to another folder"
            )
        self._lock = os.open(self.run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode().strip() or "unknown"
            raise StartError(
                f"Exchequer already runs on {self.path} (process {holder}): stop it first, or set EXCHEQUER_HOME to another folder"
            ) from None
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        self.write_pid("up", os.getpid())

    def secrets(self) -> dict[str, Any]:
        """Return the secrets and ports of this home, created at the first call; ports taken by others are replaced."""
        kept = self._noted()
        fresh = {
            "secret_key": secrets.token_urlsafe(48),
            "operator_secret_key": secrets.token_urlsafe(48),
            "valkey": secrets.token_urlsafe(24),
            "s3_access_key": secrets.token_hex(10),
            "s3_secret_key": secrets.token_urlsafe(30),
        }
        known = fresh | kept
        known["database"] = random_passwords(ROLES) | kept.get("database", {})
        known["ports"] = _usable_ports(kept.get("ports", {}))
        self.write_private("secrets.json", json.dumps(known, indent=2))
        return known

    def master_key(self, given: Mapping[str, str]) -> tuple[dict[str, str], Path | None]:
        """Return the variables that name the master key, and its file if it was just created.

        It is created once, if none is given: another key in its place could not open stored files. Raises `StartError`
        if it is missing later.
        """
        named = {name: given[name] for name in MASTER_KEYS if given.get(name)}
        if named:
            return named, None
        file, kept = self.path / MASTER_KEY, self._noted()
        if file.exists():
            made = False
        elif kept.get("master_key_made"):
            raise StartError(
                f"{file} is missing, and stored files cannot be read without it: put your copy of the key there "
                "(mode 0600), or name it with EXCHEQUER_MASTER_KEY_FILE"
            )
        else:
            self.write_private(MASTER_KEY, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
            made = True
        if not kept.get("master_key_made"):
            self.write_private("secrets.json", json.dumps(kept | {"master_key_made": True}, indent=2))
        return {"EXCHEQUER_MASTER_KEY_FILE": str(file)}, file if made else None

    def audit_key(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the variable that names the key of audit checkpoints, created at the first call if none is given."""
        if given.get(AUDIT_KEY):
            return {AUDIT_KEY: given[AUDIT_KEY]}
        file = self.path / "audit.key"
        if not file.exists():
            self.write_private(file.name, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        return {f"{AUDIT_KEY}_FILE": str(file)}

    def _noted(self) -> dict[str, Any]:
        """Return the content of `secrets.json`.

        Raises `StartError` if it is damaged, since its passwords open stored data.
        """
        file = self.path / "secrets.json"
        try:
            noted: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        except ValueError:
            raise StartError(
                f"{file} is damaged: put a copy of it there, or set EXCHEQUER_HOME to another folder to start from scratch"
            ) from None
        return noted

    def write_private(self, name: str, text: str) -> Path:
        """Write a file readable only by its owner, atomically."""
        target = self.path / name
        draft = target.with_name(f".{target.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.replace(target)
        return target

    def log(self, name: str) -> Path:
        """Return the path of a part's log."""
        return self.logs / f"{name}.log"

    def fresh_log(self, name: str) -> Path:
        """Return the log for a start of a part; a long one is rotated to `NAME.log.1`."""
        path = self.log(name)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def write_pid(self, name: str, pid: int) -> None:
        """Write the process id of a part."""
        (self.run / f"{name}.pid").write_text(f"{pid}\n")

    def remove_pid(self, name: str) -> None:
        """Remove the process id of an ended part."""
        (self.run / f"{name}.pid").unlink(missing_ok=True)


def _usable_ports(kept: dict[str, int]) -> dict[str, int]:
    names = ("valkey", *SEAWEED_PORTS)
    wanted = [name for name in names if name not in kept or not port_free(kept[name])]
    return {
        **{name: kept[name] for name in names if name in kept},
        **dict(zip(wanted, free_ports(len(wanted)), strict=True)),
    }
