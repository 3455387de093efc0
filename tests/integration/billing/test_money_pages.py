"""Pages of invoices and budgets: the month shown, and the message after setting a budget."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from billing import queries
from billing.budgets import budgets
from billing.metering.metering import record_usage
from dashboards.spend import datasets
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.objects import one_of_everything
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
OCTOBER, NOVEMBER = datetime(2026, 10, 20, 12, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    """An organisation that used 70 s in October and 600 s in November, at prices with fractions of a cent."""
    demo_clock.move_to(OCTOBER - timedelta(days=1))
    made = factories.make_tenant(timezone="Europe/Berlin")
    project = factories.default_project_id(made)
    with tenant_scope(made.id):
        selling.provision_defaults()
        for moment, seconds in ((OCTOBER, 70), (NOVEMBER, 600)):
            demo_clock.move_to(moment + timedelta(hours=1))
            record_usage([interval(project, moment, seconds)])
    return made


def invoice_of(tenant: Tenant, month: int) -> UUID:
    with tenant_scope(tenant.id):
        return next(one.id for one in queries.invoices() if one.period.month == month and one.id)


def test_the_badge_of_a_past_months_invoice_says_that_months_figures(tenant: Tenant) -> None:
    client, october = client_for(tenant, "finance"), invoice_of(tenant, 10)
    page = text_of(client.get(f"/t/{tenant.slug}/invoices/{october}/"))
    address = f"/t/{tenant.slug}/invoices/reconciled/?invoice={october}"
    assert f'hx-get="{address}"' in page
    badge = text_of(client.get(address))
    assert "October 2026: usage 70\u00a0s = invoiced 70\u00a0s" in badge
    running = text_of(client.get(f"/t/{tenant.slug}/invoices/reconciled/"))
    assert "November 2026: usage 600\u00a0s = invoiced 600\u00a0s" in running


def test_a_past_month_is_not_described_as_growing(tenant: Tenant) -> None:
    client = client_for(tenant, "finance")
    past = text_of(client.get(f"/t/{tenant.slug}/invoices/{invoice_of(tenant, 10)}/"))
    assert "The month is over" in past
    assert "so far" not in past
    assert "Month over" in past
    running = text_of(client.get(f"/t/{tenant.slug}/invoice/"))
    assert "The cost of this month so far" in running
    assert "Month over" in running, "the list of other months says it of October"


def test_the_spend_page_says_why_an_invoice_differs_by_cents(tenant: Tenant) -> None:
    with tenant_scope(tenant.id):
        october = queries.invoice(invoice_of(tenant, 10))
    assert october.exact != october.total
    layout = text_of(client_for(tenant, "viewer").get(f"/t/{tenant.slug}/dash/spend/_dash-layout"))
    assert "An invoice rounds each of its lines, so its total may differ by a few cents." in layout


def test_the_overview_names_whose_figures_its_spend_card_shows(tenant: Tenant) -> None:
    one_of_everything(tenant)
    budgets.create_budget(
        actor=factories.actor_for(tenant),
        project_id=factories.default_project_id(tenant),
        amount=Decimal("0.04"),
        at_limit="notify",
    )
    page = text_of(client_for(tenant, "owner").get(f"/t/{tenant.slug}/"))
    card = page.split("Spend this month")[1].split("Device hours")[0]
    assert "whole organisation · at this pace" in card
    assert card.count("<progress") == 1, "a project's share is no bar beneath the organisation's spend"
    assert re.search(r"Budget: <data[^>]*>€0.03</data> of <data[^>]*>€1,000.00</data>, 0", card), card
    assert "Share of the organisation&#x27;s budget that is spent" in card.replace("'", "&#x27;")
    assert re.search(r"Tightest project budget: Default, 78\s%\s*of <data[^>]*>€0.04</data> spent", card), card


def test_a_budget_of_a_tag_is_not_shown_as_the_organisations(tenant: Tenant) -> None:
    one_of_everything(tenant)
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        own = [status.id for status in queries.budgets()]
    for budget_id in own:
        budgets.close_budget(actor=actor, budget_id=budget_id)
    budgets.create_budget(
        actor=actor, kind=budgets.BudgetKind(tag=("team", "vision")), amount=Decimal("7.77"), at_limit="notify"
    )
    page = text_of(client_for(tenant, "owner").get(f"/t/{tenant.slug}/"))
    card = page.split("Spend this month")[1].split("Device hours")[0]
    assert "7.77" not in card
    with tenant_scope(tenant.id):
        shown = datasets.spend_page({})
    assert (shown.totals.budget, shown.daily.budget_per_day) == (None, None)
    assert [one.tag for one in shown.budgets] == ["team=vision"]


def test_spend_is_grouped_by_tag_and_exported_for_the_same_days(
    tenant: Tenant,
) -> None:
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        for team, resource, number in (("vision", "b", 60), ("audio", "a", 30), ("", "c", 10)):
            dims = {**DIMS, "tag:team": team} if team else DIMS
            record_usage([interval(project, now() - timedelta(seconds=90), number, resource=resource, dims=dims)])
        shown = datasets.spend_page({"group": "tag:team", "range": "7d", "sort": "name"})
    assert {"audio", "vision", "Untagged"} == {row.label for row in shown.groups}
    assert [row.label for row in shown.groups] == sorted((row.label for row in shown.groups), key=str.casefold)
    client, path = client_for(tenant, "finance"), f"/t/{tenant.slug}/spend/export"
    file = client.get(f"{path}/groups.csv?group=tag:team&range=7d&sort=quantity").content.decode()
    assert file.index('"vision"') < file.index('"audio"')
    for wrong in (
        "group=tag:",
        "group=tag:a%20b",
        "sort=lost",
        "range=custom",
        "range=custom&from=2026-13-01&to=x",
        "from=2026-01-01",
    ):
        assert client.get(f"{path}/groups.csv?{wrong}").status_code == 400, wrong
    days = "range=custom&from=2026-10-01&to=2026-10-31"
    assert client.get(f"{path}/daily.csv?{days}").status_code == 200


@pytest.mark.parametrize(
    ("at_limit", "follows"),
    [("notify", "stops nothing"), ("block_new", "New work is refused"), ("stop_running", "running work is paused")],
)
def test_a_budget_below_its_spend_shows_a_warning_and_the_consequence(
    tenant: Tenant, at_limit: str, follows: str
) -> None:
    client, page = client_for(tenant, "finance"), f"/t/{tenant.slug}/budgets/"
    form = {"scope": "tenant", "at_limit": at_limit, "alerts": "50, 80", "amount": "0.01"}
    below = text_of(client.post(f"{page}new/", form, follow=True))
    assert "It is below that: €0.03 is spent already, of €0.01." in below
    assert follows in below
    with tenant_scope(tenant.id):
        (status,) = queries.budgets()
    enough = text_of(client.post(f"{page}{status.id}/", {**form, "amount": "5"}, follow=True))
    assert "Budget changed, starting this month." in enough
    assert "below that" not in enough
    again = text_of(client.post(f"{page}{status.id}/", form, follow=True))
    assert "€0.03 is spent already" in again
    names = {"notify": "Alert only", "block_new": "Refuse", "stop_running": "Refuse and pause"}
    listed = text_of(client.get(page))
    assert re.search(rf"<td[^>]*>\s*{names[at_limit]}\s*<br>", listed), listed


def test_a_budget_changed_in_another_tab_is_not_overwritten_unasked(tenant: Tenant) -> None:
    client, page = client_for(tenant, "finance"), f"/t/{tenant.slug}/budgets/"
    terms = {"at_limit": "notify", "alerts": "50, 80"}
    client.post(f"{page}new/", {"scope": "tenant", "amount": "5", **terms})
    with tenant_scope(tenant.id):
        (status,) = queries.budgets()
    seen = was_in(text_of(client.get(f"{page}{status.id}/")))
    assert client.post(f"{page}{status.id}/", {**terms, "amount": "6", "was": seen}).status_code == 302
    second = client.post(f"{page}{status.id}/", {**terms, "amount": "7", "was": seen})
    text = text_of(second)
    assert second.status_code == 422
    assert "This budget was changed meanwhile, to €6.00, alert only." in text and 'value="7"' in text
    assert client.post(f"{page}{status.id}/", {**terms, "amount": "7", "was": was_in(text)}).status_code == 302
    with tenant_scope(tenant.id):
        assert queries.budgets()[0].limit.amount == 7


def was_in(page: str) -> str:
    found = re.search(r'name="was" value="([^"]*)"', page)
    assert found
    return html.unescape(found[1])
