"""Wanted capacity: with it the policy starts all that the limits let run, and with less it is never refused for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.policy import WHOLE, Assign, Device, Room, Scope, Work, decide
from compute.policy.wanted import Wanted, wanted
from tests.unit.compute.policy.test_decide import NOW, part, pool, runs, waits


def asked(
    works: Sequence[Work], devices: Sequence[Device] = (), rooms: dict[Scope, Room] | None = None, size: int = 8
) -> tuple[Wanted, frozenset[Any]]:
    (found,), unneeded = wanted(works, devices, rooms or {}, {"gpu": size})
    return found, unneeded


def test_without_work_nothing_is_wanted_and_every_node_is_unneeded() -> None:
    found, unneeded = asked([], pool(16))
    assert (found.devices, found.nodes, unneeded) == (0, 0, {0, 1})


def test_a_pool_that_was_scaled_to_zero_is_asked_back() -> None:
    assert asked([waits(1), waits(2)], size=4)[0] == Wanted("gpu", 2, 1, 4)


def test_running_work_stays_and_waiting_work_fills_up_its_nodes_first() -> None:
    devices = pool(12, each=4)
    found, unneeded = asked([runs(1, devices[4:6]), waits(2, devices=2)], devices, size=4)
    assert (found.devices, found.nodes, unneeded) == (4, 1, {0, 2})
    found, unneeded = asked([runs(1, devices[4:6]), waits(2, devices=3, one_node=True)], devices, size=4)
    assert (found.devices, found.nodes, unneeded) == (5, 2, {2})


def test_shares_are_packed() -> None:
    works = [waits(number, share=WHOLE // 2) for number in range(5)]
    assert asked(works, size=1)[0] == Wanted("gpu", 3, 3, 1)


def test_what_no_number_of_nodes_would_start_is_not_wanted() -> None:
    assert asked([waits(1, devices=9, one_node=True)])[0].devices == 0
    assert asked([waits(1, devices=9)])[0] == Wanted("gpu", 9, 2, 8)


def test_a_cordoned_device_with_work_keeps_its_node() -> None:
    (held,) = pool(1)
    found, unneeded = asked([runs(1, [held])], [Device(7, 1, "gpu")])
    assert (found.devices, found.nodes, unneeded) == (1, 1, {1})


def test_a_node_is_needed_if_one_of_its_classes_is() -> None:
    devices = [Device(1, "a", "gpu"), Device(2, "a", "cpu"), Device(3, "b", "cpu")]
    found, unneeded = wanted([waits(1)], devices, {}, {"gpu": 1, "cpu": 1})
    assert ([(one.device_class, one.devices) for one in found], unneeded) == ([("cpu", 0), ("gpu", 1)], {"b"})


WORKS = st.lists(
    st.fixed_dictionaries(
        {
            "tenant": st.sampled_from("abc"),
            "devices": st.integers(1, 9),
            "one_node": st.booleans(),
            "share": st.sampled_from([WHOLE, WHOLE, 500, 250]),
            "priority": st.integers(0, 1),
            "spot": st.booleans(),
        }
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(WORKS, st.dictionaries(st.sampled_from("abc"), st.integers(0, 6)), st.integers(1, 4))
def test_the_policy_starts_all_that_the_limits_let_run_on_what_is_wanted_and_no_more(
    drawn: list[dict[str, Any]], limits: dict[str, int], size: int
) -> None:
    works = []
    for number, one in enumerate(drawn):
        share = one["share"] if one["devices"] == 1 else WHOLE
        works.append(waits(number, **{**one, "share": share}))
    rooms = {scope: room for tenant, limit in limits.items() for scope, room in part(None, tenant, limit=limit).items()}
    found, unneeded = asked(works, [], rooms, size)
    assert unneeded == frozenset()
    assert found.nodes * size >= found.devices >= found.nodes - sum(work.one_node for work in works)
    for tenant, limit in limits.items():
        own = [work for work in works if work.tenant_id == tenant and work.share == WHOLE]
        assert asked(own, [], rooms, size)[0].devices <= limit
    # On these nodes everything starts, in some rounds: the policy may place it otherwise, which costs a round, no node more
    # than the gangs that need one of their own.
    gangs = sum(work.one_node for work in works)
    devices = pool((found.nodes + gangs) * size, each=size)
    started = _started(works, devices, rooms)
    allowed = _allowed(works, rooms, size)
    assert {work.job_id for work in started} >= {work.job_id for work in allowed}
    held = Counter[Any]()
    for work in started:
        held[work.tenant_id] += work.amount
    assert all(held[tenant] <= limit * WHOLE for tenant, limit in limits.items())


def _started(works: list[Work], devices: list[Device], rooms: dict[Scope, Room]) -> list[Work]:
    for _ in range(len(works) + 1):
        actions = decide(works, devices, rooms, NOW)
        starts = [action for action in actions if isinstance(action, Assign)]
        assert len(starts) == len(actions), "nothing gives way where there is room for all"
        for action in starts:
            action.work.held, action.work.borrowed = action.devices, action.borrowed
        if not starts:
            break
    return [work for work in works if work.held]


def _allowed(works: list[Work], rooms: dict[Scope, Room], size: int) -> list[Work]:
    """Return, from the rule itself, the work whose tenant has no limit and which fits a node where it must."""
    limited = {scope.tenant_id for scope in rooms}
    return [work for work in works if work.tenant_id not in limited and not (work.one_node and work.devices > size)]
