"""The planner of pipelines over random graphs, outcomes and room in the queue; and what a wrong definition is refused with."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.pipelines import definition
from models_app.pipelines.plan import CONTINUE, STOP, Condition, Reference, Step, Try, holds, plan
from tenants.errors import Invalid

KINDS = {"train": True, "compare": False}


@st.composite
def graphs(draw) -> tuple[Step, ...]:
    """Return steps of which each needs some of those before it; some run for several items, some have a condition."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 6))):
        before = [step.name for step in steps]
        needs = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        when = None
        if needs and draw(st.booleans()):
            when = Condition(Reference(needs[0], "score"), draw(st.sampled_from([">", "<="])), draw(st.integers(0, 2)))
        steps.append(
            Step(
                name=f"s{number}",
                kind="train",
                needs=tuple(needs),
                when=when,
                retries=draw(st.integers(0, 2)),
                items=tuple(range(draw(st.integers(1, 3)))),
                at_once=draw(st.integers(1, 2)),
                job=draw(st.booleans()),
                on_failure=draw(st.sampled_from([STOP, CONTINUE])),
            )
        )
    return tuple(steps)


@settings(max_examples=150, deadline=None)
@given(steps=graphs(), chance=st.randoms(use_true_random=False))
def test_a_run_begins_each_try_once_within_its_limits_and_ends(steps, chance):
    by_name = {step.name: step for step in steps}
    tries: list[Try] = []
    began: set[tuple[str, int, int]] = set()
    for _ in range(200):
        room = chance.randint(0, 3)
        now = plan(steps, tries, room)
        assert plan(steps, list(reversed(tries)), room) == now, "the order of tries is no matter"
        if now.end:
            break
        assert sum(by_name[one.step].job for one in now.launches) <= room
        for one in now.launches:
            key = (one.step, one.item, one.number)
            assert key not in began
            began.add(key)
            step = by_name[one.step]
            assert one.number <= step.retries + 1
            assert not any(failed.on_failure == STOP for failed in _failed(steps, tries)), (
                "nothing new after such a failure"
            )
            assert all(now.states[need] == "succeeded" for need in step.needs)
            assert step.when is None or holds(step.when, tries)
            tries.append(Try(step=one.step, item=one.item, number=one.number, state="running"))
        for step in steps:
            assert sum(one.step == step.name and one.state == "running" for one in tries) <= step.at_once
        for place, one in enumerate(tries):
            if one.state == "running" and chance.random() < 0.6:
                state = "failed" if chance.random() < 0.3 else "succeeded"
                tries[place] = replace(one, state=state, outputs={"score": chance.randint(0, 2)})
    else:
        pytest.fail("it never ended")
    assert not any(one.state == "running" for one in tries)
    assert ("failed" in now.states.values()) == (now.end == "failed")
    stopped = any(step.on_failure == STOP for step in _failed(steps, tries))
    for step in steps:
        if now.states[step.name] == "not reached":
            assert {now.states[need] for need in step.needs} & {"failed", "not reached"}
        assert stopped or now.states[step.name] in ("succeeded", "failed", "skipped", "not reached"), "it was not left"
    for step in steps:
        if now.states[step.name] == "skipped":
            assert not any(one.step == step.name for one in tries)
        elif any(now.states[need] == "skipped" for need in step.needs):
            assert now.states[step.name] in ("skipped", "not reached")


def _failed(steps: tuple[Step, ...], tries: list[Try]) -> list[Step]:
    """Return the steps of which an item failed more often than it is tried again."""
    counted = Counter((one.step, one.item) for one in tries if one.state == "failed")
    return [step for step in steps if any(counted[step.name, item] > step.retries for item in range(len(step.items)))]


def test_a_step_says_whether_what_does_not_need_it_goes_on_after_its_failure():
    steps = (Step(name="a", kind="train"), Step(name="b", kind="train", needs=("a",)), Step(name="c", kind="train"))
    failed = Try(step="a", item=0, number=1, state="failed")
    assert plan(steps, [failed], 9).end == "failed"
    going = (replace(steps[0], on_failure=CONTINUE), *steps[1:])
    now = plan(going, [failed], 9)
    assert ([one.step for one in now.launches], now.end) == (["c"], "")
    done = plan(going, [failed, Try(step="c", item=0, number=1, state="succeeded")], 9)
    assert (done.end, done.states) == ("failed", {"a": "failed", "b": "not reached", "c": "succeeded"})


def test_steps_that_failed_begin_again_after_they_were_set_aside():
    steps = (Step(name="a", kind="train"), Step(name="b", kind="train", needs=("a",)))
    failed = Try(step="a", item=0, number=1, state="failed")
    assert plan(steps, [failed], 9).end == "failed"
    assert plan(steps, [failed], 9).states == {"a": "failed", "b": "not reached"}
    (again,) = plan(steps, [replace(failed, set_aside=True)], 9).launches
    assert (again.step, again.number) == ("a", 2)
    # A try that is final ends the step, whatever retries are left.
    patient = (replace(steps[0], retries=5), steps[1])
    assert plan(patient, [failed], 9).launches
    assert plan(patient, [replace(failed, final=True)], 9).end == "failed"


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "steps"),
        ([{"name": "A b", "kind": "train"}], "steps.1.name"),
        ([{"name": "a", "kind": "train"}, {"name": "a", "kind": "train"}], "steps.2.name"),
        ([{"name": "a", "kind": "bake"}], "steps.a.kind"),
        ([{"name": "a", "kind": "train", "needs": ["b"]}], "steps.a.needs"),
        ([{"name": "a", "kind": "train", "needs": ["b"]}, {"name": "b", "kind": "train", "needs": ["a"]}], "steps.a.needs"),
        ([{"name": "a", "kind": "train", "with": {"x": {"from": "b", "output": "y"}}}], "steps.a.needs"),
        ([{"name": "a", "kind": "train", "retries": 99}], "steps.a.retries"),
        ([{"name": "a", "kind": "train", "each": []}], "steps.a.each"),
        ([{"name": "a", "kind": "train", "colour": 1}], "steps.a.colour"),
        ([{"name": "a", "kind": "train", "on_failure": "shrug"}], "steps.a.on_failure"),
        ([{"name": "a", "kind": "train", "on_failure": ["stop"]}], "steps.a.on_failure"),
        ([{"name": "a", "kind": "train", "when": {"step": "b"}}], "steps.a.when"),
        ([{"name": "a", "kind": "train"}, {"name": "b", "kind": "compare", "when": {"step": "a", "output": "m", "is": "~", "than": 1}}], "steps.b.when.is"),
    ],
)  # fmt: skip
def test_a_wrong_definition_names_the_step_and_the_field(steps, field):
    with pytest.raises(Invalid) as refused:
        definition.read({"steps": steps}, KINDS)
    assert any(name == field or (field == "steps.a.needs" and name == "steps.b.needs") for name in refused.value.fields)


def test_steps_come_after_what_they_need_whatever_their_order():
    named = [
        {"name": "last", "kind": "compare", "with": {"x": {"from": "first", "output": "metrics.accuracy"}}},
        {"name": "middle", "kind": "train", "needs": ["first"]},
        {"name": "first", "kind": "train"},
    ]
    for order in itertools.permutations(named):
        steps = definition.read({"steps": list(order)}, KINDS)
        assert steps[0].name == "first"
        assert next(step for step in steps if step.name == "last").needs == ("first",)
