"""Costs of an endpoint, a project's budget with two crossed thresholds, next month's prices."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from billing import queries
from billing.budgets import budgets
from billing.defaults import INFERENCE_MS, INFERENCE_REQUESTS
from billing.metering.metering import Interval, record_usage
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tests.support import selling
from tests.support.selling import NewPrice

if TYPE_CHECKING:
    from tests.browser.world import Builder

BATCHES = 60


def spend_and_limit(builder: Builder, owner: Actor, project_id: uuid.UUID, endpoint_id: uuid.UUID) -> dict[str, Any]:
    """Bill sixty batches of an endpoint, set a budget for the project, publish next month's prices; return the ids."""
    with tenant_scope(owner.tenant_id):
        start, used = now() - timedelta(hours=2), []
        for number in range(BATCHES):
            at = start + timedelta(seconds=90 * number)
            for meter, quantity in ((INFERENCE_REQUESTS, 90 + number % 7), (INFERENCE_MS, 40 + number % 5)):
                used.append(
                    Interval(
                        key=f"batch:{number}:{meter}",
                        meter=meter,
                        resource=f"endpoint:{endpoint_id}",
                        project_id=project_id,
                        start=at,
                        end=at + timedelta(milliseconds=40 + number % 5),
                        dims={"endpoint": "cancer-screening"},
                        source="serving",
                        quantity=Decimal(quantity),
                    )
                )
        record_usage(used)
        costs = {row.keys["project"]: row.cost for row in queries.spend(queries.span(), group_by=["project"])}
        spent = costs[str(project_id)]
        made = budgets.create_budget(
            actor=owner,
            project_id=project_id,
            amount=(spent * Decimal("1.2")).rounded().amount,
            at_limit="notify",
            alerts=[50, 80, 100],
        )
        (book,) = queries.price_books()
        prices = [NewPrice(price.meter, price.dims, price.unit_amount * 9 / 10) for price in book.versions[0].prices]
        selling.publish(
            book_id=book.id,
            prices=prices,
            effective_at=now() + timedelta(days=10),
            note="Ten per cent off from December",
        )
        serving = next(
            line.n
            for line in queries.invoice_lines(queries.draft_invoice().id or made.pk)
            if line.meter == INFERENCE_REQUESTS
        )
    with builder.control():
        outbox.drain(owner.tenant_id)
    return {"budget": made.pk, "serving_line": serving, "book": book.id}
