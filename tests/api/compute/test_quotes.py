"""Quotes that learn from past runs, and limits that follow from them; and the tier spot."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import ROUND_UP, Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from billing import queries as billing_queries
from billing.budgets import budgets
from billing.models import Hold, Quote
from compute.devices.base import Found
from compute.estimates import priors
from compute.fleet import nodes
from compute.jobs import jobs
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Attempt, Job, Outcome
from compute.scheduling import assign
from models_app.models import DatasetVersion
from tenants.clock import now
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.objects import launchable
from tests.conftest import DemoClock
from tests.support import factories, selling
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]
NEW = "/t/lab/jobs/new/"


class Shop:
    """A tenant that launches by API and by form, and a node with simulated runs."""

    def __init__(self, as_control: Control, clock: DemoClock) -> None:
        self.control = as_control
        self.clock = clock
        self.boot = uuid4()
        self.tenant, self.order = self.another("lab")
        self.person = Client()
        self.person.force_login(factories.make_member(self.tenant, "owner"))

    def another(self, slug: str) -> tuple[Tenant, dict[str, Any]]:
        """Return a tenant and an order that names no limit."""
        tenant = factories.make_tenant(slug)
        order = launchable(tenant)
        order.pop("max_seconds")
        with tenant_scope(tenant.id):  # the job of `one_of_everything` must not wait here
            Job.objects.update(state="cancelled", ended_at=now())
        self.clock.advance(timedelta(hours=1))  # the first price is in force for as long as any run here takes
        self.node()
        return tenant, order

    def node(self) -> None:
        """Refresh the node's heartbeat."""
        found = [Found(f"cpu-{at}", "cpu", "cpu", f"CPU {at}", at, 2**32) for at in range(2)]
        nodes.register(name="n1", hostname="h", boot=self.boot, found=found, missing_layers=[])

    def post(self, path: str, body: dict[str, Any], tenant: Tenant | None = None) -> Any:
        """Send a request to the API."""
        key = factories.make_api_key(tenant or self.tenant)
        return Client().post(
            f"/api/v1/{path}", body, content_type="application/json", headers={"Authorization": f"Bearer {key}"}
        )

    def quote(self, **more: Any) -> dict[str, Any]:
        """Return a quote."""
        answer = self.post("quotes/", {**self.order, **more})
        assert answer.status_code == 201, answer.content
        said: dict[str, Any] = answer.json()
        return said

    def ran(self, seconds: float, *, start_s: float = 8.0, outcome: Outcome = Outcome.SUCCEEDED, **more: Any) -> UUID:
        """Launch a job and simulate a run of so many seconds, start-up included."""
        made = self.post("jobs/", {**self.order, **more})
        assert made.status_code == 201, made.content
        with self.control():
            (ring,) = assign.assign_all()
        mine = leases.claim(
            tenant_id=ring.tenant_id, attempt_id=ring.attempt_id, token=ring.token, node="n1", boot=self.boot
        )
        assert mine is not None
        with tenant_scope(self.tenant.id):
            Attempt.objects.filter(id=mine.attempt_id).update(claimed_at=now() - timedelta(seconds=seconds + 60))
        leases.finish(
            mine, outcome, Heartbeat(elapsed=seconds, startup_s=start_s), exit_code=0, complete=lambda job: {}
        )
        return UUID(made.json()["id"])

    def job(self, job_id: UUID) -> dict[str, Any]:
        """Return a job as the API shows it."""
        key = factories.make_api_key(self.tenant)
        answer = Client().get(f"/api/v1/jobs/{job_id}/", headers={"Authorization": f"Bearer {key}"})
        said: dict[str, Any] = answer.json()
        return said

    def form(self, **more: str) -> dict[str, str]:
        """Return the launch form with valid input."""
        with tenant_scope(self.tenant.id):
            version = DatasetVersion.objects.get(dataset_id=self.order["dataset"])
        return {
            "name": "x", "project": str(factories.default_project_id(self.tenant)), "recipe": self.order["recipe"],
            "dataset": str(version.id), "device_class": "cpu", "p-target": "t", "key": str(uuid7()), **more,
        }  # fmt: skip

    def panel(self, **more: str) -> Any:
        """Return the content of the cost panel."""
        return self.person.post(f"{NEW}quote/", self.form(**more))


@pytest.fixture
def shop(as_control: Control, demo_clock: DemoClock) -> Shop:
    return Shop(as_control, demo_clock)


def amount(said: dict[str, Any], name: str) -> Decimal:
    return Decimal(said[name]["amount"])


