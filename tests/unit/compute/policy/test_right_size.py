"""Advice on the number and the size of devices, from peaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.policy.right_size import RankUse, advise

GIB = 1024**3


def rank(busy: float, peak_gib: float, *, number: int = 0, sampled_s: float = 3_600.0) -> RankUse:
    return RankUse(
        rank=number,
        sampled_s=sampled_s,
        used_s=sampled_s * busy,
        peak_memory_bytes=int(peak_gib * GIB),
        memory_bytes=80 * GIB,
        energy_j=None,
    )


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        pytest.param([rank(0.9, 70)], [], id="works, and is full"),
        pytest.param([rank(0.9, 4)], [], id="little memory, but busy"),
        pytest.param([rank(0.2, 60)], [], id="little use, but full"),
        pytest.param([rank(0.2, 6)], ["used 6.0 of 80 GiB"], id="little of both"),
        pytest.param([rank(0.0, 1)], [], id="idle: that is another matter"),
        pytest.param([rank(0.2, 6, sampled_s=300)], [], id="too short to know"),
        pytest.param(
            [rank(0.9, 60), rank(0.01, 1, number=1), rank(0.0, 1, number=2)],
            ["2 of its 3 devices were busy for less than 5% of the time. Ask for 1."],
            id="two of three rest",
        ),
    ],
)
def test_advice(ranks: list[RankUse], words: list[str]) -> None:
    said = advise(ranks)
    assert len(said) == len(words)
    assert all(word in sentence for word, sentence in zip(words, said, strict=True))


@given(st.lists(st.builds(rank, st.floats(0, 1), st.floats(0, 80), sampled_s=st.floats(0, 10_000)), max_size=8))
def test_nobody_is_advised_to_run_on_no_device(ranks: list[RankUse]) -> None:
    assert not any("Ask for 0" in sentence for sentence in advise(ranks))
