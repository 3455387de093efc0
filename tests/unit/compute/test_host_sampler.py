"""The sampler of CPU devices: several process groups on one device are each measured by themselves."""

from __future__ import annotations

import pytest

from compute.devices import host
from compute.devices.host import FORGOTTEN_S, HostSampler


def test_two_groups_on_one_device_are_measured_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    present, used = [0.0], {1: 0.0, 2: 0.0}
    monkeypatch.setattr(host, "group_use", lambda group: (used[group], 10 * group))
    sampler = HostSampler("h", 1, clock=lambda: present[0])
    threads = sampler.threads
    for group in (1, 2):
        assert sampler.read("cpu-h-0", group).busy == 0.0  # the first look has nothing to compare with
    present[0], used[1], used[2] = 10.0, 2.5 * threads, 5.0 * threads
    assert [sampler.read("cpu-h-0", group).busy for group in (1, 2)] == [0.25, 0.5]
    # After so long a number may be that of another group.
    present[0], used[1] = 10.0 + FORGOTTEN_S, 5.0 * threads
    assert sampler.read("cpu-h-0", 2).busy < 0.01
    assert sampler.read("cpu-h-0", 1).memory_bytes == 10
