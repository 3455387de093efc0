"""Pools of devices by the speed of their links, and how gangs use them."""

from __future__ import annotations

from itertools import combinations

import pytest

from compute.devices.links import pool_title, pools_of
from compute.policy import Assign, Device, decide
from tests.unit.compute.policy.test_decide import NOW, runs, waits


@pytest.mark.parametrize(
    ("pairs", "pools"),
    [
        ({}, {}),
        ({"ab": "nvlink", "cd": "nvlink"}, {"a": "nvlink 0", "b": "nvlink 0", "c": "nvlink 1", "d": "nvlink 1"}),
        ({"ab": "nvlink", "bc": "nvlink"}, dict.fromkeys("abc", "nvlink 0")),
        (
            {"ab": "nvlink", "bc": "pcie", "cd": "pcie"},
            {"a": "nvlink 0", "b": "nvlink 0", "c": "pcie 0", "d": "pcie 0"},
        ),
        ({"ab": "socket", "cd": "socket"}, {"a": "socket 0", "b": "socket 0", "c": "socket 1", "d": "socket 1"}),
    ],
    ids=str,
)
def test_devices_pool_with_those_that_they_reach_fastest(pairs: dict[str, str], pools: dict[str, str]) -> None:
    assert set(pairs) <= {"".join(pair) for pair in combinations("abcd", 2)}
    found = pools_of("abcd", lambda one, other: pairs.get("".join(sorted((one, other))), ""))
    assert found == dict.fromkeys("abcd", "") | pools


def test_pages_count_pools_from_one() -> None:
    assert [pool_title(pool) for pool in ("nvlink 0", "pcie 1", "", "x")] == ["NVLink 1", "PCIe switch 2", "", ""]


#: Four by NVLink, two by another, three on a switch, and one alone.
LINKS = [*["nvlink 0"] * 4, *["nvlink 1"] * 2, *["pcie 0"] * 3, ""]
HOST = [Device(number, "n", "gpu", link) for number, link in enumerate(LINKS)]


@pytest.mark.parametrize(
    ("wanted", "taken", "chosen"),
    [
        (1, [], {9}),
        (1, [9], {6}),
        (2, [], {4, 5}),
        (3, [], {0, 1, 2}),
        (2, [4], {0, 1}),
        (3, [0, 1], {6, 7, 8}),
        (5, [], {0, 1, 2, 3, 6}),
    ],
    ids=str,
)
def test_a_gang_takes_the_fastest_pool_that_fits_and_leaves_large_ones_whole(
    wanted: int, taken: list[int], chosen: set[int]
) -> None:
    held = [runs(100 + number, [HOST[number]]) for number in taken]
    (start,) = decide([*held, waits(1, devices=wanted, one_node=True)], HOST, {}, NOW)
    assert isinstance(start, Assign)
    assert {device.id for device in start.devices} == chosen
