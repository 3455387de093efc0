"""Money of one endpoint on this node: what is held, what is committed to batches, when more is needed. Pure.

A reservation is one slice of held money. Each batch starts on the current reservation, and its usage is settled from
it. A replaced reservation is closed when every batch that started on it is settled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from models_app.endpoints.reservations import Slice

NOTHING = Decimal(0)
MILLI = Decimal("0.001")
RENEW_AT = Decimal("0.8")
ASK_AGAIN_S = 5.0
STILL_CALLED_S = 60.0
"""An endpoint counts as busy this long after its last batch: its next slice is then requested before this one ends."""
RENEW_EARLY = timedelta(seconds=30)
OUTAGE_LIFE = timedelta(seconds=60)
"""How much longer a slice pays while the database is unreachable: as long as known keys stay valid."""


@dataclass(slots=True)
class Reservation:
    """One slice and how much of it is used. `pending`: batches that started on it and are not settled yet."""

    money: Slice
    taken_at: float
    used: Decimal = NOTHING
    pending: int = 0

    def left(self) -> Decimal:
        """Return the amount that may still be committed."""
        return self.money.amount - self.used

    def renew_at(self) -> datetime:
        """Return when to request the next slice, a little before this one ends, so that no request waits for it."""
        return self.money.until - min(RENEW_EARLY, (self.money.until - self.money.db_now) / 5)

    def moment(self, now: float) -> datetime:
        """Return the database time for `now` on this machine's monotonic clock."""
        return self.money.db_now + timedelta(seconds=now - self.taken_at)


@dataclass(slots=True)
class SliceBalance:
    """The reservations of one endpoint.

    `state`: the problem code of the last refused slice; empty if it was granted. `answered` is set when a slice, or its
    refusal, arrives. `short`: the last batch could not be paid in full. A slice is requested when a batch needs one,
    and the next only while batches arrive: an idle endpoint holds nothing.
    """

    clock: Callable[[], float]
    reservation: Reservation | None = None
    state: str = ""
    short: bool = False
    wanted: bool = False
    used_at: float = -1e9
    retired: list[Reservation] = field(default_factory=list)
    batch_ms: Decimal = NOTHING
    asked_at: float = -1e9
    answered: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, wanted: int) -> tuple[Reservation | None, int]:
        """Start a batch of `wanted` requests; return the reservation that pays and how many requests it covers.

        A reservation past its `until` pays only while the database is unreachable, and for one minute at most, because
        prices may have changed.
        """
        with self._lock:
            self.answered.clear()
            reservation = self.reservation
            if reservation is None or self._ended(reservation):
                self.wanted = True
                return None, 0
            self.used_at = self.clock()
            paid = wanted
            if not reservation.money.free:
                left = reservation.left() - reservation.money.cost(0, self.batch_ms)
                price = reservation.money.request_price
                paid = 0 if left <= 0 else min(wanted, int(left / price)) if price else wanted
            if not paid and not reservation.used and reservation.money.amount:
                paid = 1  # a slice covers at least one request, or none would ever be answered
            self.short = paid < wanted
            if not paid:
                return None, 0
            reservation.pending += 1
            return reservation, paid

    def spend(self, reservation: Reservation, requests: int, compute_ms: Decimal) -> None:
        """Count a batch about to be recorded."""
        with self._lock:
            reservation.used += reservation.money.cost(requests, compute_ms)
            self.batch_ms = compute_ms

    def undo(self, reservation: Reservation, requests: int, compute_ms: Decimal) -> None:
        """Undo `spend` for a batch that was not recorded."""
        with self._lock:
            reservation.used -= reservation.money.cost(requests, compute_ms)
            reservation.pending -= 1

    def settled(self, reservation: Reservation, batches: int = 1) -> None:
        """Mark batches of a reservation as settled or dropped."""
        with self._lock:
            reservation.pending -= batches

    def find(self, number: int) -> Reservation | None:
        """Return the reservation of a slice number."""
        for reservation in [self.reservation, *self.retired]:
            if reservation is not None and reservation.money.number == number:
                return reservation
        return None

    def wants(self) -> bool:
        """Return whether to request the next slice now, because a batch waits for it or soon will."""
        now = self.clock()
        with self._lock:
            if self.state and now - self.asked_at < ASK_AGAIN_S:
                return False
            reservation = self.reservation
            if reservation is None or self.wanted or self.short:
                return self.wanted or self.short
            ends = reservation.moment(now) >= reservation.renew_at()
            return now - self.used_at < STILL_CALLED_S and (ends or self.running_low)

    def expire(self) -> None:
        """Retire an expired reservation of an idle endpoint."""
        with self._lock:
            if self.reservation is not None and self._ended(self.reservation):
                self.retired.append(self.reservation)
                self.reservation = None

    @property
    def running_low(self) -> bool:
        """Return whether so much is used that the next slice is needed at once."""
        reservation = self.reservation
        return reservation is None or (
            not reservation.money.free and reservation.used >= RENEW_AT * reservation.money.amount
        )

    def install(self, money: Slice, asked_at: float) -> None:
        """Make this slice the current reservation. `asked_at`: the monotonic time before it was requested."""
        with self._lock:
            if self.reservation is not None:
                self.retired.append(self.reservation)
            self.reservation = Reservation(money, asked_at)
            self.state = ""
            self.short = self.wanted = False
            self.asked_at = asked_at
            self.answered.set()

    def refused(self, code: str, asked_at: float) -> None:
        """Record that no further slice was granted; once the money is used up, requests are refused with this code."""
        with self._lock:
            self.state = code
            self.short = self.wanted = False
            self.asked_at = asked_at
            self.answered.set()

    def end(self, holds: Collection[str]) -> None:
        """Retire a reservation whose hold is in `holds`: its budget was lowered, or the hold is used up."""
        with self._lock:
            if self.reservation is not None and str(self.reservation.money.hold_id) in holds:
                self.retired.append(self.reservation)
                self.reservation = None

    def _ended(self, reservation: Reservation) -> bool:
        past = reservation.moment(self.clock()) - reservation.money.until
        return past >= (OUTAGE_LIFE if self.state == "unavailable" else timedelta(0))

    def retire(self) -> None:
        """Retire the current reservation."""
        with self._lock:
            if self.reservation is not None:
                self.retired.append(self.reservation)
            self.reservation = None

    def done(self) -> list[Reservation]:
        """Return the retired reservations with all batches settled; remove them with `drop`."""
        with self._lock:
            return [reservation for reservation in self.retired if reservation.pending <= 0]

    def drop(self, reservation: Reservation) -> None:
        """Remove a reservation whose slice is closed."""
        with self._lock:
            self.retired = [kept for kept in self.retired if kept is not reservation]


def milliseconds(seconds: float) -> Decimal:
    """Return a batch's processor time as billed: milliseconds with three decimals, never zero."""
    return max(MILLI, Decimal(int(seconds * 1_000_000)).scaleb(-3))
