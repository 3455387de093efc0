"""The operating-system account that runs PostgreSQL, and the folders that it must be able to traverse."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Tried in this order when root starts the stack, because PostgreSQL refuses to run as root. `nobody` is not among
#: them: the sandbox of attempts may run as it, and must not reach the data.
CANDIDATES = ("postgres", "exchequer-db", "daemon")
CREATED = "exchequer-db"


class AccountError(Exception):
    """No operating-system account can run PostgreSQL here."""


@dataclass(frozen=True)
class SystemAccount:
    """An operating-system account with an entry in the user database."""

    name: str
    uid: int
    gid: int


def caller() -> SystemAccount:
    """Return the account that runs this process.

    Raises:
        AccountError: if the user id has no name, which `initdb` and peer authentication need.
    """
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise AccountError(
            f"user id {os.geteuid()} has no entry in the user database, which PostgreSQL needs: "
            "start as a user with a name, or give DATABASE_URL, DATABASE_CONTROL_URL and DATABASE_OWNER_URL"
        ) from None
    return SystemAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)


def server_account() -> SystemAccount:
    """Return the account for the server: the caller's own or, for root, an unprivileged one (created if necessary)."""
    me = caller()
    if me.uid != 0:
        return me
    found = _lookup(CANDIDATES[:2])
    if found is None and shutil.which("useradd"):
        made = subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", CREATED],
            check=False,
            capture_output=True,
        )
        found = _lookup((CREATED,)) if made.returncode == 0 else None
    found = found or _lookup(CANDIDATES)
    if found is None:
        raise AccountError(
            f"PostgreSQL refuses to run as root, and none of the accounts {', '.join(CANDIDATES)} exists: "
            f"add one (useradd --system {CREATED}) or start as a plain user"
        )
    return found


def _lookup(names: tuple[str, ...]) -> SystemAccount | None:
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return SystemAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)
    return None


def open_parents(path: Path, account: SystemAccount) -> list[Path]:
    """Let `account` traverse the parents of `path`: add `o+x`, and nothing more, where it is missing.

    Returns the folders that were changed, outermost first.
    """
    opened = []
    for parent in reversed(path.resolve().parents):
        info = parent.stat()
        if info.st_uid == account.uid and info.st_mode & stat.S_IXUSR:
            continue
        if info.st_gid == account.gid and info.st_mode & stat.S_IXGRP:
            continue
        if info.st_mode & stat.S_IXOTH:
            continue
        parent.chmod(stat.S_IMODE(info.st_mode) | stat.S_IXOTH)
        opened.append(parent)
    return opened
