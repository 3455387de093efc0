"""Shares of devices in the policy: of one tenant on one device, packed, and counted as the whole device that they keep from others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.policy import WHOLE, Assign, Device, Preempt, Reclaim, Room, Scope, Why, Work, decide, decide_and_explain
from tests.unit.compute.policy.test_decide import NOW, part, pool, runs, started, stopped, waits
from tests.unit.compute.policy.test_wanted import asked

HALF, QUARTER = WHOLE // 2, WHOLE // 4


def where(works: list[Work], devices: list[Device], rooms: dict[Scope, Room] | None = None) -> dict[Any, Any]:
    """Return the device on which each job of one starts."""
    starts = (one for one in decide(works, devices, rooms or {}, NOW) if isinstance(one, Assign))
    return {one.work.job_id: one.devices[0].id for one in starts}


def test_no_two_tenants_share_a_device() -> None:
    devices = pool(2)
    assert where([waits(1, share=HALF), waits(2, "b", share=HALF), waits(3, share=HALF)], devices) == {1: 0, 2: 1, 3: 0}
    held = runs(1, devices[:1], share=HALF)
    assert where([held, waits(2, "b", share=HALF)], devices[:1]) == {}
    assert where([held, waits(2, share=HALF)], devices[:1]) == {2: 0}


def test_a_share_waits_for_the_last_share_of_another_tenant_on_its_device() -> None:
    devices = pool(1)
    lent = [runs(number, devices, share=QUARTER, borrowed=True) for number in (1, 2)]
    mine, rooms = waits(3, "b", share=HALF), part(0) | part(1, "b")
    assert decide([*lent, mine], devices, rooms, NOW) == [Reclaim(one, mine) for one in lent]
    lent[1].held, lent[0].stopping = (), True
    assert (
        decide([*lent, mine], devices, rooms, NOW) == []
    )  # half of the device is free, but the other's work is still there
    lent[0].held = ()
    assert decide([*lent, mine], devices, rooms, NOW) == [Assign(mine, (devices[0],), borrowed=False)]


def test_shares_are_put_beside_those_that_give_way_rather_than_on_another_device() -> None:
    devices = pool(2)
    assert where([runs(1, devices[1:], share=HALF, spot=True), waits(2, share=HALF)], devices) == {2: 1}


def test_a_gang_takes_a_device_once_though_two_shares_of_it_give_way() -> None:
    devices = pool(2)
    lent = [runs(number, devices[:1], share=HALF, borrowed=True) for number in (1, 2)]
    other = runs(3, devices[1:], "b", served_s=10**6)
    assert stopped([*lent, other, waits(4, "c", devices=2)], devices, part(0) | part(0, "b") | part(2, "c")) == {}
    other.borrowed = True
    gang = waits(4, "c", devices=2, one_node=True)
    assert stopped([*lent, other, gang], devices, part(0) | part(0, "b") | part(2, "c")) == dict.fromkeys(
        (1, 2, 3), Reclaim
    )


def test_a_guaranteed_part_is_not_kept_from_its_tenant_by_scattered_shares() -> None:
    devices = pool(2)
    rooms = part(1) | part(1, "b")
    # Four quarters fill the part of `a`; the fifth takes a second device from others, so it is borrowed.
    mine = [runs(number, devices[:1], share=QUARTER) for number in range(4)]
    assert started([*mine, waits(5, share=QUARTER)], devices, rooms) == {5: True}
    fifth = runs(5, devices[1:], share=QUARTER, borrowed=True)
    mine[0].held = ()
    assert stopped([*mine[1:], fifth, waits(9, "b")], devices, rooms) == {5: Reclaim}
    # Beside its own shares it costs nobody anything.
    assert started([*mine[1:], waits(6, share=QUARTER)], devices, rooms) == {6: False}


def test_a_spot_share_gives_way_to_one_that_is_not_of_its_own_tenant() -> None:
    devices = pool(1)
    spot = [runs(number, devices, share=HALF, spot=True) for number in (1, 2)]
    assert stopped([*spot, waits(3, share=HALF)], devices, {}) == {2: Preempt}
    assert stopped([*spot, waits(3, "b", share=HALF)], devices, {}) == {1: Preempt, 2: Preempt}


def test_a_share_that_another_tenants_shares_keep_out_waits_for_work_that_stays() -> None:
    devices = pool(1)
    _, (wait,) = decide_and_explain([runs(1, devices, share=QUARTER), waits(2, "b", share=HALF)], devices, {}, NOW)
    assert wait.why == Why.GUARANTEED


def test_what_is_wanted_is_not_shared_by_tenants() -> None:
    assert asked([waits(1, share=HALF), waits(2, "b", share=HALF)], size=1)[0].devices == 2
    (device,) = pool(1)
    held = runs(1, [device], share=QUARTER)
    assert asked([held, waits(2, share=HALF)], [device], size=1)[0].devices == 1
    assert asked([held, waits(2, "b", share=HALF)], [device], size=1)[0].devices == 2


JOB = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from("abc"),
        "share": st.sampled_from([WHOLE, HALF, HALF, QUARTER, 125]),
        "spot": st.booleans(),
        "priority": st.integers(0, 1),
        "since_s": st.integers(0, 10**5),
    }
)
STEP = st.tuples(st.lists(JOB, max_size=4), st.integers(0, 10**6))


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(STEP, min_size=1, max_size=8),
    size=st.integers(1, 5),
    parts=st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=3, max_size=3),
)
def test_whatever_comes_and_goes_no_device_is_overfull_or_of_two_tenants(
    steps: list[Any], size: int, parts: list[int | None]
) -> None:
    devices, works, number = pool(size, each=2), list[Work](), 0
    rooms = {Scope(tenant, "gpu"): Room(guaranteed=one) for tenant, one in zip("abc", parts, strict=True)}
    for arrive, ends in steps:
        for one in arrive:
            number += 1
            works.append(waits(number, **one))
        for _ in range(30):
            actions = decide(works, devices, rooms, NOW)
            for action in actions:
                if isinstance(action, Assign):
                    action.work.held, action.work.borrowed = action.devices, action.borrowed
                else:
                    action.work.stopping = True
            on: dict[Any, list[Work]] = defaultdict(list)
            for work in works:
                for device in work.held:
                    on[device.id].append(work)
            for these in on.values():
                assert sum(work.share for work in these) <= WHOLE
                assert len({work.tenant_id for work in these}) == 1
            stopping = [work for work in works if work.stopping]
            if not actions and not stopping:
                break
            for work in stopping[:: 1 + ends % 2]:  # some are gone before others
                work.held, work.stopping = (), False
        else:
            raise AssertionError("it never comes to rest")
        running = [work for work in works if work.held]
        works = [work for work in works if work not in running[ends % 3 :: 3]]  # some end
