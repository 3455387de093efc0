"""What counts as idle: a table of traces, and properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.policy.idleness import Finding, IdleRule, Minute, Trace, find

RULE = IdleRule()
GIB = 1024**3


def minute(busy: float = 0.0, power_w: float | None = 80.0, moved: int = 0, seconds: float = 60.0) -> Minute:
    return Minute(
        seconds=seconds, busy_s=seconds * busy, power_w=power_w, least_memory=40 * GIB, most_memory=40 * GIB + moved
    )


def found(*traces: list[Minute], devices: int = 0, resting_w: float | None = 80.0) -> Finding:
    """Classify the last 30 minutes of each device."""
    whole = [Trace(minutes=part[-30:], resting_w=resting_w) for part in traces]
    return find(whole, devices or len(traces), RULE)


STEADY, NOTHING = [minute(0.9, 600.0)] * 30, [minute()] * 30
BOUND_BY_MEMORY = [minute(0.02, 240.0)] * 30
LOADS_DATA = [minute(0.01, 85.0, moved=GIB if number % 5 == 0 else 0) for number in range(30)]


@pytest.mark.parametrize(
    ("traces", "expected"),
    [
        pytest.param([STEADY], Finding.WORKING, id="trains"),
        pytest.param([NOTHING], Finding.IDLE, id="a shell that nobody uses"),
        pytest.param([[minute(power_w=None)] * 30], Finding.IDLE, id="a device that measures no power"),
        pytest.param([STEADY * 20 + [minute()] * 29], Finding.IDLE, id="ten hours of work, one of 30 minutes left"),
        pytest.param([STEADY + [minute()] * 10], Finding.WORKING, id="idle for ten minutes"),
        pytest.param([STEADY + [minute()] * 30], Finding.IDLE, id="burst, then idle"),
        pytest.param([BOUND_BY_MEMORY], Finding.WORKING, id="bound by memory: little use, much power"),
        pytest.param([LOADS_DATA], Finding.WORKING, id="loads data: memory moves"),
        pytest.param([NOTHING, STEADY], Finding.WORKING, id="one of two devices works"),
        pytest.param([NOTHING, NOTHING], Finding.IDLE, id="two devices do nothing"),
        pytest.param([[minute()] * 20], Finding.UNKNOWN, id="samples of ten minutes are missing"),
        pytest.param([[]], Finding.UNKNOWN, id="no sample"),
    ],
)
def test_traces(traces: list[list[Minute]], expected: Finding) -> None:
    assert found(*traces) == expected


def test_a_device_without_samples_proves_nothing_of_the_others() -> None:
    assert found(NOTHING, devices=2) == Finding.UNKNOWN
    assert found(STEADY, devices=2) == Finding.WORKING


MINUTES = st.builds(
    minute,
    busy=st.floats(0, 1),
    power_w=st.none() | st.floats(20, 700),
    moved=st.integers(0, GIB),
    seconds=st.floats(0, 60),
)


@given(st.lists(MINUTES, max_size=40), st.integers(0, 39))
def test_more_work_never_makes_it_idle_and_the_past_does_not_count(minutes: list[Minute], place: int) -> None:
    before = found(minutes)
    assert found(STEADY * 3 + [minute()] * 30) == found([minute()] * 30)
    if place < len(minutes):
        busier = [*minutes]
        busier[place] = replace(busier[place], busy_s=busier[place].seconds)
        after = found(busier)
        assert after == before or before == Finding.IDLE or after == Finding.WORKING
    if before == Finding.IDLE:
        assert sum(one.seconds for one in minutes[-30:]) >= RULE.covered * RULE.window_s
