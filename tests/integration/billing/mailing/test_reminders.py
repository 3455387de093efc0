"""Reminders of unpaid invoices: each step of the seller's schedule once, until the invoice is settled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.dunning.stops import stop_in_force
from billing.invoices import topping_up
from billing.invoices.reminders import Step, as_text, checked, from_text, reached
from billing.mailing.reminding import remind_all
from billing.models import Reminder, TopUp
from tenants.access.actor import Actor
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.till import credit, pay_by_hand, void
from tests.integration.billing.invoicing.scene import draft_of, finalise, name_the_seller, used
from tests.integration.billing.mailing.post import BILLING, deliver
from tests.support import factories, selling
from tests.support.servers.smtp import MailServer

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
#: The invoice of March is finalised on 2 April and due on 2 May.
DUE = datetime(2027, 5, 2, 12, tzinfo=UTC)
SELLER = {"name": "Compute GmbH", "address": "1 Main Street", "reason": "as agreed"}


def unpaid(demo_clock: DemoClock, console: Any, schedule: str = "3 remind, 10 remind, 20 final") -> tuple[Tenant, UUID]:
    """Return a tenant with an invoice that was sent, and the seller's schedule set on its page."""
    name_the_seller()
    console.prove(factories.PASSWORD)
    assert console.post("/invoices/seller/", SELLER | {"dunning": schedule, "sends_invoices": "on"}).status_code == 302
    tenant = used(demo_clock, 60_000, billing_email=BILLING)
    finalise(tenant)
    deliver(tenant)
    return tenant, draft_of(tenant)


def day(demo_clock: DemoClock, tenant: Tenant, after_due: int) -> None:
    """Let the ops worker work on a day after the due day, twice."""
    demo_clock.move_to(DUE + timedelta(days=after_due))
    with selling.role("exchequer_control"):
        remind_all()
        remind_all()
    deliver(tenant)


def subjects(server: MailServer) -> list[str]:
    """Return what was sent to the billing address after the invoice itself; members get notifications."""
    sent = [email["Subject"].partition(":")[0] for email in server.taken if email["To"] == BILLING]
    assert sent[0] == "Invoice INV-000001 from Compute GmbH"
    return sent[1:]


SETTLED: dict[str, Callable[[Tenant, UUID], object]] = {
    "paid": lambda tenant, invoice: pay_by_hand(tenant, invoice, "3.00"),
    "credited": credit,
    "void": void,
}


