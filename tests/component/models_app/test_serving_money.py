"""Ways to make serving free, or unfair: slots that return, batches that spoil each other, lost balances."""

from __future__ import annotations

import errno
import socket
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from django.db import DataError, IntegrityError, InternalError, ProgrammingError
from psycopg import errors

from deploy.server import connection_limits
from models_app.endpoints.reservations import LIFE
from models_app.serving.accounting import settlement
from models_app.serving.accounting.balance import SliceBalance
from models_app.serving.accounting.spool import Reader, Spool, segments
from models_app.serving.backend import BackendUnavailable
from models_app.serving.database import report_outages
from models_app.serving.gateway import app as gateway
from tenants.errors import Invalid
from tests.component.models_app.test_serving_http import GOOD, post, tensor
from tests.fakes.serving import NUMBERS, Memory, Server, serving
from tests.support.waiting import wait_until
from tests.unit.models_app.test_serving_parts import Clock, money, write


def test_a_slot_that_returns_in_the_same_run_reserves_money_again(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, order = backend.key("price"), backend.order("price")
        assert post(server, key, "price", GOOD).status_code == 200
        for budget, expected in ((Decimal(0), 402), (Decimal(1), 200)):
            del backend.orders[order.endpoint_id]
            backend.moved.set()
            wait_until(lambda: not server.node.accountant.accounts, "its account is closed")
            backend.budget = budget
            backend.orders[order.endpoint_id] = order
            backend.moved.set()
            wait_until(lambda: server.serves("price"), "it is back")
            assert [post(server, key, "price", GOOD).status_code for _ in range(5)] == [expected] * 5
        numbers = [number for _, _, number in backend.taken]
        assert len(numbers) == len(set(numbers)) == 2
    assert backend.requests() == 6


def test_an_endpoint_that_returns_while_its_account_is_closed_keeps_a_balance(tmp_path):
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Memory):
        def flush(self, order, window):
            super().flush(order, window)
            if order.endpoint_id not in self.orders:
                entered.set()
                go_on.wait(10)

    backend = Slow(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, order = backend.key("price"), backend.order("price")
        assert post(server, key, "price", GOOD).status_code == 200
        del backend.orders[order.endpoint_id]
        backend.moved.set()
        wait_until(entered.is_set, "its health is stored for the last time")
        backend.orders[order.endpoint_id] = order
        backend.moved.set()
        wait_until(lambda: server.serves("price"), "it is back")
        go_on.set()
        wait_until(lambda: post(server, key, "price", GOOD).status_code == 200, "its till is filled")
        (account,) = server.node.accountant.accounts.values()
        worker = server.node.find(order.endpoint_id)
        assert worker is not None and worker.balance is account.balance


def test_an_unforeseen_body_is_refused_without_affecting_others(tmp_path, monkeypatch):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        real, asked = backend.known, threading.Event()

        def slow(digests):
            asked.wait(1)
            return real(digests)

        assert post(server, key, "price", GOOD).status_code == 200
        worker = server.node.find(backend.order("price").endpoint_id)
        assert worker is not None
        stack = worker.model.intake.stack

        def fails(requests):
            if any(rows == [[6, 6, 6, 6]] for rows in requests):
                raise RuntimeError("nobody foresaw this")
            return stack(requests)

        monkeypatch.setattr(worker.model, "intake", _Odd(worker.model.intake, fails))
        monkeypatch.setattr(backend, "known", slow)
        statuses: dict[int, int] = {}

        def ask(at: int) -> None:
            statuses[at] = post(
                server, key, "price", {"instances": [[6, 6, 6, 6]]} if at % 4 == 0 else GOOD
            ).status_code

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == {at: 400 if at % 4 == 0 else 200 for at in range(12)}
        assert max(at for at, count in enumerate(server.node.telemetry.batches.counts) if count) >= 2, (
            "they shared a batch"
        )


class _Odd:
    """An intake with a replaced `stack`."""

    def __init__(self, real, stack):
        self._real, self.stack = real, stack

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_a_budget_that_is_lowered_ends_the_slice_at_once(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        backend.lowered = True
        answers = []
        wait_until(
            lambda: answers.append(post(server, key, "price", GOOD).status_code) or answers[-1] == 402, "it ends"
        )
        # Between the slice's end and the refusal of the next, on a slow machine, a call may get "try again".
        assert answers == sorted(answers, key=[200, 503, 402].index), "nothing is answered once it has ended"
        assert [post(server, key, "price", GOOD).status_code for _ in range(5)] == [402] * 5


def test_an_endpoint_without_calls_holds_nothing(tmp_path):
    backend, shift = Memory(tmp_path / "m"), [0.0]
    backend.deploy("price", NUMBERS, ())

    def rounds(server: Server, number: int) -> None:
        """Wait for rounds of the accountant, each of which checks every balance."""
        for _ in range(number):
            flushed = len(backend.flushed)
            shift[0] += 6
            server.node.accountant.wake()
            wait_until(lambda flushed=flushed: len(backend.flushed) > flushed, "a round is over")

    with serving(backend, tmp_path / "home", "price", clock=lambda: time.monotonic() + shift[0]) as server:
        key = backend.key("price")
        rounds(server, 3)
        assert backend.taken == {}, "deployed, and no money held"
        assert post(server, key, "price", GOOD).status_code == 200
        assert len(backend.taken) == 1
        shift[0] += LIFE.total_seconds()
        rounds(server, 3)
        wait_until(lambda: len(backend.closed) == 1, "what was left of it went back")
        assert len(backend.taken) == 1, "the next slice waits for the next call"
        assert post(server, key, "price", GOOD).status_code == 200
        assert len(backend.taken) == 2


def test_a_batch_is_billed_by_its_own_processor_time(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, model = backend.key("price"), server.node.workers[backend.order("price").endpoint_id].model
        score = model.scores

        def sleeps(block):
            time.sleep(0.5)  # simulates waiting for a busy processor
            return score(block)

        def burns(block):
            until_then = time.thread_time() + 0.3
            while time.thread_time() < until_then:
                pass
            return score(block)

        billed = []
        for scores in (sleeps, burns):
            model.scores = scores
            before = set(backend.usage)
            assert post(server, key, "price", GOOD).status_code == 200
            wait_until(lambda before=before: set(backend.usage) > before, "it is accounted for")
            (record,) = [backend.usage[name] for name in set(backend.usage) - before]
            billed.append(float(record["ms"]))
            assert record["us"] > 250_000, "the record still says how long it took"
        assert billed[0] < 250, "a wait is not work"
        assert 300 <= billed[1] < 1000


def test_an_endpoint_stopped_by_its_budget_is_a_402_with_retry_after(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, order = backend.key("price"), backend.order("price")
        assert post(server, key, "price", GOOD).status_code == 200
        del backend.orders[order.endpoint_id]
        backend.stopped.add(order.endpoint_id)
        backend.moved.set()
        wait_until(lambda: not server.serves("price"), "it is taken out")
        refused = post(server, key, "price", GOOD)
        assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")
        assert "deploy it again" in refused.json()["title"]
        assert int(refused.headers["retry-after"]) > 0
        backend.stopped.clear()
        assert post(server, key, "price", GOOD).status_code == 503


def test_the_endpoint_of_a_suspended_organisation_is_a_403_that_says_what_to_do(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, order = backend.key("price"), backend.order("price")
        assert post(server, key, "price", GOOD).status_code == 200
        del backend.orders[order.endpoint_id]
        backend.suspended = True
        backend.moved.set()
        wait_until(lambda: not server.serves("price"), "it is taken out")
        refused = post(server, key, "price", GOOD)
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
        assert "This key works again" in refused.json()["title"]
        backend.suspended = False
        backend.orders[order.endpoint_id] = order
        backend.moved.set()
        wait_until(lambda: server.serves("price"), "it is deployed again")
        assert post(server, key, "price", GOOD).status_code == 200


def test_a_remainder_too_small_for_a_batch_is_extended_or_refused():
    clock = Clock()
    balance = SliceBalance(clock)
    balance.install(money(1, "1.00", clock), clock.now)
    reservation, paid = balance.begin(50)
    assert reservation is not None and paid == 50
    balance.spend(reservation, 50, Decimal(1))
    balance.batch_ms = Decimal(600)
    assert balance.begin(1) == (None, 0), "half a unit is left, less than a batch may take"
    assert balance.wants(), "though less than four fifths are used"
    balance.refused("budget_exceeded", clock.now)
    assert not balance.wants()
    balance.install(money(2, "0.50", clock), clock.now)
    assert balance.begin(1)[1] == 1, "a new slice pays for one batch at least, or none would ever be answered"


def test_a_slice_outlives_its_end_only_while_the_database_is_away():
    clock = Clock()
    balance = SliceBalance(clock)
    balance.install(money(1, "1.00", clock), clock.now)
    clock.now += LIFE.total_seconds() - 30
    assert not balance.wants(), "nobody calls"
    assert balance.begin(1)[1] == 1
    assert balance.wants(), "the next one is had in time"
    clock.now += 30
    assert balance.begin(1) == (None, 0)
    balance.refused("unavailable", clock.now)
    assert balance.begin(1)[1] == 1
    clock.now += 59
    assert balance.begin(1)[1] == 1
    clock.now += 1
    assert balance.begin(1) == (None, 0)


@pytest.mark.parametrize("fault", [IntegrityError("a value"), KeyError("tenant"), Invalid("another project")])
def test_one_rejected_record_is_quarantined_alone_and_replayed_once_fixed(tmp_path, fault):
    backend, boot = Memory(tmp_path / "m"), uuid4()
    tenant = uuid4()
    records = [
        {"tenant": str(tenant), "endpoint": "e", "n": n, "hold": None, "requests": 1, "reason": ""} for n in range(40)
    ]

    def trouble(found):
        if any(record["n"] in (7, 31) for record in found):
            raise fault

    backend.trouble = trouble
    outcome = settlement.settle(backend, tenant, boot, records)
    assert [record["n"] for record, _ in outcome.refused] == [7, 31]
    assert backend.requests() == 38
    settlement.quarantine(tmp_path, boot, outcome.refused)
    assert settlement.replay(backend, tmp_path) == (0, 2)
    backend.away = True
    with pytest.raises(BackendUnavailable):
        settlement.replay(backend, tmp_path)
    backend.away = False
    settlement.quarantine(tmp_path, boot, [({**records[3], "n": 41}, "more came meanwhile")])
    backend.trouble = None
    assert settlement.replay(backend, tmp_path) == (3, 0)
    assert settlement.replay(backend, tmp_path) == (0, 0)
    assert backend.requests() == 41
    assert not list(tmp_path.glob("*.re*"))


@pytest.mark.parametrize(
    "error",
    [errors.ReadOnlySqlTransaction("standby"), errors.AdminShutdown("bye"), InternalError("x"), ProgrammingError("x")],
)
def test_database_errors_are_reported_as_unavailable(error):
    @report_outages
    def call() -> None:
        raise error

    with pytest.raises(BackendUnavailable):
        call()


@pytest.mark.parametrize("error", [DataError("x"), IntegrityError("x"), errors.CheckViolation("x")])
def test_data_errors_are_raised_unchanged(error):
    @report_outages
    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        call()


def test_a_failing_callback_ends_no_thread_of_the_spool(tmp_path):
    spool, heard = Spool(tmp_path, uuid4()), []
    spool.start()

    def fails(safe: bool) -> None:
        raise RuntimeError("nobody foresaw this")

    spool.append({"n": 1}, fails)
    spool.append({"n": 2}, fails, here=True)
    spool.append({"n": 3}, heard.append)
    wait_until(lambda: heard == [True], "the next is told")
    spool.stop()
    assert {record["n"] for record in Reader(tmp_path, spool.boot).read()[0]} == {1, 2, 3}


def test_on_a_full_disk_what_is_accounted_for_makes_room(tmp_path, monkeypatch):
    boot = write(tmp_path, [{"n": n, "text": "x" * 90} for n in range(9)])
    reader = Reader(tmp_path, boot)
    assert len(segments(tmp_path, boot)) > 2
    _, place = reader.read()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    reader.advance(place)
    assert len(segments(tmp_path, boot)) == 1
    assert reader.read()[0] == []


def test_a_version_that_is_named_is_not_answered_by_the_next(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, app_worker = backend.key("price"), server.node.find(backend.order("price").endpoint_id)
        assert app_worker is not None
        real = app_worker.batcher.offer

        def swapped(call, weight=1):
            backend.deploy("price", NUMBERS, ())
            wait_until(lambda: server.serves("price", 2), "the next takes over")
            return real(call, weight)

        app_worker.batcher.offer = swapped
        answer = requests.post(
            f"{server.url}/v2/models/price/versions/1/infer",
            json={"inputs": [tensor()]}, headers={"Authorization": f"Bearer {key}"}, timeout=20,
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert post(server, key, "price", GOOD).headers["x-exchequer-model-version"] == "price v2"


def test_bytes_count_as_they_arrive_for_their_key_and_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(gateway, "LIMITS", replace(gateway.LIMITS, of_key=3 << 20, in_all=5 << 20))
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        keys = [backend.key("price") for _ in range(3)]
        opened = []

        def begin(key: str) -> None:
            head = f"POST /v1/models/price:predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            opened.append(socket.create_connection(("127.0.0.1", server.port)))
            opened[-1].sendall(head.encode() + b"Content-Length: 4000000\r\n\r\n" + b" " * (2 << 20))

        budget = server.app.budget
        begin(keys[0])
        wait_until(lambda: budget.held == 2 << 20, "half a body counts")
        two = b" " * (2 << 20) + b'{"instances": [[1, 2, 3, 4]]}'
        answer = post(server, keys[0], "price", two)
        assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (429, "rate_limited", "1")
        assert post(server, keys[1], "price", two).status_code == 200
        begin(keys[1])
        wait_until(lambda: budget.held == 4 << 20, "of both")
        assert post(server, keys[2], "price", two).status_code == 503
        assert post(server, keys[2], "price", GOOD).status_code == 200
        for connection in opened:
            connection.close()
        wait_until(lambda: not budget.held and not budget.by_key, "who hangs up holds nothing")
        assert post(server, keys[0], "price", two).status_code == 200


def test_a_connection_without_a_request_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(connection_limits, "HEADER_S", 1.5)
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())

    def closed(connection: socket.socket) -> bool:
        connection.settimeout(60)
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True

    with serving(backend, tmp_path / "home", "price") as server:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(said)
                assert closed(connection), said[:20]
        with requests.Session() as session:  # one with requests is kept beyond that time
            assert session.get(f"{server.url}/healthz", timeout=60).status_code == 200
            time.sleep(2)  # longer than a connection without any request is kept
            assert session.get(f"{server.url}/healthz", timeout=60).status_code == 200
        monkeypatch.setattr(connection_limits, "MOST", 1)
        with socket.create_connection(("127.0.0.1", server.port)) as first:
            first.sendall(b"GET ")
            with socket.create_connection(("127.0.0.1", server.port)) as second:
                assert closed(second)
