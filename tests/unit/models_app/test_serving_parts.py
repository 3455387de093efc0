"""The pure parts of the serving node: batcher, token bucket, balance, spool."""

from __future__ import annotations

import errno
import os
import random
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.endpoints.reservations import LIFE, Slice
from models_app.serving.accounting.balance import SliceBalance, milliseconds
from models_app.serving.accounting.spool import Reader, Spool, SpoolPosition, backlog, boots, decode, encode, segments
from models_app.serving.engine.batcher import Batcher, Closed, Overloaded
from models_app.serving.requests.rate_limit import Bucket
from tests.support.waiting import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# batcher


@given(st.lists(st.one_of(st.integers(1, 12), st.just("take")), max_size=60))
def test_batches_keep_the_order_lose_nothing_and_stay_below_the_caps(steps):
    batcher = Batcher(clock=Clock(), slo_s=9, max_batch=4, max_batch_weight=20, max_waiting=1000)
    offered, taken = [], []
    for step in steps:
        if step == "take":
            batch = batcher.take(0)
            assert len(batch) <= 4
            assert len(batch) == 1 or sum(weight for _, weight in batch) <= 20
            waited = len(offered) - len(taken)
            if waited:
                assert batch, "greedy: whatever waits is taken at once"
                fits = sum(weight for _, weight in offered[len(taken) : len(taken) + len(batch) + 1]) <= 20
                assert len(batch) == min(4, waited) or not fits
            taken += batch
            batcher.finished()
        else:
            offered.append((len(offered), step))
            batcher.offer(offered[-1], step)
    batcher.close()
    while batch := batcher.take(0):
        taken += batch
    assert taken == offered
    assert batcher.drained


def test_a_waiting_taker_gets_an_item_at_once_and_close_lets_it_go():
    batcher: Batcher[str] = Batcher(clock=Clock(), slo_s=1)
    seen: list[list[str]] = []

    def taker() -> None:
        while not batcher.drained:
            seen.append(batcher.take(20))
            batcher.finished()

    thread = threading.Thread(target=taker)
    thread.start()
    batcher.offer("a")
    wait_until(lambda: ["a"] in seen, "it is taken")
    batcher.close()
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(Closed):
        batcher.offer("b")


def test_a_request_that_would_wait_beyond_the_slo_is_refused_with_the_wait():
    clock = Clock()
    batcher: Batcher[int] = Batcher(clock=clock, slo_s=1.0, max_batch=2)
    batcher.offer(0)
    batcher.take(0)
    clock.now += 0.6
    assert batcher.finished() == pytest.approx(0.6)
    batcher.offer(1)
    batcher.take(0)
    for item in range(2, 4):
        batcher.offer(item)
    assert batcher.expected_wait_s() == pytest.approx(0.6 + 0.6)
    with pytest.raises(Overloaded) as refused:
        batcher.offer(9)
    assert refused.value.extra["retry_after"] == 2
    clock.now += 30
    assert batcher.expected_wait_s() == pytest.approx(0.6), (
        "a batch that takes longer than usual is not expected to for ever"
    )


def test_an_empty_queue_always_accepts_one_item():
    clock = Clock()
    batcher: Batcher[int] = Batcher(clock=clock, slo_s=0.1)
    batcher.offer(0)
    batcher.take(0)
    clock.now += 50
    batcher.finished()
    batcher.offer(1)
    assert batcher.take(0) == [1]


def test_a_queue_is_bounded_in_number_and_weight():
    batcher: Batcher[int] = Batcher(clock=Clock(), slo_s=9, max_waiting=3, max_waiting_weight=100)
    for item in range(3):
        batcher.offer(item, 10)
    with pytest.raises(Overloaded):
        batcher.offer(3, 1)
    batcher.take(0)
    batcher.offer(4, 1000)
    with pytest.raises(Overloaded):
        batcher.offer(5, 1)


# token bucket


@given(st.integers(1, 600), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_a_bucket_lets_through_its_rate_and_no_more(per_minute, pauses):
    bucket, now, let = Bucket(per_minute), 50.0, []
    for pause in pauses:
        now += pause
        wait = bucket.take(now)
        if wait:
            assert Bucket(per_minute, bucket.level, bucket.at).take(now + wait + 1e-6) == 0, "the wait is enough"
        else:
            let.append(now)
    for at, start in enumerate(let):
        within = sum(1 for moment in let[at:] if moment < start + 60)
        assert within <= 2 * per_minute
    assert len(let) <= per_minute + (now - 50) * per_minute / 60 + 1


# balance


def money(number: int, amount: str, clock: Clock, price: str = "0.01", ms: str = "0.001") -> Slice:
    now = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=clock.now)
    return Slice(
        endpoint_id=UUID(int=1), boot=UUID(int=2), number=number, hold_id=uuid4(), project_id=UUID(int=3),
        amount=Decimal(amount), currency="EUR", request_price=Decimal(price), ms_price=Decimal(ms), db_now=now,
        until=now + LIFE,
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 30)), max_size=40), st.integers(0, 200))
def test_a_balance_never_admits_more_requests_than_it_can_pay(batches, cents):
    clock = Clock()
    balance = SliceBalance(clock)
    balance.install(money(1, f"{cents / 100:.2f}", clock, ms="0"), clock.now)
    paid = 0
    for wanted, took in batches:
        reservation, number = balance.begin(wanted)
        assert number <= wanted
        if reservation is not None:
            balance.spend(reservation, number, milliseconds(took))
            paid += number
    assert paid <= cents, "nothing is no licence to answer for nothing"
    assert balance.wants() == (bool(batches) and paid >= 0.8 * cents), "who is not called needs no more"


