"""The Celery workers: `ops`, of which several may run, and `node`, one a host.

    python -m deploy.server.worker ops      emails, webhooks, invoices, exports, events
    python -m deploy.server.worker node     the work of this node's devices; --credentials names the file that `node join` wrote

This process becomes Celery's. SIGTERM ends it: a node stops its attempts with a checkpoint first.
"""

from __future__ import annotations

import argparse
import os
import sys

from config import node_settings
from deploy import node_file

#: How many tasks an ops worker carries out at once.
OPS_THREADS = 4
ROLES = {"ops": "control", "node": "app"}
NO_NODE = (
    f"{node_settings.SECRET} is not set: a worker does the work of a node that joined, and holds no key of the platform. "
    "Join with `manage.py node join`, and name the file that it writes with --credentials"
)


def command(kind: str, node: str, devices: int) -> list[str]:
    """Return the command of a worker. A node has a thread a device, each of which supervises a child that trains."""
    queue, threads, name = (
        ("ops", OPS_THREADS, "ops@%h") if kind == "ops" else (f"node.{node}", devices, f"node@{node}")
    )
    return [
        *(sys.executable, "-m", "celery", "-A", "config", "worker", "--without-gossip", "--without-mingle"),
        *("--loglevel=INFO", f"--queues={queue}", "--pool=threads", f"--concurrency={threads}", f"--hostname={name}"),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and become the worker."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=list(ROLES))
    node_file.option(parser)
    options = parser.parse_args(arguments)
    kind = options.kind
    node_file.take(options)
    if kind == "node" and not node_settings.is_node(os.environ):
        sys.exit(NO_NODE)
    os.environ.setdefault("EXCHEQUER_DB_ROLE", ROLES[kind])
    from config.env import load

    settings = load()
    line = command(kind, settings.effective_node_id, settings.effective_cpu_devices)
    os.execv(line[0], line)  # noqa: S606 (our own interpreter)


if __name__ == "__main__":
    main()
