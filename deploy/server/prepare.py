"""Prepare a database for this release: roles, migrations, and the organisation and operator of EXCHEQUER_INIT_*.

    python -m deploy.server.prepare

DATABASE_ADMIN_URL names an administrator: `roles.sql` runs as they, and each role gets the password that its URL holds.
Without it the roles must exist (see deploy/roles.sql). Then the owner migrates, and `bootstrap` creates what is absent.
It may run again at any time, and with each release before its processes start; it changes nothing that is in place.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from config import variables
from config.databases import DATABASE_URLS, DatabaseRole
from config.env import NAMES
from deploy import roles

ROOT = Path(__file__).resolve().parents[2]
#: One preparation at a time, in whichever container: of the database's advisory locks.
LOCK = 0x45584348_00000009


def passwords_in(urls: dict[DatabaseRole, str]) -> dict[str, str]:
    """Return the passwords that the URLs hold for the product's own roles."""
    found = [(role, conninfo_to_dict(url)) for role, url in urls.items() if url]
    return {
        f"exchequer_{role}": str(parts["password"])
        for role, parts in found
        if parts.get("user") == f"exchequer_{role}" and parts.get("password")
    }


def administrator(url: str, wait_s: float) -> psycopg.Connection:
    """Connect as an administrator, in autocommit mode; wait for a server that is still starting."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return psycopg.connect(url, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                sys.exit(f"the database does not answer: {str(error).strip().splitlines()[0]}")
            time.sleep(1)


def manage(command: str, role: DatabaseRole, environ: dict[str, str], *more: str) -> None:
    """Run a command of `manage.py` as one role; exit with its code if it fails."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), command, *more],
        cwd=ROOT,
        env=environ | {"EXCHEQUER_DB_ROLE": role},
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and prepare."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="for the database; 60 unless given")
    options = parser.parse_args(arguments)
    try:
        environ = {**os.environ, **variables.from_files(os.environ, NAMES)}
    except variables.Unreadable as error:
        sys.exit(str(error))
    admin = environ.pop("DATABASE_ADMIN_URL", "")
    if admin:
        urls = {role: environ.get(name, "") for role, name in DATABASE_URLS.items()}
        with administrator(admin, options.wait) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            roles.grant(connection)
            roles.set_passwords(connection, passwords_in(urls))
        print("the roles are in place", flush=True)
    manage("migrate", "owner", environ, "--no-input")
    if any(environ.get(name) for name in environ if name.startswith("EXCHEQUER_INIT_")):
        manage("bootstrap", "control", environ)


if __name__ == "__main__":
    main()
