"""What a driver says of a device, and whether the device may take work."""

from __future__ import annotations

import pytest

from compute.devices.health import PROGRAMS_XIDS, Vitals, fault_of, warning_of


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


def test_a_device_that_is_too_hot_works_on_with_a_warning() -> None:
    hot = Vitals(temperature_c=93, slowed=True)
    assert fault_of(hot) == ""
    assert "too hot at 93 °C" in warning_of(hot)
    assert "too hot and" in warning_of(Vitals(slowed=True))
    assert warning_of(Vitals(temperature_c=93)) == ""
