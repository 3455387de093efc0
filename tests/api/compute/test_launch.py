"""Launching through the API: sixteen at once for a budget that fits three; every refusal says what to do and stores nothing."""

import threading
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client

from billing import queries as billing_queries
from billing.budgets import budgets
from billing.metering.metering import record_usage
from billing.models import Hold
from compute.models import Job
from models_app.models import DatasetVersion
from tenants import clock, quotas
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage, Tenant
from tests.api.objects import COLUMNS, launchable
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval

pytestmark = pytest.mark.django_db(transaction=True)
#: The job of `one_of_everything`.
BEFORE = 1


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant("lab")


@pytest.fixture
def order(tenant: Tenant) -> dict[str, Any]:
    """Return a launchable job."""
    return launchable(tenant)


def post(key: str, order: dict[str, Any], path: str = "/api/v1/jobs/") -> Any:
    return Client(raise_request_exception=False).post(
        path, order, content_type="application/json", headers={"Authorization": f"Bearer {key}"}
    )


def project_budget(tenant: Tenant, amount: Decimal, at_limit: str = "block_new") -> UUID:
    actor = factories.actor_for(tenant)
    return budgets.create_budget(
        actor=actor, project_id=factories.default_project_id(tenant), amount=amount, at_limit=at_limit
    ).id


def test_of_sixteen_launches_for_a_budget_that_fits_three_at_most_three_get_in(
    tenant: Tenant, order: dict[str, Any]
) -> None:
    key = factories.make_api_key(tenant)
    quote = post(key, order, "/api/v1/quotes/")
    assert quote.status_code == 201, quote.json()
    worst = Decimal(quote.json()["worst"]["amount"])
    with tenant_scope(tenant.id):
        spent = billing_queries.month_to_date().cost.amount
    limit = spent + worst * Decimal("3.5")
    project_budget(tenant, limit)
    answers: list[tuple[int, dict[str, Any]]] = []
    barrier = threading.Barrier(16)

    def launch() -> None:
        try:
            barrier.wait()
            answer = post(key, order)
            answers.append((answer.status_code, answer.json()))
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    statuses = [status for status, _ in answers]
    assert sorted(set(statuses)) == [201, 402]
    assert statuses.count(201) == 3
    assert {body["code"] for status, body in answers if status == 402} == {"budget_exceeded"}
    with tenant_scope(tenant.id):
        status = next(one for one in billing_queries.budgets() if one.project_id)
        assert status.held.amount + status.spent.amount <= limit
        assert Job.objects.count() == BEFORE + 3
        assert OutboxMessage.objects.filter(topic="compute.JobSubmitted").count() == 3


@pytest.mark.parametrize("max_cost", [None, "0.25"])
def test_a_launch_holds_what_its_quote_says_and_a_budget_of_just_that_lets_it_in(
    tenant: Tenant, order: dict[str, Any], max_cost: str | None
) -> None:
    key = factories.make_api_key(tenant)
    order |= {"max_cost": max_cost}
    worst = Decimal(post(key, order, "/api/v1/quotes/").json()["worst"]["amount"])
    with tenant_scope(tenant.id):
        version = DatasetVersion.objects.get(dataset_id=order["dataset"])
    person = Client()
    person.force_login(factories.make_member(tenant, "owner"))
    with tenant_scope(tenant.id):
        spent = billing_queries.month_to_date().cost.amount
    budget = project_budget(tenant, spent + worst)
    form = {
        "name": "x", "project": str(factories.default_project_id(tenant)), "recipe": order["recipe"],
        "dataset": str(version.id), "device_class": "cpu", "tier": "on_demand", "max_minutes": "60", "p-target": "t",
        "max_cost": max_cost or "",
    }  # fmt: skip
    panel = person.post("/t/lab/jobs/new/quote/", form).context["quote"]
    assert (panel.worst.amount, panel.budget_left.amount, panel.refusals) == (worst, 0, [])
    assert panel.limit_s <= order["max_seconds"], "the seconds for stopping are no run time"
    quote = post(key, order, "/api/v1/quotes/").json()
    assert Decimal(quote["budget_left_after"]["amount"]) == 0
    made = post(key, {**order, "quote": quote["id"]})
    assert made.status_code == 201, made.content
    with tenant_scope(tenant.id):
        assert Hold.objects.get(subject=Job.objects.get(id=made.json()["id"]).subject).amount == worst
        assert next(one for one in billing_queries.budgets() if one.id == budget).left.amount == 0
    refused = post(key, order)
    assert Decimal(refused.json()["asked"]["amount"]) == worst


