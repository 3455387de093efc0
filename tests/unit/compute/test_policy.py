"""Scheduling policy: which job gets a free device."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.scheduling.policy import Free, Waiting, assign

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
