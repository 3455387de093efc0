"""What a driver says of a device, and whether the device may take work."""

from __future__ import annotations

import pytest

from compute.devices.health import PROGRAMS_XIDS, Vitals, fault_of


@pytest.mark.parametrize("vitals", [Vitals(), Vitals(uncorrected=0), Vitals(xids=tuple(PROGRAMS_XIDS))])
def test_a_healthy_device_and_faults_of_programs_are_none(vitals: Vitals) -> None:
    assert fault_of(vitals) == ""


@pytest.mark.parametrize(
    ("vitals", "said"),
    [
        (Vitals(lost="GPU is lost", uncorrected=1), "lost this device: GPU is lost"),
        (Vitals(uncorrected=1), "1 memory error (ECC)"),
        (Vitals(uncorrected=3, xids=(48,)), "3 memory errors (ECC)"),
        (Vitals(xids=(79, 13, 48, 79)), "XID 48, 79."),
    ],
)
def test_a_fault_is_named_with_what_to_do(vitals: Vitals, said: str) -> None:
    reason = fault_of(vitals)
    assert said in reason and "return it." in reason
