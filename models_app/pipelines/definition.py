"""Read the definition of a pipeline, a JSON object, into steps for the planner. Errors name the step and the field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from models_app.pipelines.plan import COMPARISONS, CONTINUE, STOP, Condition, Reference, Step
from tenants.errors import Invalid

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
OUTPUT = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+){0,3}")
MOST_STEPS, MOST_ITEMS, MOST_RETRIES = 30, 20, 5
FIELDS = frozenset({"name", "kind", "with", "needs", "when", "retries", "each", "at_once", "on_failure"})


def read(body: Any, kinds: Mapping[str, bool]) -> tuple[Step, ...]:
    """Return the steps of a definition, each after what it needs. `kinds`: each kind of step, and whether it is a job.

    Raises Invalid; its fields are `steps.NAME.FIELD`, or `steps.NUMBER.FIELD` for a step without a valid name.
    """
    if not isinstance(body, dict) or not isinstance(body.get("steps"), list) or not body["steps"]:
        raise Invalid(fields={"steps": ['Give an object with a list of steps: {"steps": [{"name": …, "kind": …}]}.']})
    if len(body["steps"]) > MOST_STEPS:
        raise Invalid(fields={"steps": [f"A pipeline has at most {MOST_STEPS} steps."]})
    faults = {name: ["There is no such field. A definition has steps."] for name in body if name != "steps"}
    steps: dict[str, Step] = {}
    for number, one in enumerate(body["steps"], 1):
        step = _step(number, one, kinds, faults)
        if step is None:
            continue
        if step.name in steps:
            faults[f"steps.{number}.name"] = [f"Another step has the name {step.name}. Choose another one."]
        steps[step.name] = step
    for step in steps.values():
        _check_needs(step, steps, faults)
    if faults:
        raise Invalid(fields=dict(list(faults.items())[:20]))
    try:
        order = list(TopologicalSorter({name: step.needs for name, step in steps.items()}).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise Invalid(
            fields={f"steps.{error.args[1][0]}.needs": [f"The steps wait for each other: {circle}."]}
        ) from None
    return tuple(steps[name] for name in order)


def references(value: Any) -> Iterator[Reference]:
    """Yield the references to outputs of other steps in a body."""
    if isinstance(value, dict):
        if set(value) == {"from", "output"}:
            yield Reference(str(value["from"]), str(value["output"]))
            return
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def _step(number: int, one: Any, kinds: Mapping[str, bool], faults: dict[str, list[str]]) -> Step | None:
    name = one.get("name") if isinstance(one, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        words = "Give a name of small letters, digits, - and _, which begins with a letter."
        faults[f"steps.{number}.name"] = [words]
        return None
    at = f"steps.{name}"
    faults |= {
        f"{at}.{key}": [f"A step has no such field. Use {', '.join(sorted(FIELDS))}."] for key in set(one) - FIELDS
    }
    kind, body, needs = one.get("kind"), one.get("with", {}), one.get("needs", [])
    if not isinstance(kind, str) or kind not in kinds:
        faults[f"{at}.kind"] = [f"Choose one of: {', '.join(sorted(kinds))}."]
        kind = ""
    if not isinstance(body, dict):
        faults[f"{at}.with"], body = ["Give an object."], {}
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        faults[f"{at}.needs"], needs = ["Give a list of names of steps."], []
    items = one.get("each", [None])
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
        faults[f"{at}.each"], items = [f"Give a list of 1 to {MOST_ITEMS} values."], [None]
    on_failure = one.get("on_failure", STOP)
    if on_failure not in (STOP, CONTINUE):
        faults[f"{at}.on_failure"] = [f"Choose one of: {STOP}, {CONTINUE}."]
    when = _condition(f"{at}.when", one["when"], faults) if "when" in one else None
    implied = [reference.step for reference in references(body)] + ([when.of.step] if when else [])
    return Step(
        name=name, kind=kind, body=body, when=when, items=tuple(items), job=kinds.get(kind, True),
        on_failure=on_failure,
        needs=tuple(dict.fromkeys([*needs, *implied])),
        retries=_number(one, "retries", 0, MOST_RETRIES, (at, faults)),
        at_once=_number(one, "at_once", 1, MOST_ITEMS, (at, faults), MOST_ITEMS),
    )  # fmt: skip


def _number(
    one: dict[str, Any], name: str, least: int, most: int, into: tuple[str, dict[str, list[str]]], default: int = 0
) -> int:
    value = one.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        at, faults = into
        faults[f"{at}.{name}"] = [f"Give a whole number from {least} to {most}."]
        return default
    return value


def _condition(at: str, value: Any, faults: dict[str, list[str]]) -> Condition | None:
    example = '{"step": "train", "output": "metrics.accuracy", "is": ">", "than": 0.8}'
    if not isinstance(value, dict) or set(value) != {"step", "output", "is", "than"}:
        faults[at] = [f"Give an object such as {example}."]
        return None
    if value["is"] not in COMPARISONS if isinstance(value["is"], str) else True:
        faults[f"{at}.is"] = [f"Choose one of: {' '.join(COMPARISONS)}"]
        return None
    if not isinstance(value["than"], int | float | str):
        faults[f"{at}.than"] = ["Give a number, a text, or true or false."]
        return None
    return Condition(Reference(str(value["step"]), str(value["output"])), value["is"], value["than"])


def _check_needs(step: Step, steps: Mapping[str, Step], faults: dict[str, list[str]]) -> None:
    """Note needs, references and conditions that name no step, or an output that cannot be one."""
    for need in step.needs:
        if need not in steps:
            faults[f"steps.{step.name}.needs"] = [f"There is no step {need[:40]!r}."]
    asked = [*references(step.body), *([step.when.of] if step.when else [])]
    for reference in asked:
        if not OUTPUT.fullmatch(reference.output):
            words = f"{reference.output[:40]!r} names no output. Write it as model_version or metrics.accuracy."
            faults[f"steps.{step.name}.with"] = [words]
    if step.when and step.when.of.step in steps and len(steps[step.when.of.step].items) > 1:
        faults[f"steps.{step.name}.when"] = ["A condition names a step that runs once. Compare the results first."]
