"""The heartbeat of one attempt: what is to be sent, when it is due, and how long the lease can be trusted.

While PostgreSQL is unreachable nothing is dropped: the batch waits for the next heartbeat. When the lease has expired
by this process's own clock, which starts before the renewing query, the attempt counts as lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, connection

from compute import kinds
from compute.leases import leases
from compute.models import Outcome
from compute.pg_session import AWAY
from compute.sandbox import protocol

BAD_VALUES = (DataError, UnicodeEncodeError)
REFUSED = (*BAD_VALUES, IntegrityError)


class HeartbeatSender:
    """Renews one attempt's lease."""

    def __init__(self, mine: leases.Claim) -> None:
        self.beat = leases.Heartbeat()
        self.next = time.monotonic() + settings.EXCHEQUER.heartbeat_s
        self._mine = mine
        self._acked = time.monotonic()
        self._wake = threading.Event()

    def wake(self) -> None:
        """Make a heartbeat due now."""
        self._wake.set()

    def due(self) -> bool:
        """Return whether a heartbeat is due."""
        return time.monotonic() >= self.next or self._wake.is_set()

    def renew(self) -> tuple[leases.HeartbeatReply, float] | None:
        """Send a heartbeat; return its reply and the time of the request, or None if the database is unreachable.

        Raises Fenced if the attempt is no longer ours, or may not be; BadOutput if the database refuses a value that
        the child reported, which is then dropped.
        """
        self._wake.clear()
        asked = time.monotonic()
        try:
            answer = leases.heartbeat(self._mine, self.beat)
        except AWAY:
            self._away()
            return None
        except BAD_VALUES as error:
            if not self.beat.drop_reported():
                raise
            raise kinds.BadReport("It reported values that cannot be stored.") from error
        self._acked, self.next = asked, asked + settings.EXCHEQUER.heartbeat_s
        self.beat = leases.Heartbeat()
        return answer, asked

    def finish(
        self,
        outcome: Outcome,
        message: str,
        exit_code: int | None,
        complete: Callable[[kinds.JobView], dict[str, Any]] | None,
    ) -> None:
        """End the attempt and send the last batch, waiting for the database within the lease. Raises Fenced.

        A result, or a last report, that the database refuses as a value counts as a crash of the child.
        """
        message = protocol.clean(message, 2_000)
        while True:
            try:
                leases.finish(self._mine, outcome, self.beat, message=message, exit_code=exit_code, complete=complete)
            except AWAY:
                self._away()
                time.sleep(0.2)
            except REFUSED:
                if complete is None and not self.beat.drop_reported():
                    raise
                if outcome != Outcome.CRASHED:
                    outcome, message = Outcome.CRASHED, "It produced values that cannot be stored."
                complete = None
            else:
                return

    def rest(self, future: Future[Any]) -> None:
        """Wait for parallel work, at most until the next heartbeat."""
        wait([future], timeout=min(0.25, max(0.01, self.next - time.monotonic())))

    def _away(self) -> None:
        connection.close()
        now = time.monotonic()
        if now - self._acked >= settings.EXCHEQUER.lease_s:
            raise leases.Fenced("The database was unavailable for longer than the lease.")
        self.next = now + min(0.5, settings.EXCHEQUER.heartbeat_s / 2)


def beside(work: Callable[[], Any]) -> Future[Any]:
    """Run work in a daemon thread with its own database connection."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
            future.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=run, daemon=True).start()
    return future
