"""Scheduling policy: which job gets a free device."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.scheduling.policy import Free, Room, Scope, Waiting, assign, scopes_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def uuid_of(number: int) -> UUID:
    return UUID(int=number)


def job(
    number: int, tenant: int, *, waits: int, device_class: str = "cpu", not_before: datetime | None = None
) -> Waiting:
    return Waiting(uuid_of(number), uuid_of(tenant), device_class, NOW - timedelta(seconds=waits), not_before)


def device(number: int, device_class: str = "cpu") -> Free:
    return Free(uuid_of(1000 + number), uuid_of(1), device_class)


def test_the_oldest_job_of_a_tenant_goes_first() -> None:
    chosen = assign([job(1, 1, waits=5), job(2, 1, waits=50)], [device(1)], {}, NOW)
    assert [one.job.job_id for one in chosen] == [uuid_of(2)]


def test_a_long_queue_of_one_tenant_does_not_starve_another() -> None:
    noisy = [job(number, 1, waits=1000 - number) for number in range(2, 502)]
    chosen = assign([*noisy, job(1, 2, waits=1)], [device(1), device(2)], {}, NOW)
    assert {one.job.tenant_id for one in chosen} == {uuid_of(1), uuid_of(2)}


def test_a_tenant_that_holds_fewer_devices_comes_first() -> None:
    chosen = assign([job(1, 1, waits=90), job(2, 2, waits=1)], [device(1)], {uuid_of(1): 3}, NOW)
    assert chosen[0].job.tenant_id == uuid_of(2)


def test_a_job_whose_class_is_busy_does_not_block_those_behind_it() -> None:
    chosen = assign([job(1, 1, waits=90, device_class="nvidia-l4"), job(2, 1, waits=1)], [device(1)], {}, NOW)
    assert [one.job.job_id for one in chosen] == [uuid_of(2)]


def test_a_job_is_held_back_until_its_next_try() -> None:
    held = job(1, 1, waits=90, not_before=NOW + timedelta(seconds=1))
    assert assign([held], [device(1)], {}, NOW) == []
    assert len(assign([held], [device(1)], {}, NOW + timedelta(seconds=1))) == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.sampled_from(["cpu", "gpu"])), max_size=40),
    st.lists(st.sampled_from(["cpu", "gpu"]), max_size=12),
)
def test_every_choice_is_possible_and_no_device_idles_while_its_class_waits(
    jobs: list[tuple[int, int, str]], classes: list[str]
) -> None:
    waiting = [
        job(number, tenant, waits=waits, device_class=name) for number, (tenant, waits, name) in enumerate(jobs, 1)
    ]
    free = [device(number, name) for number, name in enumerate(classes)]
    chosen = assign(waiting, free, {}, NOW)
    assert len({one.job.job_id for one in chosen}) == len({one.device.device_id for one in chosen}) == len(chosen)
    assert all(one.job.device_class == one.device.device_class for one in chosen)
    asked, offered = Counter(name for *_, name in jobs), Counter(classes)
    assert Counter(one.device.device_class for one in chosen) == Counter(
        {name: min(asked[name], offered[name]) for name in offered if asked[name]}
    )


def test_a_full_limit_holds_back_only_the_jobs_that_it_binds() -> None:
    full = Waiting(uuid_of(1), uuid_of(1), "cpu", NOW - timedelta(seconds=90), None, uuid_of(71))
    other = Waiting(uuid_of(2), uuid_of(1), "cpu", NOW - timedelta(seconds=5), None, uuid_of(72))
    rooms = {Scope(uuid_of(1), "cpu", project_id=uuid_of(71)): Room(in_use=2, limit=2)}
    chosen = assign([full, other, job(3, 2, waits=1)], [device(1), device(2), device(3)], {}, NOW, rooms)
    assert {one.job.job_id for one in chosen} == {uuid_of(2), uuid_of(3)}


def test_a_guaranteed_part_comes_before_what_waits_longer() -> None:
    rooms = {
        Scope(uuid_of(1), "cpu"): Room(in_use=3),
        Scope(uuid_of(2), "cpu"): Room(in_use=1, guaranteed=2),
        Scope(uuid_of(1), "cpu", project_id=uuid_of(72)): Room(guaranteed=1),
    }
    waiting = [job(1, 1, waits=900), job(2, 2, waits=1), job(3, 1, waits=2)]
    waiting[2] = replace(waiting[2], project_id=uuid_of(72))
    in_use = {uuid_of(1): 0, uuid_of(2): 9}
    (first,) = assign(waiting, [device(1)], in_use, NOW, rooms)
    assert first.job.job_id == uuid_of(2), "a tenant below its guaranteed part"
    (second,) = assign([waiting[0], waiting[2]], [device(1)], in_use, NOW, rooms)
    assert second.job.job_id == uuid_of(3), "a project below its guaranteed part"


def test_weights_share_what_is_free() -> None:
    rooms = {
        Scope(uuid_of(1), "cpu"): Room(weight=3),
        Scope(uuid_of(2), "cpu"): Room(weight=1),
    }
    waiting = [job(number, 1 + number % 2, waits=number) for number in range(1, 41)]
    in_use = {uuid_of(1): 6, uuid_of(2): 3}
    chosen = assign(waiting, [device(1)], in_use, NOW, rooms)
    assert chosen[0].job.tenant_id == uuid_of(1), "6 of weight 3 are fewer than 3 of weight 1"


LIMITED = st.tuples(st.integers(0, 4), st.none() | st.integers(0, 5), st.integers(0, 2), st.integers(1, 3))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.integers(1, 2), st.integers(1, 2)), max_size=30),
    st.integers(0, 10),
    st.dictionaries(st.tuples(st.integers(1, 3), st.integers(0, 2), st.integers(0, 2)), LIMITED, max_size=12),
)
def test_no_choice_passes_a_limit_and_no_device_idles_while_a_job_with_room_waits(
    jobs: list[tuple[int, int, int, int]],
    devices: int,
    limits: dict[tuple[int, int, int], tuple[int, int | None, int, int]],
) -> None:
    waiting = [
        Waiting(uuid_of(n), uuid_of(t), "cpu", NOW - timedelta(seconds=w), None, uuid_of(70 + p), uuid_of(90 + m))
        for n, (t, w, p, m) in enumerate(jobs, 1)
    ]
    rooms = {
        Scope(uuid_of(t), "cpu", uuid_of(70 + p) if p else None, uuid_of(90 + m) if m and not p else None): Room(*room)
        for (t, p, m), room in limits.items()
    }
    chosen = assign(waiting, [device(number) for number in range(devices)], {}, NOW, rooms)
    used = Counter({scope: room.in_use for scope, room in rooms.items()})
    used.update(scope for one in chosen for scope in scopes_of(one.job) if scope in rooms)
    for scope, room in rooms.items():
        assert room.limit is None or used[scope] <= max(room.limit, room.in_use), "never more than a limit at once"
    left = {one.job_id for one in waiting} - {one.job.job_id for one in chosen}
    if len(chosen) < devices:
        for one in waiting:
            full = [
                s for s in scopes_of(one) if s in rooms and rooms[s].limit is not None and used[s] >= rooms[s].limit
            ]  # type: ignore[operator]
            assert one.job_id not in left or full, "a job waits beside a free device for a full limit only"


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 3))
def test_a_tenant_at_its_limit_starves_no_other(queued: int, devices: int, limit: int) -> None:
    noisy = [job(number, 1, waits=1000 - number) for number in range(100, 100 + queued)]
    quiet = [job(number, 2, waits=1) for number in range(1, 3)]
    rooms = {Scope(uuid_of(1), "cpu"): Room(limit=limit)}
    chosen = assign([*noisy, *quiet], [device(number) for number in range(devices)], {}, NOW, rooms)
    mine = sum(one.job.tenant_id == uuid_of(2) for one in chosen)
    assert mine == min(2, max(devices - min(limit, queued), devices // 2, 1 if devices > 1 or not limit else 0))
