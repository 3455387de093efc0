"""Each block of the overview, and of the page of spend, asks for its own permission; hidden projects are not shown by day."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from dash._utils import split_callback_id
from django.test import Client

from billing.budgets import budgets
from billing.metering.metering import record_usage
from compute.models import Job
from tenants.grants import grants
from tenants.grants.grants import Holder
from tenants.isolation.scoping import tenant_scope
from tenants.models import Grant, Membership, Project, Role, Tenant, User
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
START = datetime(2026, 9, 11, 9, tzinfo=UTC)
BUDGET = "321"
BLOCKS = {
    "spend.view": ("Spend this month", "Daily spend by project"),
    "usage.view": ("Device hours this month",),
    "quotas.view": (),
    "budgets.view": (),
    "devices.view": ("free",),
    "jobs.view": ("Failed in 24 hours",),
}


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    """Return a tenant with budgets and with spend in an open and in a restricted project."""
    made = priced_tenant(demo_clock, START, for_=timedelta(hours=12))
    owner = factories.actor_for(made)
    with tenant_scope(made.id):
        hush = Project.objects.create(slug="hush", name="Hush Works", restricted=True)
        places = [Project.objects.get(slug="default"), hush]
        dims = {"device_class": "cpu", "tier": "on_demand"}
        Job.objects.create(
            name="a job", kind="train", project_id=places[0].id, spec={"params": {}}, device_class="cpu",
            tier="on_demand", max_seconds=60, unit_amount=Decimal("0.0001"), currency="EUR",
        )  # fmt: skip
        record_usage([interval(one.id, START - timedelta(hours=11), 3600, dims=dims) for one in places])
    for project in (None, places[0].id):
        budgets.create_budget(actor=owner, project_id=project, amount=Decimal(BUDGET), at_limit="notify")
    return made


def person(tenant: Tenant, permissions: set[str]) -> User:
    user = factories.make_user()
    with tenant_scope(tenant.id):
        role = Role.objects.create(name=user.email.partition("@")[0], permissions=sorted(permissions | {"tenant.view"}))
        Grant.objects.create(membership=Membership.objects.create(user=user), role=role)
    return user


def overview_of(tenant: Tenant, user: User) -> str:
    client = Client()
    client.force_login(user)
    answer = client.get(f"/t/{tenant.slug}/")
    assert answer.status_code == 200
    return text_of(answer)


def shown(page: str) -> list[str]:
    """Return the numbers on a page, without those in its markup: a hash there may hold any digits."""
    return re.findall(r"\d+", re.sub(r"<[^>]*>", " ", page))


def test_the_overview_shows_only_blocks_whose_permission_the_reader_has(tenant: Tenant) -> None:
    every = set(BLOCKS)
    for given in [{one} for one in every] + [every - {one} for one in every]:
        page = overview_of(tenant, person(tenant, given))
        for permission in every - {"devices.view"}:
            for words in BLOCKS[permission]:
                assert (words in page) == (permission in given), (words, given)
        assert (BUDGET in shown(page)) == ({"budgets.view", "spend.view"} <= given), given
    none = overview_of(tenant, person(tenant, {"members.view", "members.manage"}))
    assert "Your roles show no figures" in none
    assert not [words for some in BLOCKS.values() for words in some if words in none]


def test_a_guest_in_one_project_sees_no_money_of_the_organisation(tenant: Tenant) -> None:
    user = factories.make_member(tenant, "viewer")
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default").id
    grants.give(actor=factories.actor_for(tenant), holder=Holder(user_id=user.id), role="viewer", project_id=project)
    with tenant_scope(tenant.id):
        Grant.objects.filter(membership__user=user, project=None).delete()
    page = overview_of(tenant, user)
    assert BUDGET not in shown(page)
    assert not [words for words in ("Spend this month", "Daily spend", "Device hours this") if words in page]


@pytest.mark.parametrize(("role", "named"), [("viewer", False), ("finance", True)])
def test_spend_of_a_hidden_project_is_not_shown_by_day(tenant: Tenant, role: str, named: bool) -> None:
    page = overview_of(tenant, factories.make_member(tenant, role))
    assert "Daily spend by project" in page
    assert ("Hush Works" in page, "not shared with you" in page) == (named, False)


def test_the_page_of_spend_shows_budgets_only_to_those_who_may_see_them(tenant: Tenant) -> None:
    for given, status in (({"spend.view"}, 200), ({"spend.view", "budgets.view"}, 200), ({"budgets.view"}, 403)):
        client = Client()
        client.force_login(person(tenant, given))
        base = f"/t/{tenant.slug}/dash/spend/"
        calls = client.get(f"{base}_dash-dependencies")
        assert calls.status_code == status
        if status == 403:
            assert (
                client.post(f"{base}_dash-update-component", "{}", content_type="application/json").status_code == 403
            )
            continue
        (spec,) = [one for one in calls.json() if "tiles.children" in one["output"]]
        values = {"url": "?range=30d", "tick": 0}
        body = {
            "output": spec["output"],
            "outputs": split_callback_id(spec["output"]),  # type: ignore[no-untyped-call]
            "inputs": [slot | {"value": values[slot["id"]]} for slot in spec["inputs"]],
            "changedPropIds": ["url.search"],
        }
        answer = client.post(f"{base}_dash-update-component", body, content_type="application/json")
        told = answer.content.decode()
        assert answer.status_code == 200
        assert ("321" in told) == ("budgets.view" in given)
        assert ("Your roles do not show budgets" in told) == ("budgets.view" not in given)
