"""The accounting thread: reserves money, settles the spool, stores traffic sums.

No request waits for it, except for money.

Every step is idempotent: usage counts once by its key, a slice closes once, and traffic sums that could not be stored
are kept for the next try.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from billing.budgets.holds import BudgetExceeded
from models_app.endpoints.deployments import EndpointSpec
from models_app.endpoints.reservations import SliceClosed
from models_app.serving.accounting import spool
from models_app.serving.accounting.balance import SliceBalance
from models_app.serving.accounting.settlement import Record, quarantine, settle
from models_app.serving.accounting.traffic import TrafficRecorder
from models_app.serving.backend import Backend, BackendUnavailable
from tenants.errors import ExchequerError, NotFound

log = structlog.get_logger(__name__)

PAUSE_S, LONGEST_PAUSE_S = 1.0, 10.0
FLUSH_S = 5.0


class EndpointAccount:
    """The balance and traffic sums of one endpoint, kept across all versions it serves while this node runs.

    `asking`: the number of the requested slice, kept until it is known whether it was granted.
    """

    def __init__(self, order: EndpointSpec, clock: Callable[[], float]) -> None:
        self.order = order
        self.balance = SliceBalance(clock)
        self.traffic = TrafficRecorder()
        self.open = True
        self.asking = 0


class UsageAccountant:
    """The accounts of all endpoints of a node."""

    def __init__(self, backend: Backend, spooled: spool.Spool, clock: Callable[[], float]) -> None:
        self.accounts: dict[UUID, EndpointAccount] = {}
        self.quarantined = 0
        self._backend = backend
        self._spool = spooled
        self._folder: Path = spooled.folder
        self._reader = spool.Reader(spooled.folder, spooled.boot)
        self._clock = clock
        self._left_behind = [boot for boot in spool.boots(spooled.folder) if boot != spooled.boot]
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._pause = PAUSE_S
        self._flushed_at = clock()
        # Never goes back within a boot: an endpoint that returns must not get the closed slices of its first stay.
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._run, name="books", daemon=True)

    def start(self) -> None:
        """Start the accounting thread."""
        self._thread.start()

    def wake(self) -> None:
        """Wake the thread because money runs low."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """Settle the spool, release unused money and stop. What exceeds `seconds` is left to the next boot."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)

    def account(self, order: EndpointSpec) -> EndpointAccount:
        """Return the account of an endpoint; create it if new."""
        with self._turn:
            found = self.accounts.get(order.endpoint_id)
            if found is None:
                found = self.accounts[order.endpoint_id] = EndpointAccount(order, self._clock)
            found.order, found.open = order, True
            return found

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._stopping
            try:
                self._round(last=ending)
                self._pause = PAUSE_S
            except BackendUnavailable:
                self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            except Exception:
                log.exception("books.failed")
            if not self._stopping:
                self._wake.wait(self._pause)
                self._wake.clear()

    def _round(self, *, last: bool) -> None:
        for account in list(self.accounts.values()):
            account.traffic.count()
        if not last:
            self._take_slices()
        else:
            for account in self.accounts.values():
                account.open = False
        while self._settle(self._reader, self._spool.synced):
            if not last:
                self._take_slices()
        self._close_slices()
        if self._left_behind:
            self._replay(self._left_behind[0])
        if last or self._clock() - self._flushed_at >= FLUSH_S:
            self._flush()

    def _take_slices(self) -> None:
        for account in list(self.accounts.values()):
            if account.open:
                account.balance.expire()
            if not account.open or not account.balance.wants():
                continue
            balance, order = account.balance, account.order
            asked_at = self._clock()
            account.asking = account.asking or next(self._numbers)
            try:
                self._note(order)
                balance.install(self._backend.take(order, self._spool.boot, account.asking), asked_at)
                account.asking = 0
            except SliceClosed:
                account.asking = 0
                self._wake.set()
            except BudgetExceeded as error:
                balance.refused(error.code, asked_at)
            except NotFound:
                account.open = False
                balance.refused("not_found", asked_at)
            except BackendUnavailable:
                balance.refused("unavailable", asked_at)
                raise
            except Exception:  # for example a full disk: other endpoints and spooled records must go on
                log.exception("slice.not_taken", endpoint=order.name)
                balance.refused("unavailable", asked_at)

    def _note(self, order: EndpointSpec) -> None:
        """Record on disk that this boot holds money for an endpoint.

        This precedes the hold, so that the next boot can release it.
        """
        path = self._folder / f"{self._spool.boot}.slices"
        line = f"{order.tenant_id} {order.endpoint_id}\n"
        if not path.exists() or line not in path.read_text():
            with path.open("a") as file:
                file.write(line)

    def _settle(self, reader: spool.Reader, until: spool.SpoolPosition | None) -> bool:
        """Settle the next records; return whether there may be more."""
        records, place = reader.read(until)
        by_tenant: dict[UUID, list[dict[str, Any]]] = {}
        ended: set[str] = set()
        refused: list[tuple[Record, str]] = []
        for record in records:
            by_tenant.setdefault(UUID(record["tenant"]), []).append(record)
        for tenant_id, own in by_tenant.items():
            outcome = settle(self._backend, tenant_id, reader.boot, own)
            ended |= outcome.ended
            refused += outcome.refused
        quarantine(self._folder, reader.boot, refused)
        self.quarantined += len(refused)
        reader.advance(place)
        if reader.boot == self._spool.boot:
            for record in records:
                account = self.accounts.get(UUID(record["endpoint"]))
                reservation = account.balance.find(record["slice"]) if account else None
                if account and reservation:
                    account.balance.settled(reservation)
            for account in list(self.accounts.values()):
                account.balance.end(ended)
        return bool(records)

    def _close_slices(self) -> None:
        for endpoint_id, account in list(self.accounts.items()):
            if not account.open:
                account.balance.retire()
            for reservation in account.balance.done():
                try:
                    self._backend.close(account.order.tenant_id, reservation.money)
                except ExchequerError as error:
                    log.error("slice.not_closed", endpoint=account.order.name, reason=str(error))
                account.balance.drop(reservation)
            if not account.open and not account.balance.retired:
                self._flush_one(account)
                with self._turn:  # a thread that got the account meanwhile still uses it, so it stays
                    if not account.open:
                        self.accounts.pop(endpoint_id, None)

    def _replay(self, boot: UUID) -> None:
        """Settle the records of an earlier boot of this node, and release what it held."""
        reader = spool.Reader(self._folder, boot)
        while self._settle(reader, None):
            pass
        slices = self._folder / f"{boot}.slices"
        for line in slices.read_text().splitlines() if slices.exists() else []:
            tenant_id, _, endpoint_id = line.partition(" ")
            try:
                self._backend.close_left_behind(UUID(tenant_id), UUID(endpoint_id), boot)
            except (ExchequerError, ValueError) as error:
                log.error("books.left_behind", reason=str(error))
        reader.forget()
        slices.unlink(missing_ok=True)
        self._left_behind.remove(boot)
        log.info("spool.replayed", boot=str(boot))

    def _flush(self) -> None:
        self._flushed_at = self._clock()
        for account in list(self.accounts.values()):
            self._flush_one(account)

    def _flush_one(self, account: EndpointAccount) -> None:
        account.traffic.count()
        try:
            self._backend.flush(account.order, account.traffic.window)
        except BackendUnavailable:
            raise
        except Exception:
            log.exception("health.not_stored", endpoint=account.order.name)


def wait_for(done: Callable[[], bool], seconds: float) -> bool:
    """Wait until `done`, for at most `seconds`; return its result."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
