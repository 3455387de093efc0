"""Messages of a child, and what is dropped."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.sandbox import protocol
from compute.sandbox.protocol import Checkpoint, Fault, Layers, Metric, Progress, parse, still_opening


def test_each_kind_of_line_is_understood() -> None:
    assert parse(b'{"type":"progress","phase":"training","done":7,"total":20,"eta_s":12.5}') == Progress(
        {"phase": "training", "done": 7, "total": 20, "eta_s": 12.5}
    )
    assert parse(b'{"type":"metric","step":7,"values":{"train_loss":0.1}}') == Metric(7, {"train_loss": 0.1})
    assert parse(b'{"type":"checkpoint","step":7}') == Checkpoint(7)
    assert parse(b'{"type":"error","code":"bad_target","message":"no such column"}') == Fault(
        "bad_target", "no such column"
    )
    assert parse(b'{"type":"sandbox","missing":["a"]}') == Layers(["a"])


@pytest.mark.parametrize(
    "line",
    [
        b"", b"hello", b"[]", b"{}", b'{"type":"unknown"}', b'{"type":"metric","step":1,"values":{"loss":NaN}}',
        b'{"type":"metric","step":1,"values":{"loss":1e999}}', b'{"type":"metric","step":-1,"values":{"loss":1}}',
        b'{"type":"metric","step":true,"values":{"loss":1}}', b'{"type":"metric","step":1,"values":{}}',
        b'{"type":"checkpoint","step":1e3}', b'{"type":"progress","done":"7"}', b"[" * 100_000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_lines_that_break_the_rules_are_dropped(line: bytes) -> None:
    assert parse(line) is None


@given(st.binary(max_size=200))
def test_no_line_can_raise(line: bytes) -> None:
    assert parse(line) is None or line.strip().startswith(b"{")


@given(
    st.dictionaries(
        st.sampled_from(["type", "step", "values", "phase", "done", "message"]),
        st.recursive(st.none() | st.floats() | st.text(), st.lists),
    )
)
def test_no_object_can_raise(body: dict[str, object]) -> None:
    for kind in ("progress", "metric", "checkpoint", "error", "sandbox"):
        said = parse(json.dumps({**body, "type": kind}).encode())
        assert said is None or type(said).__name__.lower()[:4] in {"prog", "metr", "chec", "faul", "laye"}


def test_text_loses_control_characters_and_colours() -> None:
    assert protocol.clean("\x1b[31mred\x1b[0m\x00\r\nnext\ud800", 100) == "red\nnext"
    assert protocol.clean("abcdef", 3) == "abc"


@pytest.mark.parametrize("required", [True, False])
def test_a_child_has_begun_once_it_is_locked_down_or_reports_progress(required: bool) -> None:
    begun = [Progress({}), Metric(1, {"loss": 1.0}), Checkpoint(1), Layers([])]
    assert [still_opening(said, required=required) for said in begun] == [False] * 4
    assert still_opening(Fault("device_unavailable", "no"), required=required)
    assert still_opening(Layers(["a"]), required=required) == required
