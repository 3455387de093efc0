"""Requests of one sender that come together: one transaction, an answer each, none spoilt by another."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from uuid import UUID

import pytest

from billing.reported.group_commit import GroupCommit
from tenants.access.actor import Actor
from tenants.errors import Conflict, Unavailable
from tests.support.waiting import PATIENCE_S, wait_until


def sender(number: int = 1, request: str = "") -> Actor:
    key = UUID(int=number)
    return Actor(kind="api_key", tenant_id=UUID(int=0), label="", permissions=frozenset(), id=key, request_id=request)


class Store:
    """Answers each text with itself in capitals; refuses `bad`, and fails with `poison` among others. Waits for `begins`."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begins = Event()

    def __call__(self, actor: Actor, texts: Sequence[str]) -> list[str | Exception]:
        self.groups.append(list(texts))
        self.begins.wait(PATIENCE_S)
        if "poison" in texts:
            raise Conflict("poison")
        if "exit" in texts:
            raise SystemExit
        return [Conflict("bad") if text == "bad" else text.upper() for text in texts]


def sent(
    pool: ThreadPoolExecutor, lanes: GroupCommit[str, str], store: Store, texts: Sequence[str]
) -> list[Future[str]]:
    """Send the first text, the others while it is being stored, and let it go on."""
    calls = [pool.submit(lanes.answer, sender(request=texts[0]), texts[0], len(texts[0]))]
    wait_until(lambda: bool(store.groups), "the first is taken")
    for number, text in enumerate(texts[1:], 1):
        calls.append(pool.submit(lanes.answer, sender(request=text), text, len(text)))
        wait_until(lambda number=number: len(next(iter(lanes._waiting.values()))) == number, "it waits")
    store.begins.set()
    return calls


def test_those_that_wait_are_stored_together_as_far_as_they_fit() -> None:
    store = Store()
    lanes: GroupCommit[str, str] = GroupCommit(store, most=6)
    with ThreadPoolExecutor(8) as pool:
        calls = sent(pool, lanes, store, ["first", "aa", "bad", "c", "ddddddd", "e"])
        assert [call.result(PATIENCE_S) for call in calls if call is not calls[2]] == [
            "FIRST",
            "AA",
            "C",
            "DDDDDDD",
            "E",
        ]
        with pytest.raises(Conflict, match="bad"):
            calls[2].result(PATIENCE_S)
        assert pool.submit(lanes.answer, sender(), "later", 5).result(PATIENCE_S) == "LATER"
    assert store.groups == [["first"], ["aa", "bad", "c"], ["ddddddd"], ["e"], ["later"]]
    assert not lanes._waiting


def test_what_fails_together_is_tried_apart() -> None:
    store = Store()
    lanes: GroupCommit[str, str] = GroupCommit(store, most=100)
    with ThreadPoolExecutor(8) as pool:
        calls = sent(pool, lanes, store, ["first", "good", "poison", "fine"])
        assert [calls[at].result(PATIENCE_S) for at in (0, 1, 3)] == ["FIRST", "GOOD", "FINE"]
        with pytest.raises(Conflict, match="poison"):
            calls[2].result(PATIENCE_S)
    assert store.groups == [["first"], ["good", "poison", "fine"], ["good"], ["poison"], ["fine"]]


def test_senders_do_not_wait_for_each_other_and_nobody_waits_for_a_thread_that_ends() -> None:
    store = Store()
    lanes: GroupCommit[str, str] = GroupCommit(store, most=100)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(lanes.answer, sender(1), "first", 1)
        other = pool.submit(lanes.answer, sender(2), "other", 1)
        wait_until(lambda: len(store.groups) == 2, "both are taken")
        store.begins.set()
        assert (first.result(PATIENCE_S), other.result(PATIENCE_S)) == ("FIRST", "OTHER")
        store.groups.clear()
        store.begins.clear()
        calls = sent(pool, lanes, store, ["first", "exit", "left"])
        assert calls[0].result(PATIENCE_S) == "FIRST"
        with pytest.raises(SystemExit):
            calls[1].result(PATIENCE_S)
        with pytest.raises(Unavailable):
            calls[2].result(PATIENCE_S)
    assert not lanes._waiting
