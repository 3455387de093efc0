"""Choose who bears held and free time in the cluster's bills, from a month on. A choice is never edited: the next one follows it."""

from __future__ import annotations

from datetime import date

from django.db import transaction

from billing.cluster.split import PROPORTIONAL, RULES
from billing.models import ClusterRule
from billing.rating.calendar import period_of
from tenants import clock
from tenants.audit import AuditAction
from tenants.errors import Invalid
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

CLUSTER_RULE_CHOSEN = AuditAction("billing.cluster_rule.chosen")


def rule_of(month: date) -> str:
    """Return the rule in force in a month: of those chosen for it or for a month before, the last chosen."""
    row = ClusterRule.objects.filter(starts_on__lte=month).order_by("-id").first()
    return row.rule if row else PROPORTIONAL


def choose(*, operator: Operator, rule: str, month: date, reason: str) -> None:
    """Choose the rule from a month on, the running one or a later one: the bills of months that are over keep theirs.

    A later choice for an earlier month replaces it. Raises Invalid.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    first = period_of(clock.now().date())
    faults: dict[str, list[str]] = {}
    if rule not in RULES:
        faults["rule"] = [f"Choose among {', '.join(RULES)}."]
    if month < first:
        faults["month"] = [f"Choose a month from {first:%Y-%m} on: those that are over keep their rule."]
    if faults:
        raise Invalid(fields=faults)
    with transaction.atomic():
        made = ClusterRule.objects.create(starts_on=month.replace(day=1), rule=rule, chosen_by=operator.label[:254])
        label = f"{rule} from {made.starts_on:%Y-%m}"
        record_act(operator, CLUSTER_RULE_CHOSEN, target=("cluster_rule", made.pk, label), reason=reason)
