"""Labels as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute import labels
from tenants.errors import Invalid

PARTS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,9}[A-Za-z0-9])?", fullmatch=True)


@given(st.dictionaries(PARTS, PARTS, max_size=5))
def test_what_is_written_is_read_again(said: dict[str, str]) -> None:
    assert labels.from_text(labels.as_text(said)) == said
    assert labels.fault_of(said) == ""


@pytest.mark.parametrize(("text", "words"), [("zone", "has no ="), ("zone=eu, zone=us", "names its key twice")])
def test_typed_labels_that_mean_nothing_are_refused(text: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        labels.from_text(text)
    assert words in refused.value.fields["labels"][0]


@pytest.mark.parametrize(
    "said",
    [
        [],
        "zone=eu",
        {"zone": ""},
        {"": "eu"},
        {"a=b": "c"},
        {"-zone": "eu"},
        {"zone": "e u"},
        {"zone": "eu\n"},
        {"zone": "a" * 64},
        {"zone": 1},
        {str(number): "x" for number in range(17)},
    ],
    ids=str,
)
def test_labels_have_a_form(said: object) -> None:
    assert labels.fault_of(said)
