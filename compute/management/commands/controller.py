"""`manage.py controller`: assign devices, reap lost attempts, relay the outbox, fire schedules. Run two; one leads."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from compute.scheduling.controller import Controller


class Command(BaseCommand):
    """Run the controller until SIGTERM or SIGINT."""

    help = "Run the controller: assign, reap, relay, fire schedules. Several may run; one of them leads."

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until asked to stop."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        Controller(stop).run()
