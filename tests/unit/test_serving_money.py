"""What could make serving free, for ever or for others: slots that come back, batches that spoil each other, lost tills."""

from __future__ import annotations

import threading
from decimal import Decimal

from tests.fakes.serving import NUMBERS, Memory, serving, until
from tests.unit.test_serving_http import GOOD, post


def test_a_slot_that_comes_back_in_the_same_run_takes_money_anew(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, order = backend.key("price"), backend.order("price")
        assert post(server, key, "price", GOOD).status_code == 200
        for budget, expected in ((Decimal(0), 402), (Decimal(1), 200)):
            del backend.orders[order.endpoint_id]
            backend.moved.set()
            until(lambda: not server.node.books.accounts, "its account is closed")
            backend.budget = budget
            backend.orders[order.endpoint_id] = order
            backend.moved.set()
            until(lambda: server.serves("price"), "it is back")
            assert [post(server, key, "price", GOOD).status_code for _ in range(5)] == [expected] * 5
        numbers = [number for _, _, number in backend.taken]
        assert len(numbers) == len(set(numbers)) == 2
    assert backend.requests() == 6


def test_an_endpoint_that_comes_back_while_its_account_is_closed_keeps_a_till(tmp_path):
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
        until(entered.is_set, "its health is stored for the last time")
        backend.orders[order.endpoint_id] = order
        backend.moved.set()
        until(lambda: server.serves("price"), "it is back")
        go_on.set()
        until(lambda: post(server, key, "price", GOOD).status_code == 200, "its till is filled", 10)
        (account,) = server.node.books.accounts.values()
        worker = server.node.find(order.endpoint_id)
        assert worker is not None and worker.till is account.till


def test_a_body_that_nobody_foresaw_is_refused_alone(tmp_path, monkeypatch):
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
    """An intake whose `stack` is another."""

    def __init__(self, real, stack):
        self._real, self.stack = real, stack

    def __getattr__(self, name):
        return getattr(self._real, name)
