"""Budget alerts notify once per threshold and month; pages set, change and close budgets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from billing import queries
from billing.budgets import alerts, budgets, holds
from billing.events import BudgetThresholdReached
from billing.forecast import at_end
from billing.forms.budgets import Percentages
from billing.ledger.reconcile import ledger_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import BudgetAlert
from billing.money import Money
from billing.rating.calendar import next_period
from dashboards.overview import Overview
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Notification, OutboxMessage, Project, Tenant
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
START = datetime(2026, 9, 11, 9, tzinfo=UTC)
#: Price per second of the tests' device.
SECOND = Decimal("0.00005")


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, START, for_=timedelta(hours=12))


def deliver(tenant: Tenant) -> None:
    """Deliver published events, as the relay."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE exchequer_control")
        outbox.drain(tenant.id)
        cursor.execute("SET ROLE exchequer_app")


def spend(tenant: Tenant, seconds: int, start: datetime = START - timedelta(hours=11), **more: Any) -> None:
    """Charge the tenant with so many seconds and deliver the resulting events."""
    project = more.pop("project_id", None) or factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        record_usage([interval(project, start, seconds, **more)])
    deliver(tenant)


def budget(tenant: Tenant, seconds: int, **more: Any) -> UUID:
    actor = factories.actor_for(tenant, "finance")
    values = {"at_limit": "notify", "alerts": [50, 80, 100], **more}
    with tenant_scope(tenant.id):
        made = budgets.create_budget(actor=actor, amount=seconds * SECOND, **values)
    deliver(tenant)
    return made.pk


def told(tenant: Tenant) -> list[str]:
    """Return the titles of one budget manager's notifications, oldest first."""
    with tenant_scope(tenant.id):
        owner = Notification.objects.filter(kind="budget").order_by("id").values_list("user_id", flat=True).first()
        return list(
            Notification.objects.filter(user_id=owner, kind="budget").order_by("id").values_list("title", flat=True)
        )


def passed(tenant: Tenant) -> list[int]:
    with tenant_scope(tenant.id):
        return sorted(BudgetAlert.objects.values_list("percent", flat=True))


def test_each_threshold_notifies_once_those_who_manage_budgets(tenant: Tenant) -> None:
    viewer, finance = factories.make_member(tenant, "viewer"), factories.make_member(tenant, "finance")
    budget(tenant, 1000)
    spend(tenant, 499)
    assert told(tenant) == []
    spend(tenant, 1)
    assert told(tenant) == ["Budget of the organisation: 50 % spent"]
    spend(tenant, 290)
    assert len(told(tenant)) == 1
    spend(tenant, 20)
    spend(tenant, 500)
    spend(tenant, 500)
    assert told(tenant)[1:] == [f"Budget of the organisation: {n} % spent" for n in (80, 100)]
    with tenant_scope(tenant.id):
        people = set(Notification.objects.values_list("user_id", flat=True))
        (note,) = Notification.objects.filter(user=finance, title__contains="80")
        assert note.path.startswith("budgets/")
        assert note.body.startswith("€0.0405 of €0.05 is spent in September 2026.")
        assert OutboxMessage.objects.filter(topic="tenants.NotificationRaised").count() == Notification.objects.count()
        assert AuditEntry.objects.filter(action="billing.budget.alerted").count() == 3
    assert finance.id in people
    assert viewer.id not in people


def test_a_charge_that_crosses_several_thresholds_notifies_once_and_records_each(tenant: Tenant) -> None:
    budget(tenant, 100)
    spend(tenant, 85)
    assert told(tenant) == ["Budget of the organisation: 80 % spent"]
    assert passed(tenant) == [50, 80]


