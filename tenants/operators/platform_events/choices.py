"""Who gets an email about a platform event: operators whose roles read its type, as they chose; else those who act on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from tenants.errors import Invalid
from tenants.isolation import limits
from tenants.models import OperatorEmailChoice, OperatorGrant
from tenants.operators.operator import OnlyAPerson, Operator
from tenants.operators.platform_events import catalogue


@dataclass(frozen=True)
class EmailChoice:
    """Whether an operator gets emails about a type."""

    type: str
    title: str
    wanted: bool


@dataclass(frozen=True)
class Reader:
    """An operator who may get emails, with what they chose by type."""

    operator: Operator
    chosen: Mapping[str, bool]

    def wants(self, kind: catalogue.PlatformEventType) -> bool:
        """Return whether they get an email about a type."""
        return self.operator.can(kind.reads) and self.chosen.get(kind.name, self.operator.can(kind.acts))


def readers(only: UUID | None = None) -> list[Reader]:
    """Return the operators with a role, or one of them (control role): two queries."""
    grants = OperatorGrant.objects.filter(user__is_active=True).order_by("user_id", "role")
    choices = OperatorEmailChoice.objects.order_by("user_id")
    if only is not None:
        grants, choices = grants.filter(user_id=only), choices.filter(user_id=only)
    roles: dict[UUID, list[str]] = {}
    for user_id, role in grants.values_list("user_id", "role"):
        roles.setdefault(user_id, []).append(role)
    chosen: dict[UUID, dict[str, bool]] = {}
    for user_id, name, wanted in choices.values_list("user_id", "type", "wanted"):
        chosen.setdefault(user_id, {})[name] = wanted
    return [
        Reader(Operator(id=user_id, label="", roles=tuple(held)), chosen.get(user_id, {}))
        for user_id, held in roles.items()
    ]


def chosen(operator: Operator) -> list[EmailChoice]:
    """Return the operator's choice for each type that their roles read."""
    rows = OperatorEmailChoice.objects.filter(user_id=operator.id)
    reader = Reader(operator, dict(rows.values_list("type", "wanted")))
    return [EmailChoice(one.name, one.title, reader.wants(one)) for one in catalogue.types() if operator.can(one.reads)]


def choose(operator: Operator, wanted: Mapping[str, bool]) -> None:
    """Store the operator's own choice for these types. Raises Invalid for one that they do not read, OnlyAPerson for a key."""
    if operator.key_id is not None:
        raise OnlyAPerson
    known = {one.name: operator.can(one.acts) for one in catalogue.types() if operator.can(one.reads)}
    if unknown := sorted(set(wanted) - set(known)):
        raise Invalid(fields={"type": [f"You get no emails about {unknown[0]}. GET lists the types."]})
    limits.take_turns(OperatorEmailChoice, operator.id)
    OperatorEmailChoice.objects.filter(user_id=operator.id, type__in=wanted).delete()
    OperatorEmailChoice.objects.bulk_create(
        OperatorEmailChoice(user_id=operator.id, type=name, wanted=value)
        for name, value in wanted.items()
        if value != known[name]
    )
