"""A real node worker with the test kinds: `python -m tests.fakes.runner.node_worker`.

With `UNRESPONSIVE_AFTER_S` in its environment its consumer stops reading from the broker for that long, although it looks healthy.
With `CLOCK_FILE` the host's clock is wrong by the seconds that this file holds, whenever they change.
"""

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from celery.signals import worker_ready
from django import setup


def main() -> None:
    """Serve this node's queue."""
    if "CLOCK_FILE" in os.environ:
        threading.Thread(target=set_clock, args=[Path(os.environ["CLOCK_FILE"])], daemon=True).start()
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


def set_clock(path: Path) -> None:
    """Set this process' clock to what the file holds, again and again."""
    shift, wrong = "", None
    while True:
        if (read := path.read_text()) != shift:
            if wrong is not None:
                wrong.stop()
            shift, wrong = read, time_machine.travel(datetime.now(UTC) + timedelta(seconds=int(read)), tick=True)
            wrong.start()
            print(f"the clock shows {datetime.now(UTC):%Y-%m-%d}", flush=True)  # noqa: T201
        time.sleep(0.05)


def stop_consuming(sender: Any, **_: Any) -> None:
    """Leave this node's messages in the broker."""
    for queue in list(sender.app.amqp.queues.consume_from):
        sender.cancel_task_queue(queue)


if __name__ == "__main__":
    main()