def test_a_quote_learns_from_similar_runs_and_reports_how_its_ranges_held(shop: Shop) -> None:
    cold = shop.quote()
    assert cold["based_on"] == {"source": "defaults", "runs": 0, "within": 0, "of": 0}
    assert amount(cold, "least") <= amount(cold, "typical") <= amount(cold, "most") <= amount(cold, "worst")
    assert 0 < cold["start_up"]["seconds"] < cold["typical_seconds"] + 1
    assert amount(cold["start_up"], "cost") > 0
    for seconds in (61, 58, 60, 62, 59, 60):
        last = shop.ran(seconds, start_s=14)
    warm = shop.quote()
    assert (warm["based_on"]["source"], warm["based_on"]["runs"]) == ("own", 6)
    assert warm["least_seconds"] <= 60 <= warm["most_seconds"]
    assert warm["most_seconds"] / warm["least_seconds"] < cold["most_seconds"] / max(1, cold["least_seconds"])
    assert warm["most_seconds"] < 120, "six runs of a minute make none of two"
    assert warm["start_up"]["seconds"] == pytest.approx(14, rel=0.2)
    assert 1 <= warm["based_on"]["within"] <= warm["based_on"]["of"] == 6
    kept = shop.job(last)
    assert kept["quote"]["within"] is True
    assert amount(kept["quote"], "least") <= amount(kept, "cost") <= amount(kept["quote"], "most")
    page = text_of(shop.person.get(f"/t/lab/jobs/{last}/"))
    assert "quoted" in page
    panel = text_of(shop.panel())
    assert "Estimated from the last 6 similar runs." in panel and "stayed within their range" in panel
    assert "Start-up, included" in panel
    assert "start-up" in text_of(shop.person.get(f"/t/lab/jobs/{last}/?tab=attempts"))


def test_a_run_outside_its_range_is_reported_and_widens_the_next(shop: Shop) -> None:
    for _ in range(5):
        shop.ran(20, start_s=6)
    before = shop.quote()
    late = shop.ran(100, start_s=6)
    assert shop.job(late)["quote"]["within"] is False
    after = shop.quote()
    assert after["based_on"]["within"] == after["based_on"]["of"] - 1 or after["based_on"]["within"] < 5
    assert after["most_seconds"] > before["most_seconds"]


def test_a_new_tenants_quotes_use_sums_of_other_tenants_runs(shop: Shop) -> None:
    for _ in range(4):
        shop.ran(90, start_s=9)
    tenant, order = shop.another("new")
    first = shop.post("quotes/", order, tenant).json()
    assert first["based_on"]["source"] == "defaults"
    with shop.control():
        assert priors.learn_everywhere() == 1
    learnt = shop.post("quotes/", order, tenant).json()
    assert learnt["based_on"] == {"source": "installation", "runs": None, "within": 0, "of": 0}
    assert learnt["typical_seconds"] > 1.5 * first["typical_seconds"]
    assert learnt["start_up"]["seconds"] == pytest.approx(9, rel=0.1)


def test_a_small_job_needs_a_hold_of_cents_and_a_budget_of_cents_lets_it_in(shop: Shop) -> None:
    said = shop.quote()
    assert said["max_seconds"] >= 3 * said["most_seconds"]
    assert amount(said, "worst") <= Decimal("0.20"), "a default of an hour holds 1.80"
    budgets.create_budget(
        actor=factories.actor_for(shop.tenant), project_id=factories.default_project_id(shop.tenant),
        amount=Decimal("0.25"), at_limit="block_new",
    )  # fmt: skip
    made = shop.post("jobs/", shop.order)
    assert made.status_code == 201, made.content
    assert made.json()["max_seconds"] == said["max_seconds"]
    with tenant_scope(shop.tenant.id):
        assert Hold.objects.get(subject=f"job:{made.json()['id']}").amount == amount(said, "worst")


def test_a_quote_without_a_limit_binds_the_limit_that_it_was_priced_for(shop: Shop) -> None:
    said = shop.quote()
    for _ in range(3):
        shop.ran(150, start_s=9, max_seconds=600)
    assert shop.quote()["max_seconds"] > said["max_seconds"]
    made = shop.post("jobs/", {**shop.order, "quote": said["id"]})
    assert made.status_code == 201, made.content
    assert made.json()["max_seconds"] == said["max_seconds"]
    assert amount(made.json()["quote"], "most") == amount(said, "most")


def test_the_form_binds_the_price_that_it_showed(shop: Shop) -> None:
    panel = shop.panel()
    offer = panel.context["offer"]
    assert offer and f'value="{offer}"' in text_of(panel)
    with tenant_scope(shop.tenant.id):
        assert Quote.objects.count() == 0, "a person who still chooses leaves nothing behind"
    answer = shop.person.post(NEW, shop.form(offer=offer), follow=True)
    assert answer.status_code == 200, answer.content
    with tenant_scope(shop.tenant.id):
        job = Job.objects.order_by("-id")[0]
        quote = Quote.objects.get(id=job.quote_id)
        assert quote.taken_at is not None
        assert (job.quoted_least, job.quoted_most) == (quote.least, quote.most)
        assert job.max_seconds == quote.limit_s
    assert "launched at the current price" not in text_of(answer)


