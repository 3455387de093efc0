"""The fetcher: asks the servers that tenants name, and holds no credential.

    python -m deploy.server.fetcher --socket /run/exchequer/fetcher.sock

The web process and the ops worker ask it over this unix socket, which only its own user may open. It reads two
variables, both optional: EXCHEQUER_OUTBOUND_ALLOW (targets beyond public addresses on port 443) and
EXCHEQUER_OUTBOUND_CA (a file of certificate authorities to trust beside the public ones). Once it listens it is confined: it reads no file of
the installation, opens no unix socket, starts no program.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path

from deploy.server import confinement
from tenants.outbound import allowed
from tenants.outbound.fetcher import MOST_AT_ONCE, Fetcher

ROOT = Path(__file__).resolve().parents[2]


def bind(path: Path) -> socket.socket:
    """Return a listener at a path that only this user may open; what an earlier process left there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(MOST_AT_ONCE)
    return listener


def readable() -> list[Path]:
    """Return the folders that the process reads after its start: Python, its own code, and the resolver's files."""
    places = {Path(path).resolve() for path in (sys.prefix, sys.base_prefix, *sys.path) if path}
    # The folder of the product may hold the state folder, with its secrets.
    code = {path for path in places if not ROOT.is_relative_to(path)} | {ROOT / "tenants", ROOT / "deploy"}
    return [*code, *map(Path, ("/usr", "/lib", "/lib64", "/etc", "/run/systemd/resolve", "/run/resolvconf"))]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.fetcher",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--socket", type=Path, required=True, help="where clients find it")
    options = parser.parse_args(arguments)
    authorities = os.environ.get("EXCHEQUER_OUTBOUND_CA")
    try:
        permitted = allowed.parse(os.environ.get("EXCHEQUER_OUTBOUND_ALLOW", ""))
    except ValueError as error:
        sys.exit(f"EXCHEQUER_OUTBOUND_ALLOW: {error}")
    try:
        fetcher = Fetcher(permitted, Path(authorities) if authorities else None)
    except OSError as error:  # an SSLError is one too
        sys.exit(f"EXCHEQUER_OUTBOUND_CA: cannot use {authorities}: {error}")
    listener = bind(options.socket)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    for lacking in confinement.confine(readable()):
        print(f"the fetcher is not confined on this machine: {lacking}", flush=True)
    fetcher.serve(listener)


if __name__ == "__main__":
    main()
