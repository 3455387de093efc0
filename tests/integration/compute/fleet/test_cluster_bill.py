"""The cluster's bill in the console: costs are entered once and kept, and a month is shown, as a file, and by API."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.cluster.costs import costs_until
from billing.models import Invoice, UsageEvent
from billing.queries.invoices import draft_invoice
from compute.leases import leases
from compute.leases.messages import Heartbeat, Sample
from compute.models import Job
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct
from tests.conftest import DemoClock
from tests.integration.billing.exports.scene import rows_of, take
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.compute.fleet.test_presence import Control
from tests.integration.compute.test_leases import World
from tests.support import selling

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/fleet/bill/"
API = "/api/operator/v1/"
NOW = datetime(2027, 4, 12, 9, 30, tzinfo=UTC)
FORM = {"device_class": "cpu", "per_hour": "3.60", "currency": "EUR", "starts_on": "2027-04-01", "reason": "As bought"}


@pytest.fixture
def finance(seller: Any, demo_clock: DemoClock) -> Any:
    demo_clock.move_to(NOW)
    return seller("platform_finance")


def test_costs_follow_each_other_and_none_is_edited(finance: Any, seller: Any) -> None:
    assert "No cost yet" in words(finance.get(PAGE))
    assert finance.post(PAGE, FORM).status_code == 302
    again = finance.post(PAGE, FORM | {"starts_on": "2027-04-12"})
    assert (again.status_code, "hours that passed keep their cost" in words(again)) == (422, True)
    dollars = finance.post(PAGE, FORM | {"device_class": "h200", "currency": "USD"})
    assert (dollars.status_code, "the bill has one currency" in words(dollars)) == (422, True)
    later = FORM | {"starts_on": "2027-04-13", "per_hour": "4"}
    answer = finance.post(f"{API}device-costs/", later, content_type="application/json")
    assert (answer.status_code, answer.json()["per_hour"]) == (201, "4.000000000000")
    listed = finance.get(f"{API}device-costs/?limit=1").json()
    assert ([row["starts_on"] for row in listed["results"]], bool(listed["next"])) == (["2027-04-13"], True)
    support = seller("platform_support")
    assert "Enter a cost" not in words(support.get(PAGE))
    assert support.post(PAGE, FORM).status_code == 403
    with selling.role("exchequer_operator"):
        assert OperatorAct.objects.filter(action="billing.device_cost.entered").count() == 2
    for change in (
        "UPDATE billing_devicecost SET per_hour = 7", "DELETE FROM billing_devicecost",
        "INSERT INTO billing_devicecost (id, device_class, per_hour, currency, starts_on, entered_by) "
        "VALUES (gen_random_uuid(), 'cpu', 1, 'EUR', '2027-04-12', '')",
        "INSERT INTO billing_devicecost (id, device_class, per_hour, currency, starts_on, entered_by) "
        "VALUES (gen_random_uuid(), 'h200', 1, 'USD', '2027-04-12', '')",
    ):  # fmt: skip
        with selling.role("exchequer_operator"), pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute(change)


def test_a_cost_entered_by_mistake_is_withdrawn_and_another_takes_its_place(finance: Any, seller: Any) -> None:
    def enter(**more: str) -> Any:
        return finance.post(f"{API}device-costs/", FORM | more, content_type="application/json")

    wrong, later = enter(per_hour="36", currency="USD").json(), enter(starts_on="2027-05-01", currency="USD").json()
    assert enter(per_hour="3.60", currency="USD").status_code == 400
    page = f"{PAGE}costs/{wrong['id']}/withdraw/"
    short = finance.post(page, {"reason": "no"})
    assert (short.status_code, 'value="no"' in short.content.decode()) == (422, True), "what was typed is still there"
    assert "reason" in words(short).lower()
    assert "The cost is withdrawn" in words(finance.post(page, {"reason": "ten times too much"}, follow=True))
    assert seller("platform_support").post(page, {"reason": "no right"}).status_code == 403
    again = finance.post(
        f"{API}device-costs/{wrong['id']}/withdraw/", {"reason": "again"}, content_type="application/json"
    )
    assert (again.status_code, again.json()["code"]) == (409, "device_cost_withdrawn")
    late = finance.post(page, {"reason": "once more"})
    assert (late.status_code, "This cost is withdrawn already." in words(late)) == (422, True)
    assert enter(starts_on="2027-04-02", currency="USD").status_code == 400, "nothing was withdrawn of that day"
    assert enter(currency="USD").status_code == 201, "it takes the place of the withdrawn one, in the past"
    finance.post(f"{API}device-costs/{later['id']}/withdraw/", {"reason": "too early"}, content_type="application/json")
    listed = finance.get(f"{API}device-costs/").json()["results"]
    assert [(row["per_hour"][:4], row["withdrawn_at"] is None) for row in listed] == [
        ("3.60", True),
        ("3.60", False),
        ("36.0", False),
    ]
    assert words(finance.get(PAGE)).count("Withdrawn") == 2
    with selling.role("exchequer_operator"):
        assert costs_until(date(2027, 6, 1)).by_class == {"cpu": [(date(2027, 4, 1), Decimal("3.60"))]}
        acts = OperatorAct.objects.filter(action="billing.device_cost.withdrawn").values_list("reason", flat=True)
        assert sorted(acts) == ["ten times too much", "too early"]
    for change in (
        "UPDATE billing_devicecostwithdrawal SET withdrawn_by = ''",
        "DELETE FROM billing_devicecostwithdrawal",
        "UPDATE billing_clusterrule SET rule = 'even'",
        "INSERT INTO billing_devicecost (id, device_class, per_hour, currency, starts_on, entered_by) "
        "VALUES (gen_random_uuid(), 'cpu', 1, 'USD', '2027-04-01', '')",
    ):
        with selling.role("exchequer_operator"), pytest.raises(DatabaseError), transaction.atomic():
            connection.cursor().execute(change)


def test_a_rule_is_chosen_from_a_month_on_and_months_that_are_over_keep_theirs(finance: Any) -> None:
    def in_force(month: str) -> str:
        return str(finance.get(f"{API}cluster-bill/?month={month}").json()["rule"])

    assert in_force("2027-04") == "proportional"
    chosen = {"rule": "even", "month": "2027-05", "reason": "As the heads agreed"}
    assert finance.put(f"{API}cluster-bill/rule/", chosen, content_type="application/json").status_code == 204
    assert [in_force(month) for month in ("2027-04", "2027-05", "2028-01")] == ["proportional", "even", "even"]
    over = finance.put(f"{API}cluster-bill/rule/", chosen | {"month": "2027-03"}, content_type="application/json")
    assert (over.status_code, list(over.json()["fields"])) == (400, ["month"])
    refused = finance.post(f"{PAGE}rule/", chosen | {"month": "2027-03"})
    assert (refused.status_code, "those that are over keep their rule" in words(refused)) == (422, True)
    typed = refused.content.decode()
    assert 'value="2027-03"' in typed and 'value="As the heads agreed"' in typed, "what was typed is still there"
    assert '<option value="even" selected>' in typed
    assert "The rule is chosen" in words(
        finance.post(f"{PAGE}rule/", chosen | {"month": "2027-04", "rule": "platform"}, follow=True)
    )
    assert [in_force(month) for month in ("2027-03", "2027-04", "2027-05")] == ["proportional", "platform", "platform"]
    shown = finance.get(f"{API}cluster-bill/?month=2027-04&rule=even").json()
    assert (shown["rule"], shown["rule_in_force"]) == ("even", "platform"), "another rule is only tried"
    assert "Platform bears it" in words(finance.get(PAGE))
    with selling.role("exchequer_operator"):
        assert OperatorAct.objects.filter(action="billing.cluster_rule.chosen").count() == 2


def test_seconds_that_are_held_or_free_are_on_no_invoice_and_in_no_export(
    demo_clock: DemoClock, as_control: Control, seller: Any
) -> None:
    demo_clock.move_to(NOW)
    world = World(as_control)
    mine = world.running()
    demo_clock.advance(timedelta(seconds=20))
    leases.heartbeat(mine, Heartbeat(elapsed=10.0, samples=[Sample(10.0, 0.5, 1000)]))
    finance = seller("platform_finance")
    assert finance.post(PAGE, FORM | {"per_hour": "3600"}).status_code == 302
    bill = finance.get(f"{API}cluster-bill/?month=2027-04&rule=even").json()
    (own,) = [row for row in bill["rows"] if row["organisation"]]
    assert (own["seconds"]["used"], own["seconds"]["idle"]) == (5.0, 5.0)
    assert float(own["cost"]["held"]["amount"]) + float(own["cost"]["free"]["amount"]) > 10

    with tenant_scope(world.tenant.id):
        draft, hourly = draft_invoice(), Job.objects.get().second_amount
    # Ten seconds, busy or idle, once each at the job's own price.
    assert (list(draft.quantities.values()), draft.line_count) == ([Decimal(10)], 1)
    assert draft.exact.amount == hourly * 10 != 0
    rows = rows_of(take(world.tenant, "period=2027-04&version=1.2"))
    usage = [row for row in rows if row["ChargeCategory"] == "Usage"]
    assert [(row["ConsumedQuantity"], row["PricingQuantity"]) for row in usage] == [("10.0", "10.0")]
    assert sum(Decimal(row["BilledCost"]) for row in rows) == draft.total.amount
    assert {row["ChargeCategory"] for row in rows} <= {"Usage", "Adjustment", "Tax"}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"device_class": " "}, "device_class"), ({"per_hour": "-1"}, "per_hour"), ({"per_hour": "NaN"}, "per_hour"),
        ({"currency": "ZZZ"}, "currency"), ({"starts_on": "soon"}, "starts_on"),
    ],
)  # fmt: skip
def test_an_impossible_cost_is_refused_by_name(finance: Any, more: dict[str, str], field: str) -> None:
    answer = finance.post(f"{API}device-costs/", FORM | more, content_type="application/json")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


def test_a_month_is_shown_and_its_rows_add_up_but_nothing_of_it_is_billed(
    demo_clock: DemoClock, as_control: Control, seller: Any
) -> None:
    demo_clock.move_to(NOW)
    world = World(as_control)
    mine = world.running()
    demo_clock.advance(timedelta(seconds=20))
    leases.heartbeat(mine, Heartbeat(elapsed=10.0, samples=[Sample(10.0, 0.5, 1000)]))
    with tenant_scope(world.tenant.id):
        before = list(UsageEvent.objects.order_by("pk").values_list("pk", flat=True)), Invoice.objects.count()
    finance = seller("platform_finance")
    bare = finance.get(f"{API}cluster-bill/?month=2027-04").json()
    assert (bare["total"], bare["without_cost"]) == (None, ["CPU"])
    # 3,600 EUR an hour, one a second: cents are centiseconds.
    assert finance.post(PAGE, FORM | {"per_hour": "3600"}).status_code == 302
    bill = finance.get(f"{API}cluster-bill/?month=2027-04&rule=platform").json()
    assert (bill["difference"], bill["without_cost"]) == ({"amount": "0.000000", "currency": "EUR"}, [])
    (own, platform) = bill["rows"]
    assert (own["organisation"], platform["organisation"]) == (world.tenant.slug, "")
    assert (own["seconds"]["allocated"], own["seconds"]["used"], own["seconds"]["idle"]) == (10.0, 5.0, 5.0)
    assert [own["cost"][name]["amount"] for name in ("used", "idle", "held", "free")] == [
        "5.000000",
        "5.000000",
        "0.000000",
        "0.000000",
    ]
    assert float(platform["total"]["amount"]) > 0, "what was held and free"
    shared = finance.get(f"{API}cluster-bill/?month=2027-04&rule=even").json()
    assert [row["total"]["amount"] == "0.000000" for row in shared["rows"]] == [False, True]
    page = words(finance.get(f"{PAGE}?month=2027-04&rule=even"))
    assert world.tenant.name in page and "Platform" in page
    file = finance.get(f"{PAGE}?month=2027-04&rule=platform&export=csv")
    rows = list(csv.DictReader(StringIO(file.content.decode())))
    assert [(row["organisation"], row["used_cost"]) for row in rows] == [(world.tenant.slug, "5.00"), ("Platform", "0")]
    wrong = finance.get(f"{PAGE}?month=2027-13&rule=whim")
    assert wrong.status_code == 422
    assert finance.get(f"{API}cluster-bill/?rule=whim").status_code == 400
    assert "No device in this month" in words(finance.get(f"{PAGE}?month=2020-01"))
    with tenant_scope(world.tenant.id):
        after = list(UsageEvent.objects.order_by("pk").values_list("pk", flat=True)), Invoice.objects.count()
    assert after == before, "costs and the bill make no usage and no invoice"
