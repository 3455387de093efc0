"""A change with an unknown outcome: the same key within a day, then a look for the object, and never two effects."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from billing.payments.attempts import Step, conclude, patience, read, seconds_to_next_window
from billing.payments.errors import GatewayRefused, Later, OutcomeUnknown, TransactionOpen
from billing.payments.requests import Timing
from tests.unit.billing.payments.conftest import START


class Provider:
    """Remembers the keys that it was sent; `fails` of the next requests have an unknown outcome, applied or not."""

    def __init__(self, fails: int = 0, *, applied: bool = False) -> None:
        self.fails = fails
        self.applied = applied
        self.keys: list[str] = []
        self.made = False
        self.looks = 0

    def send(self, key: str) -> str:
        self.keys.append(key)
        if self.fails:
            self.fails -= 1
            self.made |= self.applied
            raise OutcomeUnknown
        self.made = True
        return "made"

    def find(self) -> str | None:
        self.looks += 1
        return "found" if self.made else None

    def conclude(self, **after: float) -> str:
        return conclude(Step("invoice:create", self.send, self.find), Timing(START, START + timedelta(**after)))


def test_the_first_call_sends_once_and_looks_for_nothing() -> None:
    provider = Provider()
    assert (provider.conclude(), provider.keys, provider.looks) == ("made", ["invoice:create"], 0)


@pytest.mark.parametrize("hours", [0, 1, 22.9])
def test_within_23_hours_the_key_is_the_same(hours: float) -> None:
    provider = Provider(fails=2)
    assert provider.conclude(hours=hours) == "made"
    assert provider.keys == ["invoice:create"] * 3


def test_what_took_effect_without_an_answer_is_found() -> None:
    provider = Provider(fails=9, applied=True)
    assert provider.conclude() == "found"
    assert set(provider.keys) == {"invoice:create"}


def test_what_cannot_be_found_stays_unknown() -> None:
    with pytest.raises(OutcomeUnknown):
        Provider(fails=9).conclude()


def test_in_the_last_hour_of_a_window_nothing_is_sent() -> None:
    provider = Provider()
    with pytest.raises(Later) as later:
        provider.conclude(hours=23, minutes=30)
    assert (provider.keys, later.value.after_s) == ([], 1800)
    provider.made = True
    assert provider.conclude(hours=23, minutes=30) == "found"


@pytest.mark.parametrize(
    ("hours", "key"), [(24, "invoice:create:1"), (46.9, "invoice:create:1"), (48, "invoice:create:2")]
)
def test_after_a_day_the_object_is_looked_for_before_a_new_key_is_used(hours: float, key: str) -> None:
    missing = Provider()
    assert missing.conclude(hours=hours) == "made"
    assert (missing.looks, missing.keys) == (1, [key])
    there = Provider()
    there.made = True
    assert (there.conclude(hours=hours), there.keys) == ("found", [])


def test_a_refusal_is_not_repeated() -> None:
    def refuse(key: str) -> str:
        sent.append(key)
        raise GatewayRefused

    sent: list[str] = []
    with pytest.raises(GatewayRefused):
        conclude(Step("key", refuse, lambda: None), Timing(START, START))
    assert sent == ["key"]


def test_a_clock_that_went_back_uses_the_first_key() -> None:
    provider = Provider()
    provider.conclude(hours=-5)
    assert provider.keys == ["invoice:create"]


def test_the_wait_ends_with_the_window() -> None:
    assert seconds_to_next_window(Timing(START, START + timedelta(hours=47, seconds=1))) == 3599


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sent_inside_a_transaction() -> None:
    provider = Provider()
    with transaction.atomic(), pytest.raises(TransactionOpen):
        provider.conclude()
    assert provider.keys == []
    assert provider.conclude() == "made"


@pytest.mark.django_db
def test_the_transaction_of_a_test_case_does_not_count() -> None:
    provider = Provider()
    assert provider.conclude() == "made"
    with transaction.atomic(), pytest.raises(TransactionOpen):
        provider.conclude()


def test_out_of_patience_nothing_is_repeated_or_begun_while_a_provider_that_answers_is_not_cut_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stalled, slow, clock = Provider(fails=9), Provider(), [0.0]

    def waits(key: str) -> str:
        clock[0] += 30
        return stalled.send(key)

    monkeypatch.setattr("billing.payments.attempts.monotonic_ns", lambda: int(clock[0] * 10**9))
    step = Step("invoice:create", waits, stalled.find)
    with patience(20):
        clock[0] = 600
        assert slow.conclude() == "made"
        with pytest.raises(OutcomeUnknown):
            conclude(step, Timing(START, START))
        assert (len(stalled.keys), stalled.looks) == (1, 0)
        with pytest.raises(Later):
            slow.conclude()
        with pytest.raises(OutcomeUnknown):
            read(lambda: waits("look"))
        assert len(stalled.keys) == 2
    with pytest.raises(OutcomeUnknown):
        conclude(step, Timing(START, START))
    assert len(stalled.keys) == 2 + 4


def test_repeated_after_a_refusal_the_object_is_looked_for_before_a_new_key_is_used() -> None:
    provider = Provider()

    def again(count: int) -> str:
        return conclude(Step("invoice:create", provider.send, provider.find), Timing(START, START, count))

    assert (again(1), provider.keys, provider.looks) == ("made", ["invoice:create:again:1"], 1)
    assert (again(2), len(provider.keys)) == ("found", 1)
