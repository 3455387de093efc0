"""The page of a project as a cost centre: people, money of the month, limits and running work, and what a stranger sees."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from billing.budgets import budgets
from billing.metering.metering import record_usage
from compute.models import Job
from tenants import operations, quotas
from tenants.grants import grants
from tenants.isolation.scoping import tenant_scope
from tenants.quotas import Scope
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import IN_MARCH
from tests.integration.billing.invoicing.test_console_pages import words
from tests.support import factories, selling
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def test_a_project_shows_its_people_money_limits_and_work(demo_clock: DemoClock) -> None:
    demo_clock.move_to(IN_MARCH - timedelta(days=40))
    tenant = factories.make_tenant("ours", contract=False)
    selling.open_contract(tenant)
    demo_clock.move_to(IN_MARCH)
    owner, nora = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    with tenant_scope(tenant.id):
        made = operations.create_project(actor=owner, name="Vision", slug="vision", restricted=True)
        grants.give(actor=owner, holder=grants.Holder(user_id=nora.id), role="engineer", project_id=made.id)
        budgets.create_budget(actor=owner, amount=Decimal(50), at_limit="notify", project_id=made.id)
        quotas.set_limit(actor=owner, resource="devices:cpu", limit=4, scope=Scope(project_id=made.id))
        quotas.set_limit(actor=owner, resource="devices:cpu", limit=99)
        record_usage([interval(made.id, IN_MARCH - timedelta(seconds=20_000), 20_000)])
        for state in ("running", "queued"):
            Job.objects.create(
                name=f"a {state} job", kind="train", project_id=made.id, spec={}, device_class="cpu", tier="on_demand",
                max_seconds=60, submitted_by=owner.id, submitted_by_label=owner.label, state=state, unit_amount=0, currency="EUR",
            )  # fmt: skip
    path = f"/t/ours/projects/{made.id}/"
    text = words(client_for(tenant, "owner").get(path))
    for part in (
        nora.email.partition("@")[0],
        "Spend of the month €10.00",
        "€50.00 20 % spent, €40.00 left",
        "Running jobs 1 1 queued",
    ):
        assert part in text, part
    limits = text.partition("Quotas")[2]
    assert "CPU" in limits and "4" in limits and "99" not in limits
    answer = client_for(tenant, "owner").get(path).content.decode()
    for link in (f"jobs/?project={made.id}&amp;state=running", "budgets/", "dash/spend/?group=project", "quotas/"):
        assert f'href="/t/ours/{link}' in answer, link
    finance = words(client_for(tenant, "finance").get(path))
    assert "Spend of the month €10.00" in finance and "Running jobs" not in finance, "it sees sums, not what is inside"
    assert client_for(tenant, "viewer").get(path).status_code == 404