def test_one_charge_notifies_once_in_any_order_of_delivery(tenant: Tenant) -> None:
    budget(tenant, 100)
    with tenant_scope(tenant.id):
        record_usage([interval(factories.default_project_id(tenant), START - timedelta(hours=11), 100)])
        told_of = OutboxMessage.objects.filter(topic="billing.BudgetThresholdReached")
        lowest_first = list(told_of.order_by("-id").values_list("id", flat=True))
    assert len(lowest_first) == 3
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE exchequer_control")
        for message in lowest_first:
            outbox.deliver(message, tenant.id)
        cursor.execute("SET ROLE exchequer_app")
    assert told(tenant) == ["Budget of the organisation: 100 % spent"]
    assert passed(tenant) == [50, 80, 100]


def test_a_batch_over_two_projects_crosses_the_organisations_threshold(tenant: Tenant) -> None:
    budget(tenant, 100)
    projects = [factories.default_project_id(tenant), factories.make_project(tenant).id]
    with tenant_scope(tenant.id):
        record_usage([interval(project, START - timedelta(hours=11), 40) for project in projects])
    deliver(tenant)
    assert told(tenant) == ["Budget of the organisation: 80 % spent"]
    assert passed(tenant) == [50, 80]
    with tenant_scope(tenant.id):
        (status,) = queries.budgets()
        assert status.spent.amount == 80 * SECOND
        assert list(ledger_faults()) == []


def test_a_redelivered_event_notifies_nobody_again(tenant: Tenant) -> None:
    made = budget(tenant, 100)
    event = BudgetThresholdReached(
        tenant_id=tenant.id,
        budget_id=made,
        period="2026-09-01",
        percent=50,
        spent=Decimal(1),
        limit=Decimal(2),
        currency="EUR",
    )
    for _ in range(3):
        with tenant_scope(tenant.id):
            alerts.handle_threshold(event)
    assert len(told(tenant)) == 1
    with tenant_scope(tenant.id):
        budgets.close_budget(actor=factories.actor_for(tenant), budget_id=made)
        alerts.handle_threshold(replace(event, percent=80))
    assert passed(tenant) == [50]


def test_a_repeated_charge_notifies_once_a_month(tenant: Tenant, demo_clock: DemoClock) -> None:
    attempt = UUID(int=7)
    budget(tenant, 100)
    spend(tenant, 60, attempt_id=attempt)
    with tenant_scope(tenant.id):
        waive_usage(attempt, reason="the node died")
    spend(tenant, 60)
    assert len(told(tenant)) == 1
    demo_clock.move_to(START + timedelta(days=30))
    spend(tenant, 60, start=START + timedelta(days=29))
    assert told(tenant) == ["Budget of the organisation: 50 % spent"] * 2
    with tenant_scope(tenant.id):
        assert [row.period.month for row in queries.alerts()] == [10, 9]


def test_a_budget_created_or_lowered_below_its_spend_notifies_at_once(tenant: Tenant) -> None:
    spend(tenant, 60)
    made = budget(tenant, 100)
    assert told(tenant) == ["Budget of the organisation: 50 % spent"]
    with tenant_scope(tenant.id):
        budgets.change_budget(actor=factories.actor_for(tenant), budget_id=made, amount=70 * SECOND)
    deliver(tenant)
    assert told(tenant)[1:] == ["Budget of the organisation: 80 % spent"]
    with tenant_scope(tenant.id):
        budgets.change_budget(actor=factories.actor_for(tenant), budget_id=made, alerts=[40, 80])
    deliver(tenant)
    assert len(told(tenant)) == 2
    assert passed(tenant) == [40, 50, 80]


