"""Whether a process of this container works: exit 0, or 1 with the reason. It imports nothing of the product.

python -m deploy.server.health --url http://127.0.0.1:8000/readyz     a server answers with 200
python -m deploy.server.health --beat controller --within 60          a process without a port showed a sign of life
python -m deploy.server.health --socket /run/exchequer/fetcher.sock   the fetcher accepts connections
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path

ANSWER_S = 4.0


def fault_of_url(url: str) -> str:
    """Return why a server does not answer with 200; empty if it does."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S):  # noqa: S310 (given on the command line)
            return ""
    except (OSError, ValueError) as error:
        return f"{url}: {error}"


def fault_of_beat(name: str, within_s: int) -> str:
    """Return why the last sign of life of a process does not count; empty if it does."""
    file = Path(os.environ.get("EXCHEQUER_HOME") or ".exchequer") / "run" / f"{name}.beat"
    try:
        silent_s = time.time() - file.stat().st_mtime
    except OSError as error:
        return f"{file}: {error.strerror}"
    return "" if silent_s <= within_s else f"{name} showed no sign of life for {silent_s:.0f} s"


def fault_of_socket(path: Path) -> str:
    """Return why a unix socket accepts no connection; empty if it does."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
    except OSError as error:
        return f"{path}: {error}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and check; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.health", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--url")
    which.add_argument("--beat", metavar="NAME")
    which.add_argument("--socket", type=Path)
    parser.add_argument("--within", type=int, default=120, metavar="SECONDS", help="for --beat; 120 unless given")
    options = parser.parse_args(arguments)
    if options.url:
        fault = fault_of_url(options.url)
    elif options.beat:
        fault = fault_of_beat(options.beat, options.within)
    else:
        fault = fault_of_socket(options.socket)
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