@pytest.mark.parametrize("change", ["form", "forged", "late"])
def test_a_form_whose_price_cannot_be_bound_says_why(shop: Shop, demo_clock: DemoClock, change: str) -> None:
    offer = shop.panel().context["offer"]
    more = {"form": {"max_minutes": "7"}, "forged": {}, "late": {}}[change]
    if change == "late":
        demo_clock.advance(timedelta(minutes=16))
        shop.node()
    answer = shop.person.post(NEW, shop.form(offer=offer[:-2] if change == "forged" else offer, **more), follow=True)
    said = {"form": "The form changed after", "forged": "was not valid", "late": "older than fifteen minutes"}
    assert said[change] in text_of(answer)
    with tenant_scope(shop.tenant.id):
        assert Job.objects.order_by("-id")[0].quote_id is None


def test_a_price_that_rose_since_it_was_shown_launches_nothing(shop: Shop, demo_clock: DemoClock) -> None:
    offer = shop.panel().context["offer"]
    with tenant_scope(shop.tenant.id):
        book = billing_queries.price_books()[0].id
        prices = [selling.NewPrice("device_seconds", {}, Decimal("0.5"))]
        selling.publish(
            book_id=book,
            prices=prices,
            effective_at=now() + timedelta(minutes=6),
        )
        before = Job.objects.count()
    demo_clock.advance(timedelta(minutes=20))
    shop.node()
    answer = shop.person.post(NEW, shop.form(offer=offer))
    assert answer.status_code == 409
    assert "has gone up" in text_of(answer)
    with tenant_scope(shop.tenant.id):
        assert Job.objects.count() == before


def test_spot_is_offered_with_what_it_saves_and_that_it_may_be_stopped(shop: Shop) -> None:
    refused = shop.post("quotes/", {**shop.order, "tier": "free"})
    assert refused.status_code == 400
    assert "on_demand, spot" in refused.json()["fields"]["tier"][0]
    plain, spot = shop.quote(), shop.quote(tier="spot")
    assert plain["spot"] is None
    offer = spot["spot"]
    assert amount(offer, "on_demand_unit_amount") == amount(plain, "unit_amount") > amount(spot, "unit_amount")
    assert amount(offer, "on_demand_typical") == amount(plain, "typical")
    assert amount(offer, "saving") == amount(plain, "typical") - amount(spot, "typical") > 0
    assert "may be stopped at any time" in offer["notice"]
    assert "Spot" in text_of(shop.person.get(NEW))
    panel = text_of(shop.panel(tier="spot"))
    assert "Spot saves typically" in panel and "continues from its checkpoint" in panel
    made = UUID(shop.post("jobs/", {**shop.order, "tier": "spot", "quote": spot["id"]}).json()["id"])
    with tenant_scope(shop.tenant.id):
        job = Job.objects.get(id=made)
        assert (job.tier, job.unit_amount) == ("spot", amount(spot, "unit_amount"))
        assert jobs.clone(actor=factories.actor_for(shop.tenant), job_id=made).tier == "spot"
    assert re.search(r'value="spot" checked', text_of(shop.person.get(f"{NEW}?clone={made}")))


def test_a_budget_that_refuses_a_launch_names_spot_if_that_fits(shop: Shop) -> None:
    worst = amount(shop.quote(tier="spot"), "worst")
    with tenant_scope(shop.tenant.id):
        budgets.create_budget(
            actor=factories.actor_for(shop.tenant),
            project_id=factories.default_project_id(shop.tenant),
            amount=worst + Decimal("0.01"),
            at_limit="block_new",
        )
    refused = shop.post("jobs/", shop.order)
    assert refused.status_code == 402
    assert {"tier": "spot"} in [way["change"] for way in refused.json()["ways"]]
    assert shop.post("jobs/", {**shop.order, "tier": "spot"}).status_code == 201


def test_a_small_limit_is_not_quoted_as_what_a_run_typically_needs(shop: Shop) -> None:
    whole = shop.quote()
    assert (whole["stopped_by"], whole["needed_seconds"]) == (None, whole["typical_seconds"])
    assert whole["needed"] == whole["typical"]
    second = f"{amount(whole, 'unit_amount'):f}"
    for limit, more in (("max_cost", {"max_cost": second}), ("max_seconds", {"max_seconds": 1})):
        short = shop.quote(**more)
        assert short["stopped_by"] == limit
        assert (short["needed"], short["needed_seconds"]) == (whole["needed"], whole["needed_seconds"])
        assert amount(short, "typical") == amount(short, "most") == Decimal(second)
        assert [short[f"{name}_seconds"] for name in ("least", "typical", "most")] == [1, 1, 1], limit
    typed = Decimal(second).quantize(Decimal("0.000001"), ROUND_UP)  # the form takes six decimals
    panel = text_of(shop.panel(max_cost=f"{typed:f}"))
    assert "device time it may take" in panel
    assert "more than the" in panel and "typically, for" not in panel
