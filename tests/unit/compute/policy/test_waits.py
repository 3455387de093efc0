"""Why a job waits, and when the forecast expects it to start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from compute.policy import Assign, Device, Room, Scope, Wait, Why, Work, decide_and_explain
from compute.simulation.forecast import expected_starts
from tests.unit.compute.policy.test_decide import NOW, part, pool, runs, waits


def explained(works: list[Work], devices: list[Device], rooms: dict[Scope, Room] | None = None) -> dict[int, Wait]:
    actions, found = decide_and_explain(works, devices, rooms or {}, NOW)
    starts = {one.work for one in actions if isinstance(one, Assign)}
    assert starts | {one.work for one in found} == {work for work in works if not work.held}
    assert not starts & {one.work for one in found}
    return {one.work.job_id: one for one in found}


FOUR = pool(4, 2)


@pytest.mark.parametrize(
    ("works", "rooms", "why"),
    [
        ([runs(1, FOUR[:1]), waits(9)], part(limit=1), Why.LIMIT),
        ([waits(9, not_before=NOW + timedelta(seconds=5))], {}, Why.BACK_OFF),
        ([waits(9, devices=3, one_node=True)], {}, Why.TOO_BIG),
        ([runs(1, FOUR), waits(9)], {}, Why.GUARANTEED),
        ([runs(1, FOUR, "b", borrowed=True), waits(9)], part(4), Why.VACATING),
        ([runs(1, FOUR[:1]), runs(2, FOUR[2:3]), waits(9, devices=2, one_node=True)], {}, Why.SCATTERED),
        ([waits(1, since_s=90, devices=4), waits(9)], {}, Why.TURN),
        ([waits(9, labels=frozenset({"zone=eu"}))], {}, Why.LABELS),
        ([waits(9, devices=5, labels=frozenset({"zone=eu"}))], {}, Why.TOO_BIG),
        ([runs(1, FOUR[:1], set_id="s", at_once=1), waits(9, set_id="s", at_once=1)], {}, Why.AT_ONCE),
    ],
    ids=str,
)
def test_a_job_that_does_not_start_says_why(works: list[Work], rooms: dict[Scope, Room], why: Why) -> None:
    assert explained(works, FOUR, rooms)[9].why == why


def test_places_follow_the_order_in_which_devices_are_given() -> None:
    works = [waits(1, since_s=10), waits(2, since_s=30), waits(3, since_s=5, priority=1), waits(4, "b", since_s=99)]
    found = explained([runs(0, FOUR), *works], FOUR)
    assert {job_id: one.place for job_id, one in found.items()} == {3: 1, 2: 2, 1: 3, 4: 1}


def test_a_full_limit_names_its_scope() -> None:
    scope = Scope("a", "gpu", project_id="p")
    rooms = {scope: Room(limit=1)}
    assert explained([waits(1, project_id="p"), waits(2, project_id="p", since_s=1)], FOUR, rooms)[2].scope == scope


def test_the_forecast_plays_the_queue_on_by_the_policy() -> None:
    devices = pool(2)
    works = [runs(1, devices[:1]), runs(2, devices[1:]), *(waits(number, since_s=100 - number) for number in (3, 4, 5))]
    left = {1: 100.0, 2: 300.0, 3: 50.0, 4: 400.0, 5: 10.0}
    assert expected_starts(works, devices, {}, NOW, left) == {3: 100, 4: 150, 5: 300}
    assert [work.held != () for work in works] == [True, True, False, False, False], "it changes none of them"
    assert expected_starts([waits(9, devices=3)], devices, {}, NOW, {}) == {}, "what never fits is left out"


def test_the_forecast_keeps_to_what_of_a_set_may_run_at_once() -> None:
    works = [waits(number, since_s=100 - number, set_id="s", at_once=1) for number in (1, 2)]
    assert expected_starts(works, FOUR, {}, NOW, {1: 70.0, 2: 5.0}) == {1: 0, 2: 70}