def test_each_step_is_sent_once(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    tenant, _ = unpaid(demo_clock, seller("platform_finance"))
    member = factories.make_member(tenant, "finance")
    for after_due in range(-2, 40):
        day(demo_clock, tenant, after_due)
    assert subjects(server) == ["Reminder", "Reminder", "Final notice"]
    with tenant_scope(tenant.id):
        done = list(Reminder.objects.order_by("days").values_list("days", "sent"))
        assert Notification.objects.filter(user=member, kind="payment").count() == 3
    assert done == [(3, True), (10, True), (20, True)]


@pytest.mark.parametrize("how", SETTLED)
def test_nobody_is_reminded_of_a_settled_invoice(
    demo_clock: DemoClock, server: MailServer, seller: Any, how: str
) -> None:
    tenant, invoice = unpaid(demo_clock, seller("platform_finance"))
    day(demo_clock, tenant, 4)
    SETTLED[how](tenant, invoice)
    for after_due in (11, 21, 60):
        day(demo_clock, tenant, after_due)
    assert subjects(server) == ["Reminder"]


def test_after_a_stop_of_the_worker_only_the_last_step_is_sent(
    demo_clock: DemoClock, server: MailServer, seller: Any
) -> None:
    console = seller("platform_finance")
    tenant, invoice = unpaid(demo_clock, console)
    day(demo_clock, tenant, 25)
    assert subjects(server) == ["Final notice"]
    with tenant_scope(tenant.id):
        done = list(Reminder.objects.order_by("days").values_list("step", "sent"))
    assert done == [("remind", False), ("remind", False), ("final", True)]
    page = console.get("/invoices/overdue/").content.decode()
    assert "INV-000001" in page
    assert "Final notice, day 20" in page
    assert page.count("(passed over)") == 2
    shown = client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{invoice}/").content.decode()
    assert "This invoice was due on 2 May 2027" in shown


def test_a_top_up_that_is_not_paid_stops_no_launches(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    tenant, invoice = unpaid(demo_clock, seller("platform_finance"), "3 remind, 30 stop")
    pay_by_hand(tenant, invoice, "3.00")
    asked = {"amount": "20.00"}
    member = client_for(tenant, "finance")
    assert member.post("/api/v1/wallet/top-ups/", asked, content_type="application/json").status_code == 201
    with tenant_scope(tenant.id):
        wish = TopUp.objects.get().pk
    with selling.role("exchequer_control"):
        topping_up.issue(actor=Actor.system(tenant.id, "billing"), top_up_id=wish)
    day(demo_clock, tenant, 60)
    with tenant_scope(tenant.id):
        assert list(Reminder.objects.values_list("step", flat=True)) == ["remind"]
        assert stop_in_force() is None


def test_without_a_schedule_nobody_is_reminded(demo_clock: DemoClock, server: MailServer, seller: Any) -> None:
    tenant, _ = unpaid(demo_clock, seller("platform_finance"), schedule="")
    day(demo_clock, tenant, 25)
    assert subjects(server) == []


@pytest.mark.parametrize(
    "text",
    ["10 remind, 3 remind", "3 remind, 3 final", "0 remind", "3 shout", "400 final", "soon", "3 stop, 9 final"],
)
def test_a_schedule_that_does_not_hold_is_refused(seller: Any, text: str) -> None:
    console = seller("platform_finance")
    console.prove(factories.PASSWORD)
    refused = console.post("/invoices/seller/", SELLER | {"dunning": text})
    assert refused.status_code == 422
    assert "Give up to 10 steps" in refused.content.decode()
    assert console.get("/api/operator/v1/seller/").json()["dunning"] == []


def test_the_schedule_is_set_by_the_api(seller: Any) -> None:
    console = seller("platform_finance")
    steps = [{"days": 5, "step": "remind"}, {"days": 15, "step": "final"}]
    body = SELLER | {"dunning": steps}
    early = console.put("/api/operator/v1/seller/", body, content_type="application/json")
    assert (early.status_code, early.json()["code"]) == (403, "reauthentication_required")
    assert console.get("/api/operator/v1/seller/").json()["dunning"] == []
    console.prove(factories.PASSWORD)
    assert console.put("/api/operator/v1/seller/", body, content_type="application/json").json()["dunning"] == steps
    assert "5 remind, 15 final" in console.get("/invoices/seller/").content.decode()
    wrong = SELLER | {"dunning": list(reversed(steps))}
    assert console.put("/api/operator/v1/seller/", wrong, content_type="application/json").status_code == 400


@given(
    days=st.lists(st.integers(1, 365), unique=True, max_size=10),
    visits=st.lists(st.integers(0, 400), max_size=60),
)
def test_reminders_follow_the_schedule_whatever_it_is(days: list[int], visits: list[int]) -> None:
    steps = checked([Step(one, "remind") for one in sorted(days)])
    assert list(from_text(as_text(steps))) == list(steps)
    done: list[Step] = []
    for overdue in sorted(visits):
        done += reached(steps, overdue, done)
    last = max(visits, default=0)
    assert done == [one for one in steps if one.days <= last]


def test_a_stop_before_steps_that_are_done_is_reached_once() -> None:
    done = [Step(3, "remind"), Step(20, "final")]
    assert reached([Step(10, "stop")], 9, done) == []
    assert reached([Step(10, "stop")], 21, done) == [Step(10, "stop")]
    assert reached([Step(10, "stop")], 21, [*done, Step(10, "stop")]) == []


def test_a_schedule_has_at_most_ten_steps() -> None:
    with pytest.raises(Invalid):
        checked([Step(one, "remind") for one in range(1, 12)])