def test_a_reservation_is_closed_when_all_its_requests_are_accounted_for():
    clock = Clock()
    balance = SliceBalance(clock)
    assert not balance.wants(), "nobody calls"
    assert balance.begin(1) == (None, 0)
    assert balance.wants()
    balance.install(money(1, "1.00", clock), clock.now)
    first, _ = balance.begin(50)
    assert first is not None
    balance.spend(first, 50, Decimal(400))
    assert balance.wants()
    assert balance.running_low
    balance.install(money(2, "1.00", clock), clock.now)
    assert not balance.wants()
    assert balance.done() == []
    balance.settled(first)
    (over,) = balance.done()
    assert over is first
    balance.drop(over)
    assert balance.done() == []
    second, paid = balance.begin(500)
    assert second is not None and second.money.number == 2 and paid == 60, "what a batch may take in time is left over"
    balance.spend(second, 60, Decimal(1))
    balance.undo(second, 60, Decimal(1))
    assert second.used == 0 and second.pending == 0
    balance.retire()
    assert balance.begin(1) == (None, 0)


def test_a_refused_balance_retries_later_and_an_old_slice_is_replaced():
    clock = Clock()
    balance = SliceBalance(clock)
    balance.refused("budget_exceeded", clock.now)
    assert not balance.wants()
    assert balance.begin(1) == (None, 0)
    clock.now += 5.1
    assert balance.wants()
    balance.install(money(1, "5.00", clock), clock.now)
    assert not balance.wants()
    assert balance.reservation is not None and balance.reservation.moment(
        clock.now + 2
    ) - balance.reservation.money.db_now == timedelta(seconds=2)
    clock.now += 15 * 60
    assert not balance.wants(), "nobody calls"
    assert balance.begin(1) == (None, 0)
    assert balance.wants()


def test_a_balance_requests_money_only_for_active_endpoints():
    clock = Clock()
    balance = SliceBalance(clock)
    balance.install(money(1, "1.00", clock), clock.now)
    reservation, _ = balance.begin(50)
    assert reservation is not None
    balance.spend(reservation, 50, Decimal(400))
    assert balance.wants(), "four fifths are used"
    clock.now += 61
    assert not balance.wants(), "nobody has called for a minute"
    assert balance.begin(500)[1] == 0
    assert balance.wants(), "a batch could not be paid"
    balance.refused("budget_exceeded", clock.now)
    clock.now += 61
    assert not balance.wants(), "it was refused, and nobody has called since"
    assert balance.begin(500)[1] == 0
    assert balance.wants()


# spool

RECORDS = st.lists(
    st.dictionaries(st.text(max_size=8), st.one_of(st.integers(-(2**53), 2**53), st.text(max_size=20)), max_size=4),
    max_size=12,
)


def committed(spool: Spool, record: dict) -> bool:
    """Write a record in its own commit; return whether it is durable."""
    told: list[bool] = []
    spool.append(record, told.append, here=True)
    return told == [True]


def close(spool: Spool) -> None:
    """Close the file of a spool whose writer was never needed."""
    spool.start()
    spool.stop()


def write(folder: Path, records: list[dict], *, segment_bytes: int = 200) -> UUID:
    """Write records, each in its own commit, and end as a crash does: with nothing but what was synced."""
    boot = uuid4()
    spool = Spool(folder, boot, segment_bytes=segment_bytes)
    for record in records:
        assert committed(spool, record)
    close(spool)
    return boot


@given(records=RECORDS, most=st.integers(1, 5), again=st.booleans())
def test_what_was_written_is_read_once_in_order(tmp_path_factory, records, most, again):
    folder = tmp_path_factory.mktemp("spool")
    boot = write(folder, records)
    reader, seen = Reader(folder, boot), []
    while True:
        found, place = reader.read(None, most)
        if not found:
            break
        seen += found
        reader.advance(place)
        if again:
            reader = Reader(folder, boot)  # a new boot continues from the marker
    assert seen == records
    assert len(segments(folder, boot)) <= 1, "what is accounted for is removed"
    reader.forget()
    assert boots(folder) == []


