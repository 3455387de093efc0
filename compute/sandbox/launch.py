"""First code of every child: confine the process, then run the kind's entrypoint in it.

Called as `python -I launch.py ENTRYPOINT --attempt ID` in the work folder, with `sandbox.json` beside it. `-I` keeps
the environment and the current folder off sys.path; the product's root is added explicitly.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> None:
    """Confine this process by `sandbox.json` of the current folder, then run the entrypoint."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = True
    from compute.sandbox import sandbox

    settings = json.loads(Path("sandbox.json").read_text())
    policy = sandbox.Policy(
        workdir=Path.cwd(),
        read_paths=tuple(Path(name) for name in settings["read_paths"]),
        cuda=settings["cuda"],
        address_space=settings["address_space"],
        threads=settings["threads"],
        file_size=settings["file_size"],
        user=settings["user"],
        network=settings["network"],
        required=settings["required"],
    )
    for package in policy.read_paths:  # found now: afterwards their parent folder cannot be listed
        if package.parent == ROOT:
            importlib.import_module(package.name)
    try:
        sandbox.confine(policy)
        if os.getppid() != settings["parent"]:  # the parent exited before the death signal was set
            sys.exit("the supervisor is gone")
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    except sandbox.SandboxIncomplete as refusal:
        sys.stderr.write(f"{refusal}\n")
        sys.exit(sandbox.EXIT_REFUSED)


if __name__ == "__main__":
    main(sys.argv[1:])
