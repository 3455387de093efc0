"""A budget says where its spending leads, which days stand out and which jobs explain them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from billing.budgets import budgets, unusual
from billing.metering.metering import record_usage
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, Tenant
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 10, 21, 12, tzinfo=UTC)
JOBS = [uuid4() for _ in range(4)]


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    """Five weeks of ten seconds a day, a day before yesterday with four jobs of an hour and less, and a budget."""
    made = priced_tenant(demo_clock, NOW, for_=timedelta(days=36))
    with tenant_scope(made.id):
        project = factories.default_project_id(made)
        usage = [interval(project, NOW - timedelta(days=number, hours=1), 100) for number in range(1, 35)]
        usage += [
            interval(
                project, NOW - timedelta(days=1, hours=2 + number), 3600 - 600 * number, job_id=job, attempt_id=uuid4()
            )
            for number, job in enumerate(JOBS)
        ]
        record_usage(usage)
    return made


def budget(tenant: Tenant, **more: object) -> UUID:
    actor = factories.actor_for(tenant)
    return budgets.create_budget(actor=actor, amount=Decimal(8), at_limit="notify", **more).id  # type: ignore[arg-type]


def test_the_answer_has_the_band_the_runway_and_the_three_jobs_of_an_unusual_day(tenant: Tenant) -> None:
    path = f"/api/v1/budgets/{budget(tenant)}/"
    answer = client_for(tenant, "viewer").get(path).json()
    outlook = answer["outlook"]
    assert [job["id"] for job in answer["costliest"]] == [str(job) for job in JOBS[:3]]
    low, expected, high = (Decimal(outlook[name]["amount"]) for name in ("low", "expected", "high"))
    assert Decimal("6.4") <= low < expected < high
    assert outlook["runway_on"] is None or outlook["runway_on"].startswith("2026-10-")
    (day,) = outlook["unusual"]
    assert day["day"] == "2026-10-20"
    assert Decimal(day["cost"]["amount"]) > 10 * Decimal(day["expected"]["amount"])
    assert [job["id"] for job in day["jobs"]] == [str(job) for job in JOBS[:3]]
    page = text_of(client_for(tenant, "finance").get(f"/t/{tenant.slug}/budgets/{path.split('/')[4]}/"))
    assert "Costliest jobs" in page and "Unusual days" in page and "Likely range" in page and "20 October 2026" in page


def test_a_person_and_a_new_scope_have_no_outlook(tenant: Tenant) -> None:
    member = factories.make_member(tenant, "engineer")
    with tenant_scope(tenant.id):
        project = factories.make_project(tenant, "fresh")
    for made in (
        budget(tenant, kind=budgets.BudgetKind(person=member.id, length="year")),
        budget(tenant, project_id=project.id, kind=budgets.BudgetKind(length="quarter")),
    ):
        answer = client_for(tenant, "viewer").get(f"/api/v1/budgets/{made}/").json()
        assert (answer["outlook"], answer["costliest"]) == (None, [])
        assert answer["forecast"]["amount"] == "0.000000"
        assert client_for(tenant, "finance").get(f"/t/{tenant.slug}/budgets/{made}/").status_code == 200


def test_those_who_manage_budgets_are_notified_of_an_unusual_day_once(tenant: Tenant, demo_clock: DemoClock) -> None:
    finance = factories.make_member(tenant, "finance")
    factories.make_member(tenant, "viewer")
    budget(tenant)
    budget(tenant, kind=budgets.BudgetKind(length="year"))
    factories.make_tenant()
    with selling.as_control():
        assert [unusual.notify_all(), unusual.notify_all()] == [1, 0]
    with tenant_scope(tenant.id):
        rows = Notification.objects.filter(kind="anomaly")
        (mine,) = rows.filter(user=finance)
        assert mine.title == "Unusual spend of the organisation"
        assert "20 October 2026" in mine.body and "€0.05 was expected" in mine.body
        assert not rows.exclude(user__in=[finance]).filter(user__email__startswith="viewer").exists()
    demo_clock.advance(timedelta(days=1))
    with selling.as_control():
        assert unusual.notify_all() == 0