def test_a_launch_beyond_an_overspent_budget_names_it_without_suggestions(
    tenant: Tenant, order: dict[str, Any]
) -> None:
    key, person = factories.make_api_key(tenant), Client()
    person.force_login(factories.make_member(tenant, "owner"))
    with tenant_scope(tenant.id):
        version = DatasetVersion.objects.get(dataset_id=order["dataset"])
        record_usage([interval(factories.default_project_id(tenant), clock.now(), 30)])
    worst = Decimal(post(key, order, "/api/v1/quotes/").json()["worst"]["amount"])
    budget = project_budget(tenant, Decimal("0.0005"))
    with tenant_scope(tenant.id):
        over = billing_queries.budget(budget).spent.amount - Decimal("0.0005")
    assert over > 0
    form = {
        "name": "x", "project": str(factories.default_project_id(tenant)), "recipe": order["recipe"],
        "dataset": str(version.id), "device_class": "cpu", "tier": "on_demand", "max_minutes": "60", "p-target": "t",
    }  # fmt: skip
    answer = person.post("/t/lab/jobs/new/quote/", form)
    assert answer.context["quote"].budget_left.amount == -over - worst
    refused = person.post("/t/lab/jobs/new/", {**form, "key": str(uuid7())})
    assert refused.status_code == 402
    for page in (text_of(answer), text_of(refused)):
        assert "The budget of project Default, " in page
        assert "is used up and " in page
        assert "No shorter limit fits" in page
        assert 'href="/t/lab/budgets/"' in page
        assert "Lower the time limit" not in page
        assert "Choose spot" not in page
    said = post(key, order).json()["title"]
    assert "left in the budget of this project" in said
    assert "have the budget raised" in said
    assert "choose spot" not in said


@pytest.mark.parametrize(
    ("target", "task", "recipe", "chosen"),
    [
        ("n", "regression", "", "tabular.regressor"),
        ("n", "classification", "", "tabular.classifier"),
        ("n", "regression", "tabular.classifier", "tabular.classifier"),
        ("a", "", "", "tabular.regressor"),
        ("t", "classification", "", "tabular.classifier"),
        ("", "", "", "tabular.classifier"),
    ],
)
def test_the_launch_form_starts_with_a_recipe_for_the_target_of_the_dataset(
    tenant: Tenant, order: dict[str, Any], target: str, task: str, recipe: str, chosen: str
) -> None:
    whole = {"name": "n", "kind": "numeric", "distinct": 40, "integer": True, "missing": 0}
    with tenant_scope(tenant.id):
        version = DatasetVersion.objects.get(dataset_id=order["dataset"])
        DatasetVersion.objects.filter(id=version.id).update(
            target=target, columns=[*COLUMNS, whole], profile={"task": task or None}
        )
    person = Client()
    person.force_login(factories.make_member(tenant, "owner"))
    asked = {"dataset": str(version.id)} | ({"recipe": recipe} if recipe else {})
    shown = person.get("/t/lab/jobs/new/", asked).context
    assert shown["chosen_recipe"] == chosen
    assert shown["main_fields"][0].field.initial == target


def test_a_launch_beyond_the_quota_is_refused_and_stores_nothing(tenant: Tenant, order: dict[str, Any]) -> None:
    key, order = factories.make_api_key(tenant), {**order, "max_seconds": 2000}
    quotas.set_limit(actor=factories.actor_for(tenant), resource="device_hours:cpu", limit=1)
    assert post(key, order).status_code == 201
    refused = post(key, order)
    assert refused.status_code == 409
    assert refused.json()["code"] == "quota_exceeded"
    assert refused.json()["limit"] == 1
    with tenant_scope(tenant.id):
        assert Job.objects.count() == BEFORE + 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"project": "nowhere"}, "project"),
        ({"recipe": "tabular.magic"}, "recipe"),
        ({"dataset": "not-an-id"}, "dataset"),
        ({"params": {"epochs": 10**9}}, "epochs"),
        ({"params": {"learning_rate": "NaN"}}, "learning_rate"),
        ({"params": {"magic": 1}}, "magic"),
        ({"device_class": "abacus"}, "device_class"),
        ({"devices": 99}, "devices"),
        ({"tier": "free"}, "tier"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"max_seconds": 10**12}, "max_seconds"),
        ({"max_cost": "-1"}, "max_cost"),
        ({"max_cost": "NaN"}, "max_cost"),
        ({"kind": "mine bitcoin"}, "kind"),
    ],
)
def test_bad_input_is_refused_by_name(
    tenant: Tenant, order: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    answer = post(factories.make_api_key(tenant), {**order, **change})
    assert answer.status_code in (400, 404, 409), answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert field in text_of(answer)
    with tenant_scope(tenant.id):
        assert Job.objects.count() == BEFORE
        assert all(use.in_use == 0 for use in quotas.usage() if use.resource == "devices:cpu")


def test_one_page_of_jobs_takes_the_same_queries_as_fifty(
    tenant: Tenant, order: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    key = factories.make_api_key(tenant)
    for _ in range(12):
        assert post(key, order).status_code == 201
    with django_assert_max_num_queries(14):
        answer = Client().get("/api/v1/jobs/?limit=10", headers={"Authorization": f"Bearer {key}"})
    assert len(answer.json()["results"]) == 10
    second = Client().get(
        answer.json()["next"].removeprefix("http://testserver"), headers={"Authorization": f"Bearer {key}"}
    )
    assert len(second.json()["results"]) == 2 + BEFORE
    assert second.json()["next"] is None
