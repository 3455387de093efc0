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
AWAY_LIFE = timedelta(seconds=60)
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
    purse: Reservation | None = None
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
            purse = self.purse
            if purse is None or self._ended(purse):
                self.wanted = True
                return None, 0
            self.used_at = self.clock()
            paid = wanted
            if not purse.money.free:
                left = purse.left() - purse.money.cost(0, self.batch_ms)
                price = purse.money.request_price
                paid = 0 if left <= 0 else min(wanted, int(left / price)) if price else wanted
            if not paid and not purse.used and purse.money.amount:
                paid = 1  # a slice covers at least one request, or none would ever be answered
            self.short = paid < wanted
            if not paid:
                return None, 0
            purse.pending += 1
            return purse, paid

    def spend(self, purse: Reservation, requests: int, compute_ms: Decimal) -> None:
        """Count a batch about to be recorded."""
        with self._lock:
            purse.used += purse.money.cost(requests, compute_ms)
            self.batch_ms = compute_ms

    def undo(self, purse: Reservation, requests: int, compute_ms: Decimal) -> None:
        """Undo `spend` for a batch that was not recorded."""
        with self._lock:
            purse.used -= purse.money.cost(requests, compute_ms)
            purse.pending -= 1

    def settled(self, purse: Reservation, batches: int = 1) -> None:
        """Mark batches of a reservation as settled or dropped."""
        with self._lock:
            purse.pending -= batches

    def find(self, number: int) -> Reservation | None:
        """Return the reservation of a slice number."""
        for purse in [self.purse, *self.retired]:
            if purse is not None and purse.money.number == number:
                return purse
        return None

    def wants(self) -> bool:
        """Return whether to request the next slice now, because a batch waits for it or soon will."""
        now = self.clock()
        with self._lock:
            if self.state and now - self.asked_at < ASK_AGAIN_S:
                return False
            purse = self.purse
            if purse is None or self.wanted or self.short:
                return self.wanted or self.short
            ends = purse.moment(now) >= purse.renew_at()
            return now - self.used_at < STILL_CALLED_S and (ends or self.running_low)

    def expire(self) -> None:
        """Retire an expired reservation of an idle endpoint."""
        with self._lock:
            if self.purse is not None and self._ended(self.purse):
                self.retired.append(self.purse)
                self.purse = None

    @property
    def running_low(self) -> bool:
        """Return whether so much is used that the next slice is needed at once."""
        purse = self.purse
        return purse is None or (not purse.money.free and purse.used >= RENEW_AT * purse.money.amount)

    def install(self, money: Slice, asked_at: float) -> None:
        """Make this slice the current reservation. `asked_at`: the monotonic time before it was requested."""
        with self._lock:
            if self.purse is not None:
                self.retired.append(self.purse)
            self.purse = Reservation(money, asked_at)
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
            if self.purse is not None and str(self.purse.money.hold_id) in holds:
                self.retired.append(self.purse)
                self.purse = None

    def _ended(self, purse: Reservation) -> bool:
        past = purse.moment(self.clock()) - purse.money.until
        return past >= (AWAY_LIFE if self.state == "unavailable" else timedelta(0))

    def retire(self) -> None:
        """Retire the current reservation."""
        with self._lock:
            if self.purse is not None:
                self.retired.append(self.purse)
            self.purse = None

    def done(self) -> list[Reservation]:
        """Return the retired reservations with all batches settled; remove them with `drop`."""
        with self._lock:
            return [purse for purse in self.retired if purse.pending <= 0]

    def drop(self, purse: Reservation) -> None:
        """Remove a reservation whose slice is closed."""
        with self._lock:
            self.retired = [kept for kept in self.retired if kept is not purse]


def milliseconds(seconds: float) -> Decimal:
    """Return a batch's processor time as billed: milliseconds with three decimals, never zero."""
    return max(MILLI, Decimal(int(seconds * 1_000_000)).scaleb(-3))
