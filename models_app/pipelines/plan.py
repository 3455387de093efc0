"""The planner of pipelines, pure: from a definition and the tries so far, which steps begin, and whether the run has ended.

A step begins when all that it needs has succeeded and its condition holds. A condition that does not hold skips the step, and
with it each step that needs it. A step that failed, and is not tried again, fails the run: what runs is left to end, and nothing new
begins, unless the step says CONTINUE: then only what needs it is not reached.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

RUNNING, SUCCEEDED, FAILED = "running", "succeeded", "failed"
WAITING, SKIPPED, NOT_REACHED = "waiting", "skipped", "not reached"
End = Literal["", "succeeded", "failed"]
#: What follows when a step failed.
STOP, CONTINUE = "stop", "continue_independent"
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """An output of another step, such as `metrics.accuracy` of `train`."""

    step: str
    output: str


@dataclass(frozen=True)
class Condition:
    """A step begins only if this holds of an output."""

    of: Reference
    comparison: str
    than: Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. `items`: it runs once for each; `at_once`: for how many at once. `job`: it waits for a device.

    `on_failure`: STOP or CONTINUE.
    """

    name: str
    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    when: Condition | None = None
    retries: int = 0
    items: tuple[Any, ...] = (None,)
    at_once: int = 20
    job: bool = True
    on_failure: str = STOP


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try of a step for one of its items.

    No other try follows one that failed and is `final`. One that was `set_aside` counts no more: its step began again.
    """

    step: str
    item: int
    number: int
    state: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    final: bool = False
    set_aside: bool = False


@dataclass(frozen=True)
class Launch:
    """A try to begin now."""

    step: str
    item: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do now. `blocked`: a step could begin, and there is no room in the queue."""

    launches: tuple[Launch, ...]
    states: Mapping[str, str]
    end: End
    blocked: bool


def plan(steps: Sequence[Step], tries: Iterable[Try], room: int) -> Plan:
    """Return which tries begin now, each step's state, and how the run has ended, if it has.

    `steps` are in an order in which each comes after what it needs. `room`: how many jobs the queue takes now.
    """
    known = list(tries)
    kept = [one for one in known if not one.set_aside]
    states = {step.name: RUNNING for step in steps}
    wanted: list[tuple[Step, Launch]] = []
    for step in steps:
        state, launches = _step(step, states, known, kept)
        states[step.name] = state
        wanted += [(step, launch) for launch in launches]
    if any(step.on_failure == STOP and _spent(step, kept) for step in steps):
        wanted = []
    running = any(one.state == RUNNING for one in kept)
    chosen: list[Launch] = []
    for step, launch in wanted:
        if step.job and room <= 0:
            continue
        room -= step.job
        chosen.append(launch)
    end: End = ""
    if not running and not wanted:
        end = "failed" if FAILED in states.values() else "succeeded"
    return Plan(launches=tuple(chosen), states=states, end=end, blocked=len(chosen) < len(wanted))


def outputs_of(step: Step, tries: Iterable[Try]) -> dict[str, Any]:
    """Return the outputs of a step that succeeded; of one that ran for several items, lists in their order."""
    found = sorted(
        (one for one in tries if one.step == step.name and one.state == SUCCEEDED and not one.set_aside),
        key=lambda one: one.item,
    )
    if len(step.items) == 1:
        return dict(found[0].outputs) if found else {}
    names = {name for one in found for name in one.outputs}
    return {name: [one.outputs.get(name) for one in found] for name in names}


def read(outputs: Mapping[str, Any], path: str) -> Any:
    """Return an output by its path, such as `metrics.accuracy`. Raises KeyError."""
    value: Any = outputs
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise KeyError(path)
        value = value[part]
    return value


def _step(step: Step, states: Mapping[str, str], known: list[Try], kept: list[Try]) -> tuple[str, list[Launch]]:
    own = [one for one in kept if one.step == step.name]
    if not own:
        needed = [states[name] for name in step.needs]
        if FAILED in needed or NOT_REACHED in needed:
            return NOT_REACHED, []
        if SKIPPED in needed:
            return SKIPPED, []
        if any(state != SUCCEEDED for state in needed):
            return WAITING, []
        if step.when is not None and not holds(step.when, kept):
            return SKIPPED, []
    if _spent(step, kept):
        return (RUNNING if any(one.state == RUNNING for one in own) else FAILED), []
    launches: list[Launch] = []
    done = 0
    free = step.at_once - sum(one.state == RUNNING for one in own)
    for item in range(len(step.items)):
        last = max((one for one in own if one.item == item), key=lambda one: one.number, default=None)
        done += last is not None and last.state == SUCCEEDED
        if (last is None or last.state == FAILED) and len(launches) < free:
            number = max((one.number for one in known if one.step == step.name and one.item == item), default=0) + 1
            launches.append(Launch(step.name, item, number))
    if done == len(step.items):
        return SUCCEEDED, []
    return (RUNNING if own else WAITING), launches


def _spent(step: Step, kept: list[Try]) -> bool:
    """Return whether an item of a step has failed more often than it is tried again."""
    failures: dict[int, int] = {}
    for one in kept:
        if one.step == step.name and one.state == FAILED:
            failures[one.item] = failures.get(one.item, 0) + (step.retries + 1 if one.final else 1)
    return any(number > step.retries for number in failures.values())


def holds(condition: Condition, tries: Iterable[Try]) -> bool:
    """Return whether a condition holds; false if the output is missing or of another type than it is compared with."""
    done = (one for one in tries if one.step == condition.of.step and one.state == SUCCEEDED and not one.set_aside)
    last = max(done, key=lambda one: (one.item, one.number), default=None)
    try:
        compare = COMPARISONS[condition.comparison]
        return last is not None and bool(compare(read(last.outputs, condition.of.output), condition.than))
    except (KeyError, TypeError):
        return False
