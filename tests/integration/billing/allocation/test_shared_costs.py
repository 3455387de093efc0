"""Shared cost in chargeback: rules by page and API, and a month with a shortfall under each of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from billing.allocation.chargeback import chargeback
from tenants import quotas
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Project, Quota, Tenant
from tenants.quotas import Scope
from tests.integration.billing.allocation.test_chargeback import asked, client
from tests.integration.billing.exports.scene import closed, view
from tests.integration.billing.invoicing import scene
from tests.support import factories
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
RULES = "/api/v1/chargeback/shared/rules/"


def put(tenant: Tenant, *rules: dict[str, Any]) -> Any:
    return client(tenant).put(RULES, {"rules": list(rules)}, content_type="application/json")


def rows(tenant: Tenant) -> dict[str, dict[str, Decimal]]:
    answer = client(tenant).get("/api/v1/chargeback/shared/", {"period": "2027-03"})
    assert answer.status_code == 200, answer.content
    names = ("own", "given", "received", "total")
    return {row["name"]: {name: Decimal(row[name]["amount"]) for name in names} for row in answer.json()["results"]}


def test_b64_a_month_with_a_shortfall_is_shared_by_each_rule_and_adds_up(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    total = view(tenant, invoice).subtotal.amount
    with tenant_scope(tenant.id):
        projects = {project.name: project.pk for project in Project.objects.all()}
        for name, limit in (("Vision", 3), ("A project", 1)):
            Quota.objects.create(resource="devices:cpu", project_id=projects[name], limit=limit)
    before = rows(tenant)
    assert before["Whole organisation"]["own"] > 0
    shares = [
        {"project": str(projects["Vision"]), "percent": "66.6667"},
        {"project": str(projects["A project"]), "percent": "33.3333"},
    ]
    of_all = {"source": "organisation"}
    for rule in (
        {"rule": "even"}, {"rule": "by_use"}, {"rule": "by_quota", "resource": "devices:cpu"}, {"rule": "fixed", "shares": shares},
    ):  # fmt: skip
        assert put(tenant, of_all | rule).status_code == 200
        found = rows(tenant)
        assert sum(row["total"] for row in found.values()) == total, rule
        assert found["Whole organisation"]["total"] == 0
        assert {name: row["own"] for name, row in found.items()} == {name: row["own"] for name, row in before.items()}
        assert all(row["received"] > 0 for name, row in found.items() if name != "Whole organisation")
    # A raise weighs in the months that it reaches, and ends by itself.
    assert put(tenant, of_all | {"rule": "by_quota", "resource": "devices:cpu"}).status_code == 200
    weighed = rows(tenant)
    assert weighed["Vision"]["received"] > 2 * weighed["A project"]["received"]
    with tenant_scope(tenant.id):
        quotas.raise_until(
            actor=factories.actor_for(tenant), resource="devices:cpu", limit=3, until=scene.IN_APRIL + timedelta(days=9),
            scope=Scope(project_id=projects["A project"]),
        )  # fmt: skip
    raised = rows(tenant)
    assert abs(raised["Vision"]["received"] - raised["A project"]["received"]) <= Decimal("0.01")
    assert sum(row["total"] for row in raised.values()) == total
    tagged = {"source": "tag", "tag": {"name": "team", "value": "vision"}, "rule": "fixed"}
    answer = put(tenant, tagged | {"shares": [{"project": str(projects["A project"]), "percent": "100"}]})
    assert answer.json()["rules"][0]["tag"] == {"name": "team", "value": "vision"}
    assert rows(tenant)["Vision"]["given"] > 0
    assert sum(row["total"] for row in rows(tenant).values()) == total
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="billing.shared_costs.set").count() == 6


def test_lines_of_the_whole_organisation_are_not_untagged(demo_clock: DemoClock) -> None:
    tenant, invoice = closed(demo_clock)
    found = {
        row["names"]["tag:team"]: Decimal(row["cost"]["amount"])
        for row in asked(tenant, period="2027-03", by="tag:team")
    }
    assert {"Untagged", "Whole organisation"} <= found.keys()
    with tenant_scope(tenant.id):
        whole = next(row for row in chargeback(scene.MARCH, ["project"]).rows if row.keys["project"] is None)
    assert found["Whole organisation"] == whole.cost.amount
    assert sum(found.values()) == view(tenant, invoice).subtotal.amount


def test_rules_are_made_changed_moved_and_removed_on_their_page(demo_clock: DemoClock) -> None:
    tenant, _ = closed(demo_clock)
    with tenant_scope(tenant.id):
        lab, other = Project.objects.exclude(slug="default").get(), Project.objects.get(slug="default")
    finance, page = client(tenant), f"/t/{tenant.slug}/shared-costs/"
    rule = {"what": "organisation", "how": "by_use"}

    def post(**given: str) -> Any:
        return finance.post(page, {"shown": finance.get(page).context["shown"], **given})

    def listed() -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = finance.get(page).context["rules"]
        return found

    assert "Nothing is shared" in text_of(finance.get(page))
    assert post(**rule).status_code == 302
    fixed = {"what": f"project:{other.pk}", "how": "fixed", f"share_{lab.pk}": "100"}
    assert post(**fixed).status_code == 302
    assert post(what="tag", tag="team=ops", how="by_quota", resource="devices:cpu").status_code == 302
    no_project = "Lines of no project, such as a minimum"
    assert [what for what, _ in listed()] == [no_project, f"All of {other.name}", "Work with a tag: team=ops"]
    assert listed()[1][1] == f"{lab.name} 100 %"
    assert 'value="100"' in text_of(finance.get(f"{page}?rule=2"))
    shown = text_of(finance.get(f"/t/{tenant.slug}/chargeback/?period=2027-03"))
    for part in ("With shared cost", "Share received", "Whole organisation"):
        assert part in shown
    for wrong, why in (
        ({**fixed, f"share_{lab.pk}": "99.5", "rule": "2"}, "sum to 100 per cent; these sum to 99.5"),
        (rule, "Share each cost by one rule"),
        ({"what": "tag", "how": "even"}, "Give name and value of the tag"),
        ({"what": f"project:{lab.pk}", "how": "by_quota"}, "Choose the limits that decide"),
        ({**fixed, "what": f"project:{lab.pk}"}, "a share of itself"),
        ({"what": "project:x", "how": "even"}, "Select a valid choice"),
        ({**rule, "rule": "1", "shown": "of before"}, "Somebody else has changed these rules"),
        ({"act": "remove", "rule": "1", "shown": "of before"}, "Somebody else has changed these rules"),
    ):
        refused = post(**wrong)
        assert (refused.status_code, why in text_of(refused)) == (422, True), wrong
    assert post(rule="2", act="up").status_code == 302
    assert [what for what, _ in listed()][:2] == [f"All of {other.name}", no_project]
    assert post(rule="2", **{**rule, "how": "even"}).status_code == 302
    assert listed()[1] == (no_project, "the same for each project")
    assert post(rule="1", act="remove").status_code == 302
    assert len(listed()) == 2
    assert put(tenant, {"source": "project", "rule": "even"}).status_code == 400
    assert client(tenant, "engineer").put(RULES, {"rules": []}, content_type="application/json").status_code == 403
