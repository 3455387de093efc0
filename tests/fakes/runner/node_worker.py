"""A real node worker with the test kinds: `python -m tests.fakes.runner.node_worker`.

With `UNRESPONSIVE_AFTER_S` in its environment its consumer stops reading from the broker for that long, although it looks healthy.
"""

import os
from typing import Any

from celery.signals import worker_ready
from django import setup


def main() -> None:
    """Serve this node's queue."""
    setup()
    from django.conf import settings

    from compute import limits
    from compute.tasks import queue_of
    from config.celery import app
    from tests.fakes.runner import kind

    kind.install()
    queue = queue_of(settings.EXCHEQUER.effective_node_id)
    if "UNRESPONSIVE_AFTER_S" in os.environ:
        limits.UNRESPONSIVE_AFTER_S = float(os.environ["UNRESPONSIVE_AFTER_S"])
        worker_ready.connect(stop_consuming)
    app.worker_main(
        [
            "worker",
            "-P",
            "threads",
            "-c",
            "1",
            "-Q",
            queue,
            "-n",
            f"{queue}@%h",
            "--without-mingle",
            "--without-gossip",
            "-l",
            "INFO",
        ]
    )


def stop_consuming(sender: Any, **_: Any) -> None:
    """Leave this node's messages in the broker."""
    for queue in list(sender.app.amqp.queues.consume_from):
        sender.cancel_task_queue(queue)


if __name__ == "__main__":
    main()
