"""Tags of a job reach its usage: usage and spend by tag, and budgets of a tag that hold, settle and notify."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing import queries
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import BudgetAlert, Hold
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat
from compute.models import Attempt, Job, Outcome
from dashboards.spend import datasets, links
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.api.test_matrix import client_for
from tests.integration.billing.test_alerts import deliver
from tests.integration.compute.test_leases import World
from tests.support import factories, selling
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]
FOUND = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host h", index, 2**30) for index in range(2)]


@pytest.fixture
def world(as_control: Control, demo_clock: DemoClock) -> World:
    """A node whose organisation has had its prices for a minute, so that runs are charged from the first second."""
    demo_clock.move_to(datetime(2026, 10, 5, 11, 59, tzinfo=UTC))
    prices = World(as_control)
    with tenant_scope(prices.tenant.id):
        selling.provision_defaults()
    demo_clock.advance(timedelta(minutes=1))
    nodes.register(name="n1", hostname="h", boot=prices.boot, found=FOUND, missing_layers=[])
    return prices


@pytest.fixture
def finance(world: World) -> Client:
    return client_for(world.tenant, "owner")


def run(world: World, mine: Claim, seconds: float) -> None:
    """Let a claimed attempt run for some seconds."""
    with tenant_scope(world.tenant.id):
        Attempt.objects.filter(id=mine.attempt_id).update(claimed_at=now() - timedelta(seconds=seconds + 5))
    leases.heartbeat(mine, Heartbeat(elapsed=seconds))


def budget(client: Client, tag: str, amount: str, **more: Any) -> dict[str, Any]:
    body = {"scope": f"tag:{tag}", "amount": amount, "at_limit": "block_new", **more}
    answer = client.post("/api/v1/budgets/", body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_spend_is_grouped_by_the_tags_of_jobs_in_one_statement(world: World, finance: Client) -> None:
    for tags in ({"team": "a", "run": "1"}, {"team": "b"}, {}):
        mine = world.running(tags=tags)
        run(world, mine, 2.0)
        leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=2.0))
    with CaptureQueriesContext(connection) as asked:
        rows = finance.get("/api/v1/spend/?group_by=tag:team,meter").json()["results"]
    assert len([one for one in asked if "FROM billing_usagerollup" in one["sql"]]) == 1
    assert {row["tag:team"] for row in rows} == {"a", "b", None}
    prices = {Decimal(row["cost"]["amount"]) / Decimal(row["quantity"]) for row in rows}
    assert prices == {Decimal("0.0005")}, "a tag has no price of its own"
    used = finance.get("/api/v1/usage/?group_by=tag:run").json()["results"]
    assert sorted(str(row["tag:run"]) for row in used) == ["1", "None"]
    with tenant_scope(world.tenant.id):
        assert [*ledger_faults(), *reconcile_faults()] == []


def test_chargeback_names_who_launched_a_job_and_its_tags(world: World, finance: Client) -> None:
    mine = world.running(tags={"team": "a"})
    run(world, mine, 40)
    with tenant_scope(world.tenant.id):
        label = Job.objects.values_list("submitted_by_label", flat=True).get(attempts__id=mine.attempt_id)
    (row,) = finance.get("/api/v1/chargeback/", {"by": "person,tag:team"}).json()["results"]
    assert row["names"] == {"person": label, "tag:team": "a"}
    assert Decimal(row["cost"]["amount"]) > 0
    (row,) = finance.get("/api/v1/chargeback/", {"by": "job,model"}).json()["results"]
    assert (row["names"]["model"], row["keys"]["model"]) == ("Without a model", None)
    assert row["keys"]["job"] is not None


def test_a_budget_of_a_tag_holds_settles_refuses_and_notifies(world: World, finance: Client) -> None:
    made = budget(finance, "team=vision", "0.06", alerts=[1])
    assert (made["scope"], made["project_name"]) == ("tag:team=vision", "")
    again = finance.post(
        "/api/v1/budgets/",
        {"scope": "tag:team=vision", "amount": "5", "at_limit": "notify"},
        content_type="application/json",
    )
    assert again.json()["code"] == "budget_exists"
    mine = world.running(tags={"team": "vision"})
    with tenant_scope(world.tenant.id):
        (held,) = Hold.objects.all()
        assert held.tags == {"team": "vision"}
        assert queries.budget(UUID(made["id"])).held.amount == held.amount > 0
        world.submit(tags={"team": "speech"})  # another team has headroom
    path = f"/api/v1/jobs/{mine.job.id}/clone/"
    refused = finance.post(path, {}, content_type="application/json")
    assert refused.status_code == 402, refused.content
    assert "tag team=vision" in refused.json()["title"]
    run(world, mine, 3.0)
    with tenant_scope(world.tenant.id):
        status = queries.budget(UUID(made["id"]))
        assert status.spent.amount > 0
        assert status.spent.amount + status.held.amount == held.amount
        assert [*ledger_faults(), *reconcile_faults()] == []
    deliver(world.tenant)
    with tenant_scope(world.tenant.id):
        assert BudgetAlert.objects.filter(budget_id=made["id"], percent=1).count() == 1
    page = text_of(finance.get(f"/t/{world.tenant.slug}/budgets/"))
    assert "tag team=vision" in page


def test_a_budget_of_a_tag_made_later_counts_what_the_tag_has_spent_and_holds(world: World, finance: Client) -> None:
    mine = world.running(tags={"team": "a"})
    run(world, mine, 3.0)
    other = world.submit(tags={"team": "b"})
    with tenant_scope(world.tenant.id):
        job, elsewhere = Job.objects.get(id=mine.job.id), Job.objects.get(id=other)
        holds = {row.pk: row for row in Hold.objects.all()}
        spent, left = holds[job.hold_id].settled, holds[job.hold_id].amount - holds[job.hold_id].settled
    made = budget(finance, "team=a", "100")
    assert (Decimal(made["spent"]["amount"]), Decimal(made["held"]["amount"])) == (spent, left)
    assert Decimal(budget(finance, "team=b", "100")["held"]["amount"]) == holds[elsewhere.hold_id].amount
    run(world, mine, 4.0)
    jobs.cancel(actor=world.actor, job_id=mine.job.id)
    with tenant_scope(world.tenant.id):
        assert list(ledger_faults()) == []


@pytest.mark.parametrize(
    "tags",
    [
        {f"k{n}": "v" for n in range(21)},
        {"": "v"},
        {"a=b": "v"},
        {"a b": "v"},
        {"k" * 41: "v"},
        {"a": ""},
        {"a": " "},
        {"a": "v" * 121},
        {"a": "x\ny"},
    ],
)
def test_tags_that_nothing_can_be_grouped_by_are_refused(world: World, finance: Client, tags: dict[str, str]) -> None:
    body = {
        "name": "a",
        "kind": "tick",
        "steps": 1,
        "store": "x",
        "device_class": "cpu",
        "max_seconds": 9,
        "tags": tags,
    }
    answer = finance.post("/api/v1/jobs/", body, content_type="application/json")
    assert answer.status_code == 400
    assert "tags" in answer.json()["fields"]


def test_a_budget_of_an_invalid_tag_is_refused(world: World, finance: Client) -> None:
    for scope in ("tag:", "tag:team", "tag:=x", "tag:a b=c", "tag:team="):
        body = {"scope": scope, "amount": "5", "at_limit": "notify"}
        assert finance.post("/api/v1/budgets/", body, content_type="application/json").status_code == 400, scope
    page = f"/t/{world.tenant.slug}/budgets/new/"
    terms = {"amount": "5", "at_limit": "notify", "alerts": ""}
    assert finance.post(page, {**terms, "scope": "tag", "tag": "team"}).status_code == 422
    assert finance.post(page, {**terms, "scope": "tenant", "tag": "team=a"}).status_code == 422
    assert finance.post(page, {**terms, "scope": "tag", "tag": "team=a"}).status_code == 302
    with tenant_scope(factories.make_tenant().id):
        assert queries.budgets() == []


def test_the_spend_page_offers_the_tags_that_usage_carries_and_groups_by_what_used_it(
    world: World, finance: Client
) -> None:
    for tags in ({"Team": "a"}, {}):
        mine = world.running(tags=tags)
        run(world, mine, 2.0)
        leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=2.0))
    with tenant_scope(world.tenant.id):
        offered = {choice["value"]: choice["label"] for choice in datasets.groupings({})}
        assert "tag:Team" not in [one["value"] for one in datasets.groupings({"range": "last-month"})]
        daily = datasets.spend_page({"group": "tag:Team"}).daily
    assert offered["tag:Team"] == "Tag Team" and {"dim:tier", "dim:device_class", "dim:endpoint"} < set(offered)
    assert set(daily.series) == {"a", "Untagged"}
    page = f"/t/{world.tenant.slug}/spend/export/groups.csv?group="
    names = {
        group: {row["name"] for row in csv.DictReader(StringIO(finance.get(page + group).content.decode()))}
        for group in ("tag:Team", "dim:tier", "dim:device_class", "dim:endpoint")
    }
    assert names == {
        "tag:Team": {"a", "Untagged"},
        "dim:tier": {"On demand"},
        "dim:device_class": {"CPU"},
        "dim:endpoint": {"Without an endpoint"},
    }
    assert finance.get(page + "tag:no%20name").status_code == 400
    longest = "tag:" + "x" * 60  # reported usage may name it so
    assert finance.get(page + longest).status_code == 200
    assert links.chosen(f"?group={longest}")["group"] == longest
    with tenant_scope(world.tenant.id):
        assert {"value": longest, "label": "Tag " + "x" * 60} in datasets.groupings({"group": longest})


def test_spend_is_cut_by_two_and_a_row_leads_to_its_jobs(world: World, finance: Client) -> None:
    for tags in ({"Team": "a"}, {"Team": "a"}, {}):
        mine = world.running(tags=tags)
        run(world, mine, 2.0)
        leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=2.0))
    page = f"/t/{world.tenant.slug}/spend/export"

    def rows(table: str, **query: str) -> list[dict[str, str]]:
        return list(csv.DictReader(StringIO(finance.get(f"{page}/{table}.csv", query).content.decode())))

    found = rows("groups", group="person", second="tag:Team")
    (person,) = {row["name"] for row in found}
    assert "@" in person and [row["second"] for row in found] == ["a", "Untagged"]
    amounts = {row["second"]: Decimal(row["amount"]) for row in found}
    (day,) = [row for row in rows("daily", group="person", second="tag:Team") if Decimal(row[f"{person} \u00b7 a"])]
    assert Decimal(day[f"{person} \u00b7 Untagged"]) == amounts["Untagged"]
    with tenant_scope(world.tenant.id):
        values = {"group": "person", "second": "tag:Team", "range": "7d"}
        shown = datasets.spend_page(values)
        (url,) = [links.link_of(shown, row, world.tenant.slug, values) for row in shown.groups if row.labels[1] == "a"]
        narrowed = links.chosen(url)
        inside = datasets.spend_page(narrowed)
        assert dict(inside.only_labels) == {"person": person, "tag:Team": "a"}
        assert (len(inside.groups), inside.totals.amount) == (2, amounts["a"])
        (row, _) = inside.groups
        assert links.link_of(inside, row, world.tenant.slug, narrowed) == f"/t/{world.tenant.slug}/jobs/{row.job_id}/"
    untagged = rows("groups", group="job", only='{"tag:Team": null}')
    assert [Decimal(row["amount"]) for row in untagged] == [amounts["Untagged"]]
    for wrong in ("{", "[]", '{"colour": "x"}', '{"project": 1}'):
        assert finance.get(f"{page}/groups.csv", {"only": wrong}).status_code == 400, wrong
        assert links.chosen(f"?only={wrong}").get("only") is None
    assert finance.get(f"{page}/groups.csv", {"second": "colour"}).status_code == 400
    (answer,) = finance.get("/api/v1/spend/", {"group_by": "person"}).json()["results"]
    assert answer["person_name"] == person and Decimal(answer["cost"]["amount"]) == sum(amounts.values())


def test_the_tags_to_group_by_are_found_without_what_was_used_before_those_days(
    world: World, finance: Client, superuser: psycopg.Connection
) -> None:
    mine = world.running(tags={"team": "a"})
    run(world, mine, 2.0)
    long_ago = (
        "INSERT INTO billing_usageseries (tenant_id, hash, resource, source, dims) SELECT %s, sha256(n::text::bytea), 'r', 's', "
        """jsonb_build_object('tag:old' || n, 'x') FROM generate_series(1, 5000) n"""
    )
    read = (
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
        "WHERE relname = 'billing_usageseries'"
    )
    with tenant_scope(world.tenant.id), connection.cursor() as cursor:
        cursor.execute(long_ago, [world.tenant.id])
    superuser.execute("ANALYZE billing_usageseries, billing_usagerollup")  # as autovacuum does in time
    with tenant_scope(world.tenant.id), connection.cursor() as cursor:
        assert "tag:team" in [one["value"] for one in datasets.groupings({})]
        cursor.execute(read)
        assert cursor.fetchone()[0] < 100
