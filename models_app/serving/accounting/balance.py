"""The money of one endpoint on this node: what is held, what of it is promised to batches, when more is needed. Pure.

A purse is one slice of held money. Each batch begins on the purse of its moment and its usage is settled from it; a
purse that was replaced is closed once every batch that began on it is accounted for.
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
"""How long after its last batch an endpoint counts as called: its next slice is then had before this one ends."""
RENEW_EARLY = timedelta(seconds=30)
AWAY_LIFE = timedelta(seconds=60)
"""How much longer a slice pays while the database is away: as long as known keys go on."""


@dataclass(slots=True)
class Reservation:
    """One slice and what of it is used. `pending`: batches that began on it and are not accounted for yet."""

    money: Slice
    taken_at: float
    used: Decimal = NOTHING
    pending: int = 0

    def left(self) -> Decimal:
        """Return what may still be promised."""
        return self.money.amount - self.used

    def renew_at(self) -> datetime:
        """Return when the next slice should be had, so that nobody waits for it: a little before this one ends."""
        return self.money.until - min(RENEW_EARLY, (self.money.until - self.money.db_now) / 5)

    def moment(self, now: float) -> datetime:
        """Return the database's time at `now` on this machine's monotonic clock."""
        return self.money.db_now + timedelta(seconds=now - self.taken_at)


@dataclass(slots=True)
class SliceBalance:
    """The purses of one endpoint.

    `state`: why the last slice that was asked for could not be had, as a problem's code; empty when it was. `answered`
    is set when a slice, or its refusal, arrives. `short`: the last batch could not be paid in full. A slice is taken
    when a batch wants one, and the next only while batches come: who is not called holds nothing.
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
        """Begin a batch of `wanted` requests: return the purse that pays and how many of them it has money for.

        A purse past its `until` pays only while the database is away, and then for a minute: prices may have changed.
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
                paid = 1  # a slice answers one request at least, however long batches take, or none would ever be
            self.short = paid < wanted
            if not paid:
                return None, 0
            purse.pending += 1
            return purse, paid

    def spend(self, purse: Reservation, requests: int, compute_ms: Decimal) -> None:
        """Count a batch that is about to be recorded."""
        with self._lock:
            purse.used += purse.money.cost(requests, compute_ms)
            self.batch_ms = compute_ms

    def undo(self, purse: Reservation, requests: int, compute_ms: Decimal) -> None:
        """Take back a batch that was not recorded."""
        with self._lock:
            purse.used -= purse.money.cost(requests, compute_ms)
            purse.pending -= 1

    def settled(self, purse: Reservation, batches: int = 1) -> None:
        """Say that batches which began on a purse are accounted for, or came to nothing."""
        with self._lock:
            purse.pending -= batches

    def find(self, number: int) -> Reservation | None:
        """Return the purse of a slice."""
        for purse in [self.purse, *self.retired]:
            if purse is not None and purse.money.number == number:
                return purse
        return None

    def wants(self) -> bool:
        """Return whether the next slice should be taken now: a batch waits for it, or will before long."""
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
        """Let a purse go whose time is over while nobody calls."""
        with self._lock:
            if self.purse is not None and self._ended(self.purse):
                self.retired.append(self.purse)
                self.purse = None

    @property
    def running_low(self) -> bool:
        """Whether so much is used that the next slice should be taken at once."""
        purse = self.purse
        return purse is None or (not purse.money.free and purse.used >= RENEW_AT * purse.money.amount)

    def install(self, money: Slice, asked_at: float) -> None:
        """Pay from this slice from now on. `asked_at`: the monotonic time before it was asked for."""
        with self._lock:
            if self.purse is not None:
                self.retired.append(self.purse)
            self.purse = Reservation(money, asked_at)
            self.state = ""
            self.short = self.wanted = False
            self.asked_at = asked_at
            self.answered.set()

    def refused(self, code: str, asked_at: float) -> None:
        """Note that no further slice could be had: with nothing left, requests are refused for this reason."""
        with self._lock:
            self.state = code
            self.short = self.wanted = False
            self.asked_at = asked_at
            self.answered.set()

    def end(self, holds: Collection[str]) -> None:
        """Pay nothing more from a purse whose hold is among these: its budget was lowered, or nothing is left of it."""
        with self._lock:
            if self.purse is not None and str(self.purse.money.hold_id) in holds:
                self.retired.append(self.purse)
                self.purse = None

    def _ended(self, purse: Reservation) -> bool:
        past = purse.moment(self.clock()) - purse.money.until
        return past >= (AWAY_LIFE if self.state == "unavailable" else timedelta(0))

    def retire(self) -> None:
        """Pay for nothing more."""
        with self._lock:
            if self.purse is not None:
                self.retired.append(self.purse)
            self.purse = None

    def done(self) -> list[Reservation]:
        """Return the retired purses of which everything is accounted for; forget them with `drop`."""
        with self._lock:
            return [purse for purse in self.retired if purse.pending <= 0]

    def drop(self, purse: Reservation) -> None:
        """Forget a purse whose slice is closed."""
        with self._lock:
            self.retired = [kept for kept in self.retired if kept is not purse]


def milliseconds(seconds: float) -> Decimal:
    """Return a batch's processor time as it is billed: milliseconds with three decimals, never nothing."""
    return max(MILLI, Decimal(int(seconds * 1_000_000)).scaleb(-3))
