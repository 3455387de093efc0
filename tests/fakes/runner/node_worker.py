"""A real node worker that also knows the test kind: `python -m tests.fakes.runner.node_worker`."""

from django import setup


def main() -> None:
    """Serve this node's queue."""
    setup()
    from django.conf import settings

    from compute.tasks import queue_of
    from config.celery import app
    from tests.fakes.runner import kind

    kind.install()
    queue = queue_of(settings.EXCHEQUER.effective_node_id)
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


if __name__ == "__main__":
    main()
