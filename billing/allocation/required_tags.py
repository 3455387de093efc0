"""Tags that launches must carry, so that no cost is without an owner: finance sets them, launches are refused without them.

A tag is required of all work or of some kinds of it, which upper apps register by name and title.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection

from billing.models import RequiredTag
from billing.rating.tags import NAME, tag_fault
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Invalid

REQUIRED_TAGS_SET = AuditAction("billing.required_tags.set")
MOST_TAGS = 10
MOST_VALUES = 100


@dataclass(frozen=True, slots=True)
class Required:
    """A tag that work must carry, and its allowed values; none allows any. Without `kinds` all work must carry it."""

    name: str
    values: Sequence[str] = ()
    kinds: Sequence[str] = ()


class Fault(NamedTuple):
    """What is wrong with the list: with a part (`name`, `values`, `kinds`) of its `n`-th tag, or (None) with all of it."""

    n: int | None
    part: str
    message: str


_kinds: dict[str, str] = {}


def register_kind(name: str, title: str) -> None:
    """Register a kind of work that can carry tags when Django starts; the same name again replaces it."""
    _kinds[name] = title


def work_kinds() -> dict[str, str]:
    """Return the title of each kind of work, by its name."""
    return dict(_kinds)


def required_tags(kind: str = "") -> list[Required]:
    """Return the required tags of the open scope's tenant, by name: all, or those of a kind of work."""
    rows = RequiredTag.objects.order_by("name").values_list("name", "values", "kinds")
    found = [Required(name, tuple(values), tuple(kinds)) for name, values, kinds in rows]
    return [one for one in found if not kind or not one.kinds or kind in one.kinds]


def missing_tags(tags: Mapping[str, str], kind: str) -> list[str]:
    """Return what is wrong with the tags of a launch: each required tag that it lacks, or whose value is not allowed."""
    faults = []
    for one in required_tags(kind):
        value = tags.get(one.name)
        if value is None:
            faults.append(f"The tag {one.name} is required.{_allowed(one)}")
        elif one.values and value not in one.values:
            faults.append(f"The tag {one.name} has a value that is not allowed.{_allowed(one)}")
    return faults


def check_tags(tags: Mapping[str, str], kind: str) -> None:
    """Raise Invalid for tags that are malformed, or that lack what the open scope's tenant requires of this kind of work."""
    malformed = tag_fault(tags)
    if faults := [malformed] if malformed else missing_tags(tags, kind):
        raise Invalid(fields={"tags": faults})


@operation(REQUIRED_TAGS_SET)
def set_required_tags(*, actor: Actor, tags: Sequence[Required]) -> None:
    """Replace the whole list; what has been launched keeps its tags. Raises PermissionDenied, Invalid."""
    actor.require("invoices.manage")
    if wrong := next(list_faults(tags), None):
        raise Invalid(fields={"tags": [wrong.message]})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('billing.required_tags' || %s, 0))", [str(actor.tenant_id)]
        )
    before = {one.name: one for one in required_tags()}
    after = {one.name: Required(one.name, tuple(one.values), tuple(sorted(one.kinds))) for one in tags}
    if before == after:
        unchanged("these tags are required already")
        return
    RequiredTag.objects.all().delete()
    rows = (RequiredTag(name=name, values=one.values, kinds=one.kinds) for name, one in after.items())
    RequiredTag.objects.bulk_create(rows)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    record(
        REQUIRED_TAGS_SET,
        actor=actor,
        target=("required_tags", None, "required tags"),
        changes={name: [_text(before.get(name)), _text(after.get(name))] for name in changed},
    )


def list_faults(tags: Sequence[Required]) -> Iterator[Fault]:
    """Yield what is wrong with a list of required tags."""
    if len(tags) > MOST_TAGS:
        yield Fault(None, "", f"Require at most {MOST_TAGS} tags.")
        return
    seen: set[str] = set()
    for n, one in enumerate(tags):
        if not NAME.fullmatch(one.name):
            yield Fault(n, "name", "A name has letters, digits, _ . and -, at most 40.")
        elif one.name in seen:
            yield Fault(n, "name", "Name each tag once.")
        seen.add(one.name)
        if len(one.values) > MOST_VALUES or len(set(one.values)) < len(one.values):
            yield Fault(n, "values", f"Give each value of {one.name} once, and at most {MOST_VALUES}.")
        elif wrong := next((fault for value in one.values if (fault := tag_fault({"x": value}))), None):
            yield Fault(n, "values", f"{one.name}: {wrong}")
        if set(one.kinds) - _kinds.keys() or len(set(one.kinds)) < len(one.kinds):
            yield Fault(n, "kinds", f"Choose each kind of work once, from {', '.join(_kinds)}.")


def _allowed(one: Required) -> str:
    return f" Use one of: {', '.join(one.values)}." if one.values else ""


def _text(one: Required | None) -> str | None:
    """Return what a tag demands, as the audit log says it."""
    if one is None:
        return None
    values = ", ".join(one.values) or "any value"
    return f"{values}; only {', '.join(_kinds.get(kind, kind) for kind in one.kinds)}" if one.kinds else values
