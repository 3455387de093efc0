"""Limits, guaranteed parts and weights of organisations, projects and people."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.policy import Assign, Device, Room, Scope, Work, decide
from compute.policy.order import scopes_of
from compute.policy.wanted import wanted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def job(number: int, tenant: int, *, waits: int, device_class: str = "cpu", **more: Any) -> Work:
    queued = NOW - timedelta(seconds=waits)
    return Work(job_id=number, tenant_id=tenant, device_class=device_class, queued_at=queued, **more)


def device(number: int, device_class: str = "cpu") -> Device:
    return Device(number, 1, device_class)


def running(number: int, tenant: int) -> Work:
    """Return a job that holds a device of its own."""
    return job(1000 + number, tenant, waits=5000, held=(device(1000 + number),))


def chosen(works: list[Work], devices: list[Device], rooms: dict[Scope, Room] | None = None) -> list[Assign]:
    """Return what starts; devices that are held are there too."""
    held = [one for work in works for one in work.held]
    return [one for one in decide(works, [*devices, *held], rooms or {}, NOW) if isinstance(one, Assign)]


def first(works: list[Work], rooms: dict[Scope, Room]) -> Any:
    (one,) = chosen(works, [device(1)], rooms)
    return one.work.job_id


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.sampled_from(["cpu", "gpu"])), max_size=40),
    st.lists(st.sampled_from(["cpu", "gpu"]), max_size=12),
)
def test_every_choice_is_possible_and_no_device_idles_while_its_class_waits(
    jobs: list[tuple[int, int, str]], classes: list[str]
) -> None:
    waiting = [job(n, tenant, waits=waits, device_class=name) for n, (tenant, waits, name) in enumerate(jobs, 1)]
    starts = chosen(waiting, [device(number, name) for number, name in enumerate(classes)])
    assert len({one.work.job_id for one in starts}) == len({one.devices[0].id for one in starts}) == len(starts)
    assert all(one.work.device_class == one.devices[0].device_class for one in starts)
    asked, offered = Counter(name for *_, name in jobs), Counter(classes)
    assert Counter(one.work.device_class for one in starts) == Counter(
        {name: min(asked[name], offered[name]) for name in offered if asked[name]}
    )


def test_a_guaranteed_part_comes_before_what_waits_longer() -> None:
    rooms = {
        Scope(1, "cpu"): Room(guaranteed=0),
        Scope(2, "cpu"): Room(guaranteed=2),
        Scope(1, "cpu", project_id=72): Room(guaranteed=1),
    }
    mine = [job(1, 1, waits=900), job(3, 1, waits=2, project_id=72)]
    assert first([*mine, job(2, 2, waits=1), running(1, 2)], rooms) == 2, "a tenant below its guaranteed part"
    assert first(mine, rooms) == 3, "a project below its guaranteed part"


def test_weights_share_what_is_free() -> None:
    rooms = {Scope(1, "cpu"): Room(weight=3, guaranteed=0), Scope(2, "cpu"): Room(weight=1, guaranteed=0)}
    waiting = [job(number, 1 + number % 2, waits=number) for number in range(1, 41)]
    held = [running(number, 1 if number < 6 else 2) for number in range(9)]
    (start,) = chosen([*waiting, *held], [device(1)], rooms)
    assert start.work.tenant_id == 1, "6 of weight 3 are fewer than 3 of weight 1"


LIMITED = st.builds(
    Room, limit=st.none() | st.integers(0, 5), guaranteed=st.none() | st.integers(0, 2), weight=st.integers(1, 3)
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.integers(1, 2), st.integers(1, 2)), max_size=30),
    st.integers(0, 10),
    st.dictionaries(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2)), LIMITED, max_size=12),
    st.lists(st.integers(1, 3), max_size=4),
)
def test_no_choice_passes_a_limit_and_no_device_idles_while_a_job_with_room_waits(
    jobs: list[tuple[int, int, int, int]], devices: int, limits: dict[tuple[int, int, int], Room], held: list[int]
) -> None:
    waiting = [job(n, t, waits=w, project_id=70 + p, person=90 + m) for n, (t, w, p, m) in enumerate(jobs, 1)]
    rooms = {
        Scope(t, "cpu", 70 + p if p else None, 90 + m if m and not p else None): room
        for (t, p, m), room in limits.items()
    }
    holders = [running(number, tenant) for number, tenant in enumerate(held)]
    starts = chosen([*waiting, *holders], [device(number) for number in range(devices)], rooms)
    before = Counter(scope for one in holders for scope in scopes_of(one))
    used = before + Counter(scope for one in starts for scope in scopes_of(one.work))
    for scope, room in rooms.items():
        assert room.limit is None or used[scope] <= max(room.limit, before[scope]), "never more than a limit at once"
    if len(starts) < devices:
        left = {one.job_id for one in waiting} - {one.work.job_id for one in starts}
        full = {scope for scope, room in rooms.items() if room.limit is not None and used[scope] >= room.limit}
        for one in waiting:
            assert one.job_id not in left or full & set(scopes_of(one)), (
                "a job waits beside a free device for a limit only"
            )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 3))
def test_a_tenant_at_its_limit_starves_no_other(queued: int, devices: int, limit: int) -> None:
    noisy = [job(number, 1, waits=1000 - number) for number in range(100, 100 + queued)]
    quiet = [job(number, 2, waits=1) for number in range(1, 3)]
    rooms = {Scope(1, "cpu"): Room(limit=limit)}
    starts = chosen([*noisy, *quiet], [device(number) for number in range(devices)], rooms)
    mine = sum(one.work.tenant_id == 2 for one in starts)
    assert mine == min(2, max(devices - min(limit, queued), devices // 2, 1 if devices > 1 or not limit else 0))


def test_a_device_of_a_silent_node_counts_against_the_limit_of_its_holder() -> None:
    works = [running(1, 1), job(1, 1, waits=9), job(2, 2, waits=1)]
    starts = decide(works, [device(1)], {Scope(1, "cpu"): Room(limit=1)}, NOW)
    assert starts == [Assign(works[2], (device(1),), borrowed=False)]


def of_set(number: int, name: str, at_once: int, **more: Any) -> Work:
    """Return a waiting job of a set; those with smaller numbers wait longer."""
    return job(number, 1, waits=100 - number, set_id=name, at_once=at_once, **more)


def test_of_a_set_only_so_many_start_and_others_pass_them() -> None:
    held = of_set(0, "a", 2)
    held.held = (device(9),)
    waiting = [
        *(of_set(number, "a", 2) for number in range(1, 5)),
        of_set(5, "b", 1),
        of_set(6, "b", 1),
        job(7, 1, waits=1),
    ]
    starts = chosen([held, *waiting], [device(number) for number in range(8)])
    assert [one.work.job_id for one in starts] == [1, 5, 7]
    assert not any(one.borrowed for one in starts), "a set that may start no more keeps no place for its jobs"


def test_a_set_counts_over_all_classes_of_devices() -> None:
    waiting = [of_set(number, "a", 3, device_class=name) for number, name in enumerate(["cpu", "cpu", "gpu", "gpu"])]
    pool = [device(number, name) for number, name in enumerate(["cpu", "cpu", "gpu", "gpu"])]
    assert len(chosen(waiting, pool)) == 3
    held = of_set(8, "a", 3, device_class="tpu", held=(device(9, "tpu"),))
    assert len(decide([held, *waiting], pool, {}, NOW)) == 2, "also what runs where no device is ready"


def test_no_more_of_a_set_are_wanted_than_may_run_at_once() -> None:
    waiting = [of_set(number, "a", 2) for number in range(5)]
    (found,), _ = wanted(waiting, [], {}, {"cpu": 1})
    assert found.devices == 2
