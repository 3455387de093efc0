"""The money of a project on its page: what it spends in the running month, and its budgets."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from billing.money import Money
from billing.queries.budgets import budgets
from billing.queries.calendar import tenant_today
from billing.queries.spend import Filters, span, spend
from tenants.access.actor import Actor
from tenants.projects.figures import Figure
from tenants.projects.sight import unnamed_ids


def of_project(actor: Actor, project_id: UUID) -> Iterator[Figure]:
    """Yield the spend of the running month and each budget of the project, if its sums are in sight."""
    if project_id in unnamed_ids(actor):
        return
    if actor.can("spend.view"):
        at = tenant_today()
        rows = spend(span(at=at), filters=Filters(project_id=project_id))
        cost = rows[0].cost if rows else Money.zero(at.currency)
        yield Figure("Spend of the month", cost.plain(), f"{at.period:%B %Y}", "coins", "dash/spend/?group=project")
    if actor.can("budgets.view"):
        mine = [one for one in budgets() if one.project_id == project_id]
        for one in mine:
            note = f"{one.used_percent} % spent, {one.left.plain()} left"
            yield Figure(f"Budget of {one.span}", one.limit.plain(), note, "wallet", f"budgets/{one.id}/")
        if not mine:
            yield Figure("Budget", "none", "of this project alone", "wallet", "budgets/")
