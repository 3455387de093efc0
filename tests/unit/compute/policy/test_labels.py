"""Labels: work runs on nodes that carry all that it asks for, and they alone hold it back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.policy import WHOLE, Assign, Device, Why, Work, decide, decide_and_explain
from compute.policy.wanted import Wanted, wanted
from tests.unit.compute.policy.test_decide import NOW, pool, runs, started, waits

EU, SSD = frozenset({"zone=eu"}), frozenset({"zone=eu", "disk=ssd"})
SOME = st.frozensets(st.sampled_from(["zone=eu", "zone=us", "disk=ssd"]))


def carrying(devices: list[Device], labels: dict[int, frozenset[str]]) -> list[Device]:
    return [replace(device, labels=labels.get(device.node, frozenset())) for device in devices]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(SOME, st.integers(1, 3), st.booleans(), st.sampled_from([WHOLE, WHOLE, 500])), max_size=8),
    st.lists(SOME, min_size=4, max_size=4),
)
def test_work_starts_where_its_labels_are_and_waits_only_without_room_there(
    drawn: list[tuple[frozenset[str], int, bool, int]], of_nodes: list[frozenset[str]]
) -> None:
    devices = carrying(pool(8, each=2), dict(enumerate(of_nodes)))
    works = [
        waits(number, labels=labels, devices=several, one_node=together, share=share if several == 1 else WHOLE)
        for number, (labels, several, together, share) in enumerate(drawn)
    ]
    actions, left = decide_and_explain(works, devices, {}, NOW)
    assert all(one.work.labels <= device.labels for one in actions if isinstance(one, Assign) for device in one.devices)
    taken = {device.id for one in actions if isinstance(one, Assign) for device in one.devices}
    for one in left:
        there = [device for device in devices if one.work.labels <= device.labels]
        vacant = [device for device in there if device.id not in taken]
        most = max((sum(at.node == node for at in vacant) for node in range(4)), default=0)
        assert one.work.devices > (most if one.work.one_node else len(vacant))
        if one.why == Why.LABELS:
            assert one.work.labels and len(there) < len(devices)


def test_without_labels_the_devices_are_chosen_as_before() -> None:
    devices = pool(8, each=2)
    works = [runs(1, devices[2:3]), *(waits(number, since_s=90 - number, devices=2) for number in (2, 3, 4))]
    chosen = [
        one.devices for one in decide(works, carrying(devices, {0: EU, 3: SSD}), {}, NOW) if isinstance(one, Assign)
    ]
    plain = [one.devices for one in decide(works, devices, {}, NOW) if isinstance(one, Assign)]
    assert [[at.id for at in one] for one in chosen] == [[at.id for at in one] for one in plain]


def test_a_job_whose_labels_are_taken_lets_others_pass() -> None:
    devices = carrying(pool(4, each=2), {1: EU})
    works = [runs(1, devices[2:]), waits(2, since_s=90, labels=EU), waits(3, since_s=60)]
    assert started(works, devices) == {3: True}, "and what passes is borrowed"


def test_spot_work_gives_way_on_the_nodes_with_the_labels_alone() -> None:
    devices = carrying(pool(2, each=1), {1: EU})
    spots = [runs(1, devices[:1], spot=True, served_s=9), runs(2, devices[1:], spot=True, served_s=900)]
    (stop,) = decide([*spots, waits(3, labels=EU)], devices, {}, NOW)
    assert stop.work.job_id == 2


def asked(works: list[Work], devices: list[Device]) -> tuple[Wanted, frozenset[Any]]:
    (found,), unneeded = wanted(works, devices, {}, {"gpu": 2})
    return found, unneeded


def test_no_new_node_is_wanted_for_labels_that_it_would_not_carry() -> None:
    devices = carrying(pool(4, each=2), {1: EU})
    found, unneeded = asked([waits(number, labels=EU) for number in range(3)], devices)
    assert (found.devices, found.nodes, unneeded) == (2, 1, {0}), "the third job waits for one of the two devices there"
    found, unneeded = asked([waits(1, labels=SSD), waits(2, labels=EU, devices=2, one_node=True)], devices)
    assert (found.devices, found.nodes, unneeded) == (2, 1, {0})
    assert asked([waits(1, labels=EU, share=500)], devices)[1] == {0}
