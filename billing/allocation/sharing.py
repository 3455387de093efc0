"""Shared cost of a month over the projects that receive it: exact to the minor unit, by the largest remainder. Pure.

A pool is what one rule takes from its source: the lines of the whole organisation, a project, or work with a tag. A cost
belongs to the first rule that fits. What nobody can receive stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billing.money import Money

ORGANISATION, PROJECT, TAG = "organisation", "project", "tag"
SOURCES = [ORGANISATION, PROJECT, TAG]
EVEN, BY_USE, BY_QUOTA, FIXED = "even", "by_use", "by_quota", "fixed"
RULES = [EVEN, BY_USE, BY_QUOTA, FIXED]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is shared, and how. `project` is an id, `tag` a (name, value); `resource` that of the quotas of `by_quota`.

    `shares` are percentages by project id, which sum to 100.
    """

    source: str
    how: str
    project: str | None = None
    tag: tuple[str, str] | None = None
    resource: str = ""
    shares: Mapping[str, Decimal] = field(default_factory=dict)

    def fits(self, project: str | None, tags: Mapping[str, str | None]) -> bool:
        """Return whether a cost of a project (None: of the whole organisation) with these tags is shared by this rule."""
        if self.source == ORGANISATION:
            return project is None
        if self.source == PROJECT:
            return project is not None and project == self.project
        return self.tag is not None and tags.get(self.tag[0]) == self.tag[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """A part of the month's cost: of a project or the whole organisation, with the values of the tags that rules name."""

    project: str | None
    tags: Mapping[str, str | None]
    amount: Money


@dataclass(slots=True)
class Shared:
    """A project's month, or that of what belongs to none: `own` is what it caused, `given` what of it others pay."""

    own: Money
    given: Money
    received: Money

    @property
    def total(self) -> Money:
        """What it pays."""
        return self.own - self.given + self.received


def share(
    costs: Sequence[Cost], rules: Sequence[Rule], quotas: Mapping[str, Mapping[str, int]], currency: str
) -> dict[str | None, Shared]:
    """Return each project's own cost, given and received; the totals add up to the sum of the costs.

    `quotas` are limits by resource and project. Projects receive that have cost of their own in the month and are not
    shared themselves; `fixed` names who receives.
    """
    zero = Money.zero(currency)
    found: dict[str | None, Shared] = {}
    kept: dict[str, Money] = {}
    pools: list[dict[str | None, Money]] = [{} for _ in rules]
    for cost in costs:
        row = found.setdefault(cost.project, Shared(zero, zero, zero))
        row.own += cost.amount
        place = next((n for n, rule in enumerate(rules) if rule.fits(cost.project, cost.tags)), None)
        if place is not None:
            pool = pools[place]
            pool[cost.project] = pool.get(cost.project, zero) + cost.amount
        elif cost.project is not None:
            kept[cost.project] = kept.get(cost.project, zero) + cost.amount
    sources = {rule.project for rule in rules if rule.source == PROJECT}
    own = {project: amount for project, amount in kept.items() if amount.minor > 0 and project not in sources}
    for rule, pool in zip(rules, pools, strict=True):
        weights = {name: weight for name, weight in _weights(rule, own, quotas).items() if weight > 0}
        amount = sum(pool.values(), zero)
        if not weights or not amount.minor:
            continue
        for source, part in pool.items():
            found[source].given += part
        receivers = sorted(weights)
        for name, part in zip(receivers, amount.allocate([weights[one] for one in receivers]), strict=True):
            found.setdefault(name, Shared(zero, zero, zero)).received += part
    return found


def _weights(
    rule: Rule, own: Mapping[str, Money], quotas: Mapping[str, Mapping[str, int]]
) -> Mapping[str, Decimal | int]:
    if rule.how == FIXED:
        return rule.shares
    if rule.how == EVEN:
        return dict.fromkeys(own, 1)
    if rule.how == BY_USE:
        return {name: amount.minor for name, amount in own.items()}
    limits = quotas.get(rule.resource, {})
    return {name: limits.get(name, 0) for name in own}