def test_a_segment_that_goes_while_the_folder_is_counted_counts_as_nothing(tmp_path, monkeypatch):
    write(tmp_path, [{"n": at, "text": "x" * 150} for at in range(5)])
    whole, real, gone = backlog(tmp_path), Path.stat, []

    def stat(path: Path, **more):
        if not gone and path.parent == tmp_path:  # as the accounting thread may do at this moment
            gone.append(real(path).st_size)
            path.unlink()
        return real(path, **more)

    monkeypatch.setattr(Path, "stat", stat)
    assert backlog(tmp_path) == whole - gone[0] > 0


def test_a_torn_tail_is_dropped_at_every_byte_and_nothing_else(tmp_path):
    records = [{"n": at, "text": "é" * at} for at in range(4)]
    lines = [encode(record) for record in records]
    whole = b"".join(lines)
    boot = UUID(int=7)
    for cut in range(len(whole) + 1):
        (tmp_path / f"{boot}.00000001").write_bytes(whole[:cut])
        found, place = Reader(tmp_path, boot).read()
        complete, size = 0, 0
        for line in lines:
            if size + len(line) > cut:
                break
            complete, size = complete + 1, size + len(line)
        assert found == records[:complete], cut
        assert place == (SpoolPosition(1, cut) if cut else SpoolPosition())


def test_a_changed_byte_damages_only_its_own_record(tmp_path):
    records = [{"n": at} for at in range(5)]
    whole = bytearray(b"".join(map(encode, records)))
    boot = UUID(int=7)
    draw = random.Random(3)
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= draw.choice([1, 2, 4, 16, 64])
        (tmp_path / f"{boot}.00000001").write_bytes(broken)
        found, _ = Reader(tmp_path, boot).read()
        assert all(record in records for record in found)
        assert len(found) >= 3, "a newline more or less breaks two lines at most"
        assert len(found) < 5


@given(st.binary(max_size=60))
def test_no_bytes_make_a_record_by_chance(line):
    assert decode(line) is None or line == encode(decode(line))


class Disk:
    """A disk that is full after so many bytes."""

    def __init__(self) -> None:
        self.room = 10**9

    def __call__(self, file: int, data: bytes) -> int:
        done = os.write(file, data[: self.room])
        self.room -= done
        if done < len(data) and not done:
            raise OSError(errno.ENOSPC, "No space left on device")
        return done


@given(st.lists(st.tuples(st.integers(1, 3), st.one_of(st.none(), st.integers(0, 80))), min_size=1, max_size=15))
def test_a_full_disk_keeps_exactly_the_committed_records(tmp_path_factory, groups):
    folder, disk, boot = tmp_path_factory.mktemp("spool"), Disk(), uuid4()
    spool = Spool(folder, boot, segment_bytes=150, write=disk)
    promised, number = [], 0
    for size, room in groups:
        disk.room = 10**9 if room is None else room
        group = [{"n": (number := number + 1)} for _ in range(size)]
        # Several records share a commit only where its writer finds them waiting, which no caller can arrange.
        if spool._commit(b"".join(map(encode, group)), size):
            promised += group
    close(spool)
    assert Reader(folder, boot).read()[0] == promised


def test_a_sync_that_fails_takes_its_records_back(tmp_path, monkeypatch):
    spool = Spool(tmp_path, uuid4())
    assert committed(spool, {"n": 1})
    real, said = os.fdatasync, []

    def fails(file: int) -> None:
        said.append(file)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    assert not committed(spool, {"n": 2})
    monkeypatch.setattr(os, "ftruncate", lambda *_: fails(0))
    assert not committed(spool, {"n": 3}), "nothing is written behind what could not be taken back"
    monkeypatch.undo()
    assert os.fdatasync is real
    assert committed(spool, {"n": 4})
    assert [record["n"] for record in Reader(tmp_path, spool.boot).read()[0]] == [1, 4]
    close(spool)


def test_many_threads_are_notified_after_their_record_is_on_disk(tmp_path):
    spool = Spool(tmp_path, uuid4(), segment_bytes=500)
    spool.start()
    notes: list[int] = []

    def tell(number: int, safe: bool) -> None:
        assert safe
        found, _ = Reader(tmp_path, spool.boot).read(spool.synced)
        assert number in {record["n"] for record in found}
        notes.append(number)

    threads = [
        threading.Thread(
            target=lambda first=first: [
                spool.append({"n": n}, lambda safe, n=n: tell(n, safe)) for n in range(first, first + 20)
            ]
        )
        for first in range(0, 100, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.stop()
    assert sorted(notes) == list(range(100))
    assert sorted(record["n"] for record in Reader(tmp_path, spool.boot).read()[0]) == list(range(100))
