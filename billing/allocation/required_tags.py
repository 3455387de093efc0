"""Tags that every launch must carry, so that no cost is without an owner: finance sets them, launches are refused without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """A tag that work must carry, and its allowed values; none allows any."""

    name: str
    values: Sequence[str] = ()


def required_tags() -> list[Required]:
    """Return the required tags of the open scope's tenant, by name."""
    rows = RequiredTag.objects.order_by("name").values_list("name", "values")
    return [Required(name, tuple(values)) for name, values in rows]


def missing_tags(tags: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the tags of a launch: each required tag that it lacks, or whose value is not allowed."""
    faults = []
    for one in required_tags():
        value = tags.get(one.name)
        if value is None:
            faults.append(f"The tag {one.name} is required.{_allowed(one)}")
        elif one.values and value not in one.values:
            faults.append(f"The tag {one.name} has a value that is not allowed.{_allowed(one)}")
    return faults


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise Invalid for tags that are malformed, or that lack what the open scope's tenant requires."""
    malformed = tag_fault(tags)
    if faults := [malformed] if malformed else missing_tags(tags):
        raise Invalid(fields={"tags": faults})


@operation(REQUIRED_TAGS_SET)
def set_required_tags(*, actor: Actor, tags: Sequence[Required]) -> None:
    """Replace the whole list; what has been launched keeps its tags. Raises PermissionDenied, Invalid."""
    actor.require("invoices.manage")
    if fault := _fault(tags):
        raise Invalid(fields={"tags": [fault]})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('billing.required_tags' || %s, 0))", [str(actor.tenant_id)]
        )
    before = {one.name: list(one.values) for one in required_tags()}
    after = {one.name: list(one.values) for one in tags}
    if before == after:
        unchanged("these tags are required already")
        return
    RequiredTag.objects.all().delete()
    RequiredTag.objects.bulk_create(RequiredTag(name=name, values=values) for name, values in after.items())
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    record(
        REQUIRED_TAGS_SET,
        actor=actor,
        target=("required_tags", None, "required tags"),
        changes={name: [_text(before.get(name)), _text(after.get(name))] for name in changed},
    )


def _fault(tags: Sequence[Required]) -> str:
    names = [one.name for one in tags]
    if len(tags) > MOST_TAGS:
        return f"Require at most {MOST_TAGS} tags."
    if len(set(names)) < len(names):
        return "Name each tag once."
    for one in tags:
        if not NAME.fullmatch(one.name):
            return "A name has letters, digits, _ . and -, at most 40."
        if len(one.values) > MOST_VALUES or len(set(one.values)) < len(one.values):
            return f"Give each value of {one.name} once, and at most {MOST_VALUES}."
        for value in one.values:
            if fault := tag_fault({one.name: value}):
                return f"{one.name}: {fault}"
    return ""


def _allowed(one: Required) -> str:
    return f" Use one of: {', '.join(one.values)}." if one.values else ""


def _text(values: Sequence[str] | None) -> str | None:
    return None if values is None else ", ".join(values) or "any value"
