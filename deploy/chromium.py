"""Find the Chromium of the browser tests, or install it, or print how: `python -m deploy.chromium`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

#: The shell without a window comes first: it needs two thirds of the processor time of the whole browser.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PACKAGES = ("chromium-headless-shell", "chromium")
REMEDY = "sudo apt-get install -y chromium"


def find(variables: Mapping[str, str]) -> str | None:
    """Return the path of a Chromium: `$CHROMIUM`, else the first on the PATH."""
    named = variables.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def install() -> bool:
    """Install one of Debian's packages when this is root on a machine with apt; return whether that worked."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    print("installing Chromium for the browser tests (apt-get)", file=sys.stderr, flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}

    def works(*command: str) -> bool:
        done = subprocess.run(command, env=quiet, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    return works("apt-get", "update", "-q") and any(
        works("apt-get", "install", "-y", "-q", "--no-install-recommends", package) for package in PACKAGES
    )


def main() -> int:
    """Print the path of a Chromium; exit 1 with the command to install it if there is none."""
    found = find(os.environ)
    if found is None and not os.environ.get("CHROMIUM") and install():
        found = find(os.environ)
    if found is None:
        wanted = os.environ.get("CHROMIUM")
        reason = f"CHROMIUM={wanted} is no program" if wanted else "no Chromium was found"
        print(f"the browser tests cannot run: {reason}. Type:\n    {REMEDY}", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
