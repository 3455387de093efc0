"""Rounds of the policy: guaranteed parts, what is lent, who gives way."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.policy import Assign, Device, Preempt, Reclaim, Room, Scope, Work, decide

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def pool(number: int, each: int = 8) -> list[Device]:
    return [Device(one, one // each, "gpu") for one in range(number)]


def waits(number: int, tenant: str = "a", since_s: float = 60, **more: Any) -> Work:
    queued = NOW - timedelta(seconds=since_s)
    return Work(job_id=number, tenant_id=tenant, device_class="gpu", queued_at=queued, **more)


def runs(number: int, held: list[Device], tenant: str = "a", *, served_s: float = 60, **more: Any) -> Work:
    work = waits(number, tenant, since_s=served_s + 60, devices=len(held), **more)
    work.held, work.attained_s = tuple(held), served_s * len(held)
    return work


def part(guaranteed: int | None = None, tenant: str = "a", **more: Any) -> dict[Scope, Room]:
    return {Scope(tenant, "gpu"): Room(guaranteed=guaranteed, **more)}


def started(works: list[Work], devices: list[Device], rooms: dict[Scope, Room] | None = None) -> dict[Any, bool]:
    """Return the jobs that start, and whether they are borrowed."""
    actions = decide(works, devices, rooms or {}, NOW)
    return {one.work.job_id: one.borrowed for one in actions if isinstance(one, Assign)}


def stopped(works: list[Work], devices: list[Device], rooms: dict[Scope, Room]) -> dict[Any, type]:
    """Return the jobs that are stopped, and how."""
    actions = decide(works, devices, rooms, NOW)
    return {one.work.job_id: type(one) for one in actions if not isinstance(one, Assign)}


def test_a_tenant_alone_has_the_whole_pool_and_borrows_nothing() -> None:
    assert started([waits(1), waits(2, devices=2)], pool(4)) == {1: False, 2: False}


def test_beyond_its_guaranteed_part_a_tenant_borrows() -> None:
    works = [waits(number, since_s=100 - number) for number in range(4)]
    assert started(works, pool(4), part(1) | part(3, "b")) == {0: False, 1: True, 2: True, 3: True}


def test_what_was_borrowed_of_a_guaranteed_part_is_reclaimed_and_given_once_it_is_free() -> None:
    devices = pool(2)
    borrower = runs(1, devices[:1], borrowed=True), runs(2, devices[1:], borrowed=True, served_s=90)
    owner = waits(3, "b")
    rooms = part(0) | part(1, "b")
    actions = decide([*borrower, owner], devices, rooms, NOW)
    assert actions == [Reclaim(borrower[0], owner)]  # of two, the one that was queued later
    borrower[0].stopping = True
    assert decide([*borrower, owner], devices, rooms, NOW) == []
    borrower[0].held = ()
    assert decide([borrower[1], owner], devices, rooms, NOW) == [Assign(owner, (devices[0],), borrowed=False)]


def test_a_tenant_reclaims_nothing_of_its_own() -> None:
    devices = pool(2)
    mine = runs(1, devices[:1], borrowed=True, served_s=3600)
    assert stopped([mine, waits(2, devices=2)], devices, part(2)) == {1: Preempt}


def test_a_job_that_comes_before_borrowed_work_takes_its_turn_within_the_limit() -> None:
    devices = pool(3)
    mine, rooms = runs(1, devices[:1], borrowed=True, served_s=3600), part(limit=1)
    assert started([mine, waits(2)], devices, rooms) == {2: False}
    assert stopped([mine, waits(2)], devices, rooms) == {1: Preempt}
    newer = runs(1, devices[:1], borrowed=True)
    assert started([newer, waits(2)], devices, rooms) == stopped([newer, waits(2)], devices, rooms) == {}


def test_work_within_the_guaranteed_part_never_gives_way() -> None:
    devices = pool(2)
    works = [runs(1, devices, served_s=10**6), waits(2, "b"), waits(3, "a", priority=9)]
    assert decide(works, devices, part(2) | part(0, "b"), NOW) == []


def test_lent_devices_go_on_to_work_that_was_served_less() -> None:
    devices = pool(1)
    works = [runs(1, devices, borrowed=True, served_s=10 * 3600), waits(2, "b")]
    rooms = part(0) | part(0, "b", past=5.0)
    assert stopped(works, devices, part(0) | part(0, "b")) == {}  # equal tenants: the older job first
    assert stopped(works, devices, part(0, past=5.0) | part(0, "b")) == {1: Preempt}
    assert stopped(works, devices, rooms) == {}


def test_within_a_tenant_the_job_served_least_comes_first() -> None:
    devices = pool(1)
    rooms = part(0)
    assert stopped([runs(1, devices, borrowed=True, served_s=10 * 3600), waits(2)], devices, rooms) == {1: Preempt}
    assert stopped([runs(1, devices, borrowed=True, served_s=1800), waits(2)], devices, rooms) == {}


def test_spot_work_always_gives_way_and_first() -> None:
    devices = pool(2)
    spot, lent = runs(1, devices[:1], spot=True), runs(2, devices[1:], borrowed=True, served_s=10 * 3600)
    assert stopped([spot, lent, waits(3, "b")], devices, part(0) | part(1, "b")) == {1: Preempt}
    assert started([waits(4, spot=True)], pool(1)) == {4: True}


def test_a_gang_starts_whole_or_not_and_what_passes_it_is_borrowed() -> None:
    devices = pool(4)
    works = [runs(1, devices[:2]), waits(2, devices=4, since_s=90), waits(3, since_s=10)]
    assert started(works, devices) == {3: True}
    ended = [waits(2, devices=4, since_s=150), runs(3, devices[3:], borrowed=True)]
    assert stopped(ended, devices, {}) == {3: Preempt}


def test_a_gang_lies_on_as_few_nodes_as_possible_and_close_to_each_other() -> None:
    devices = [*pool(3, each=8), *(Device(10 + n, "b", "gpu", "left" if n % 2 else "right") for n in range(8))]
    (action,) = decide([waits(1, devices=4)], devices, {}, NOW)
    assert isinstance(action, Assign)
    assert ({one.node for one in action.devices}, len({one.link for one in action.devices})) == ({"b"}, 1)
    (narrow,) = decide([waits(1, devices=3)], devices, {}, NOW)
    assert isinstance(narrow, Assign)
    assert {one.node for one in narrow.devices} == {0}  # the wide node stays whole


def test_a_gang_on_several_nodes_is_as_fast_as_its_slowest_link() -> None:
    fast = [Device(number, number // 2, "gpu", "nvlink 0") for number in range(4)]
    slow = [Device(4 + number, 2 + number // 2, "gpu", "pcie 0") for number in range(4)]
    (action,) = decide([waits(1, devices=4)], [*slow[:2], *fast[:2], *slow[2:], *fast[2:]], {}, NOW)
    assert isinstance(action, Assign)
    assert set(action.devices) == set(fast)


@settings(max_examples=200, deadline=None)
@given(
    nodes=st.lists(st.lists(st.sampled_from(["", "nvlink 0", "pcie 0", "pcie 1"]), min_size=1, max_size=5), max_size=6),
    wanted=st.integers(1, 20),
)  # fmt: skip
def test_a_gang_lies_on_the_fewest_nodes_and_of_these_on_one_kind_of_link(nodes: list[list[str]], wanted: int) -> None:
    devices = [Device((at, n), at, "gpu", link) for at, links in enumerate(nodes) for n, link in enumerate(links)]
    actions = decide([waits(1, devices=wanted)], devices, {}, NOW)
    if wanted > len(devices):
        assert actions == []
        return
    (action,) = actions
    assert isinstance(action, Assign)
    assert len(set(action.devices)) == wanted

    def fewest(sizes: list[int]) -> int | None:
        taken = list(accumulate(sorted(sizes, reverse=True)))
        return next((number for number, sum_ in enumerate(taken, 1) if sum_ >= wanted), None)

    hosts = {one.node for one in action.devices}
    assert len(hosts) == fewest([len(links) for links in nodes])
    if len(hosts) > 1:
        alike = [
            kind
            for kind in ("nvlink", "pcie")
            if fewest([sum(kind in one for one in links) for links in nodes]) == len(hosts)
        ]
        assert not alike or {one.link.partition(" ")[0] for one in action.devices} == {alike[0]}


def test_a_gang_that_needs_one_node_waits_for_one() -> None:
    devices = pool(4, each=2)
    assert started([waits(1, devices=3, one_node=True), waits(2, devices=2, one_node=True)], devices) == {2: False}


def test_shares_of_a_device_are_packed() -> None:
    works = [waits(number, share=400, since_s=100 - number) for number in range(3)]
    actions = decide(works, pool(3), {}, NOW)
    where = Counter(one.devices[0].id for one in actions if isinstance(one, Assign))
    assert sorted(where.values()) == [1, 2]


@pytest.mark.parametrize("scope", [{}, {"project_id": "p"}, {"person": "me"}])
def test_a_full_limit_holds_back_those_it_binds_alone(scope: dict[str, Any]) -> None:
    devices = pool(3)
    rooms = {Scope("a", "gpu", **scope): Room(limit=1)}
    mine: dict[str, Any] = {"project_id": "p", "person": "me"}
    works = [runs(1, devices[:1], **mine), waits(2, **mine), waits(3, "b", **mine)]
    assert set(started(works, devices, rooms)) == {3}


def test_a_job_is_held_back_until_its_next_try() -> None:
    held = waits(1, not_before=NOW + timedelta(seconds=1))
    assert started([held], pool(1)) == {}
    held.not_before = NOW
    assert started([held], pool(1)) == {1: False}


def test_a_long_queue_of_one_tenant_does_not_starve_another() -> None:
    noisy = [waits(number, since_s=1000 - number) for number in range(2, 502)]
    assert {1, 2} == set(started([*noisy, waits(1, "b", since_s=1)], pool(2)))


SOME: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    tenant=st.sampled_from("abc"),
    devices=st.integers(1, 4),
    since_s=st.integers(0, 10**6),
    priority=st.integers(0, 1),
    spot=st.booleans(),
    project_id=st.sampled_from(["p", "q", None]),
)


@settings(max_examples=150, deadline=None)
@given(
    waiting=st.lists(SOME, max_size=12),
    running=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.booleans(), st.integers(1, 10**6)), max_size=5),
    size=st.integers(0, 12),
    parts=st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=3, max_size=3),
    limits=st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=3, max_size=3),
)  # fmt: skip
def test_no_round_gives_a_device_twice_passes_a_limit_or_stops_what_stays(
    waiting: list[dict[str, Any]], running: list[Any], size: int, parts: list[Any], limits: list[Any]
) -> None:
    devices = pool(size, each=4)
    works, place = [waits(number, **one) for number, one in enumerate(waiting)], 0
    for number, (tenant, width, borrowed, served) in enumerate(running, 100):
        if place + width <= size:
            works.append(runs(number, devices[place : place + width], tenant, borrowed=borrowed, served_s=served))
            place += width
    rooms = {
        Scope(tenant, "gpu"): Room(guaranteed=part, limit=limit)
        for tenant, part, limit in zip("abc", parts, limits, strict=True)
    }
    held = Counter({tenant: sum(len(work.held) for work in works if work.tenant_id == tenant) for tenant in "abc"})
    actions = decide(works, devices, rooms, NOW)
    starts = [one for one in actions if isinstance(one, Assign)]
    stops = [one for one in actions if not isinstance(one, Assign)]
    taken = [one.id for work in works for one in work.held] + [one.id for start in starts for one in start.devices]
    assert len(taken) == len(set(taken))
    assert all(len(start.devices) == start.work.devices and not start.work.held for start in starts)
    assert all(stop.work.yields and not stop.taker.held for stop in stops)
    assert not [stop for stop in stops if isinstance(stop, Reclaim) and stop.work.tenant_id == stop.taker.tenant_id]
    for tenant, limit in zip("abc", limits, strict=True):
        new = sum(start.work.devices for start in starts if start.work.tenant_id == tenant)
        gone = sum(len(stop.work.held) for stop in stops if stop.work.tenant_id == tenant)
        assert limit is None or not new or held[tenant] - gone + new <= max(limit, held[tenant] - gone)
    again = decide([replace(work) for work in works], devices, rooms, NOW)
    assert [type(one) for one in again] == [type(one) for one in actions]