def test_a_heartbeat_that_passes_nothing_costs_no_statement_more(
    tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    project = factories.default_project_id(tenant)
    counts = []
    for thresholds in ([], [50, 80, 100]):
        with tenant_scope(tenant.id):
            for status in queries.budgets():
                budgets.close_budget(actor=factories.actor_for(tenant), budget_id=status.id)
        budget(tenant, 10_000, alerts=thresholds)
        with tenant_scope(tenant.id):
            hold = holds.hold(project_id=project, subject=f"job:{len(counts)}", amount=Money(100 * SECOND, "EUR"))
            record_usage([interval(project, START - timedelta(hours=10), 5)], hold_id=hold)
            with django_assert_max_num_queries(40) as seen:
                record_usage([interval(project, START - timedelta(hours=9), 5)], hold_id=hold)
            counts.append(len(seen))
    assert counts[0] == counts[1]


def test_b10_a_budget_lowered_under_a_running_job_refuses_its_next_second_and_alerts(tenant: Tenant) -> None:
    project = factories.default_project_id(tenant)
    made = budget(tenant, 1000, at_limit="block_new")
    with tenant_scope(tenant.id):
        hold = holds.hold(project_id=project, subject="job:1", amount=Money(500 * SECOND, "EUR"))
        record_usage([interval(project, START - timedelta(hours=10), 100)], hold_id=hold)
    budgets.change_budget(
        actor=factories.actor_for(tenant, "finance"),
        budget_id=made,
        amount=120 * SECOND,
        at_limit="stop_running",
        alerts=[50, 80],
    )
    deliver(tenant)
    assert told(tenant) == ["Budget of the organisation: 80 % spent"]
    with tenant_scope(tenant.id):
        late = record_usage([interval(project, START - timedelta(hours=9), 100)], hold_id=hold)
        assert (late.quantity, late.excluded, late.refused_by) == (20, 80, "budget")
        (status,) = queries.budgets()
        assert status.spent.amount == status.limit.amount == 120 * SECOND
        assert list(ledger_faults()) == []


def test_the_page_shows_how_far_each_budget_is_used_and_exports_it(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        project = Project.objects.create(slug="evil", name="=HYPERLINK(1)")
    budget(tenant, 1000)
    budget(tenant, 200, project_id=project.id, at_limit="stop_running")
    with tenant_scope(tenant.id):
        (entry,) = AuditEntry.objects.filter(action="billing.budget.created", target_label__contains="HYPERLINK")
    assert entry.target_label == f"budget of {project.name}"
    spend(tenant, 150, project_id=project.id)
    client = client_for(tenant, "finance")
    answer = client.get(f"/t/{tenant.slug}/budgets/")
    page = text_of(answer)
    assert "=HYPERLINK(1)" in page
    assert "75\u00a0%" in page
    assert "Refuse and pause" in page
    assert "50 % of" not in page
    rows = list(csv.DictReader(io.StringIO(client.get(f"/t/{tenant.slug}/budgets/?export=csv").content.decode())))
    assert [row["scope"] for row in rows] == ["whole organisation", "'=HYPERLINK(1)"]
    assert [Decimal(row["spent"]) for row in rows] == [150 * SECOND, 150 * SECOND]
    # Ten and a half days of thirty are over: eleven count.
    assert Decimal(rows[1]["forecast"]) == 150 * SECOND * 30 / 11 or abs(
        Decimal(rows[1]["forecast"]) - 150 * SECOND * 30 / 11
    ) < Decimal("1e-10")
    viewer = text_of(client_for(tenant, "viewer").get(f"/t/{tenant.slug}/budgets/"))
    assert "Set a budget" not in viewer
    assert "Change" not in viewer


def test_a_budget_overrun_many_times_shows_more_than_999_percent(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overview, "fresh", False)  # without a job, the overview shows first steps and no money
    budget(tenant, 1)
    spend(tenant, 150)
    client = client_for(tenant, "finance")
    for path in ("budgets/", ""):
        page = text_of(client.get(f"/t/{tenant.slug}/{path}"))
        assert "&gt; 999\u00a0%" in page and "15000" not in page, path


def test_a_budget_is_set_changed_and_deleted_by_form(tenant: Tenant) -> None:
    client, base = client_for(tenant, "finance"), f"/t/{tenant.slug}/budgets/"
    assert "No budget: spend is not limited" in text_of(client.get(base))
    good = {"scope": "tenant", "amount": "12.50", "at_limit": "block_new", "alerts": "80 %, 50,80"}
    assert client.post(f"{base}new/", good).status_code == 302
    with tenant_scope(tenant.id):
        (status,) = queries.budgets()
        assert (status.limit, status.alerts, status.at_limit) == (Money(Decimal("12.5"), "EUR"), (50, 80), "block_new")
    again = client.post(f"{base}new/", good)
    assert again.status_code == 422
    wrong = {"amount": "-1", "at_limit": "explode", "alerts": "50, 101"}
    refused = client.post(f"{base}{status.id}/", wrong)
    assert refused.status_code == 422
    assert text_of(refused).count("x-field-error") == 3
    for amount in ("NaN", "Infinity", "1e40", "", "1,5,5"):
        assert client.post(f"{base}{status.id}/", {**good, "amount": amount}).status_code == 422, amount
    for amount in ("0.0000001", "12.505", "0." + "0" * 12 + "1"):
        refused = client.post(f"{base}{status.id}/", {**good, "amount": amount})
        assert refused.status_code == 422
        assert "Give the amount with at most 2 decimals." in text_of(refused), amount
    unsure = client.post(f"{base}{status.id}/", {**good, "amount": "20.000"})
    assert unsure.status_code == 422
    assert "can be read two ways" in text_of(unsure)
    for amount in ("2,000", "2 000", "2.000,00", "2'000.00", "2\u00a0000,00"):
        assert client.post(f"{base}{status.id}/", {**good, "amount": amount}).status_code == 302, amount
        with tenant_scope(tenant.id):
            assert queries.budgets()[0].limit.amount == 2000, amount
    assert client.post(f"{base}{status.id}/", {**good, "amount": "20,00", "alerts": ""}).status_code == 302
    with tenant_scope(tenant.id):
        (changed,) = queries.budgets()
        assert (changed.limit.amount, changed.alerts) == (20, ())
    assert "Delete the budget of the whole organisation?" in text_of(client.get(f"{base}{status.id}/"))
    assert client.post(f"{base}{status.id}/close/").status_code == 302
    with tenant_scope(tenant.id):
        assert queries.budgets() == []


def test_a_project_of_another_tenant_cannot_be_given_a_budget(tenant: Tenant) -> None:
    foreign = factories.default_project_id(factories.make_tenant())
    body = {"scope": str(foreign), "amount": "1", "at_limit": "notify", "alerts": ""}
    assert client_for(tenant, "finance").post(f"/t/{tenant.slug}/budgets/new/", body).status_code == 422
    with tenant_scope(tenant.id):
        assert queries.budgets() == []


def test_the_history_is_read_over_the_api_page_by_page(tenant: Tenant) -> None:
    made = budget(tenant, 100, alerts=[10, 20, 30])
    spend(tenant, 50)
    client = client_for(tenant, "viewer")
    path, seen = f"/api/v1/budgets/{made}/alerts/?limit=2", []
    while path:
        page = client.get(path).json()
        seen += [row["percent"] for row in page["results"]]
        path = page["next"]
    assert sorted(seen) == [10, 20, 30]
    assert client.get(f"/api/v1/budgets/{made}/alerts/?cursor=x").status_code == 400


@given(
    st.dates(datetime(2000, 1, 1, tzinfo=UTC).date(), datetime(9999, 10, 31, tzinfo=UTC).date()),  # two months follow
    st.decimals(0, 10**9, places=6),
)
def test_a_forecast_is_at_least_what_is_spent_and_exact_at_the_end(day: Any, amount: Decimal) -> None:
    spent, period = Money(amount, "EUR"), day.replace(day=1)
    assert at_end(spent, period, "month", day) >= spent
    assert at_end(spent, period, "month", next_period(period) - timedelta(days=1)) == spent
    assert at_end(spent, period, "month", next_period(next_period(period))) == spent


@given(st.lists(st.integers(1, 100), max_size=10), st.sampled_from([",", ", ", " %, ", ";"]))
def test_percentages_are_read_back_as_they_were_typed(numbers: list[int], between: str) -> None:
    field = Percentages(required=False)
    assert field.clean(between.join(map(str, numbers))) == sorted(set(numbers))
    assert field.clean(field.prepare_value(sorted(set(numbers)))) == sorted(set(numbers))
