"""A launch that a budget refuses may wait for the answer to a request for more, and starts without being sent again."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from django.db.models import Q
from django.test import Client

from billing import queries as billing_queries
from billing.budgets import budgets
from billing.ledger.reconcile import ledger_faults
from billing.models import Hold
from compute.jobs import kept_launches
from compute.models import Job
from compute.scheduling import assign
from models_app.models import DatasetVersion
from tenants import quotas
from tenants.access.actor import Actor
from tenants.approvals import approvals
from tenants.events import outbox
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import Approval, AuditEntry, Tenant
from tests.api.objects import launchable
from tests.support import factories, selling
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
HOURS = "device_hours:cpu"


class World:
    """A tenant with a budget that fits nothing, an engineer with a session, and an admin who answers."""

    def __init__(self, at_limit: str = "block_new") -> None:
        self.tenant: Tenant = factories.make_tenant("lab")
        self.order = launchable(self.tenant)
        self.engineer, self.admin = Client(), Client()
        self.engineer.force_login(factories.make_member(self.tenant, "engineer"))
        self.admin.force_login(factories.make_member(self.tenant, "admin"))
        for client in (self.engineer, self.admin):
            client.get("/t/lab/")
        self.budget = budgets.create_budget(
            actor=factories.actor_for(self.tenant),
            project_id=factories.default_project_id(self.tenant),
            amount=Decimal("0.05"),
            at_limit=at_limit,
        ).id

    def launch(self, status: int = 201, more: Any = None, **changes: Any) -> dict[str, Any]:
        body = self.order | changes | ({"request_more": more} if more else {})
        answer = self.engineer.post("/api/v1/jobs/", body, content_type="application/json")
        assert answer.status_code == status, answer.content
        found: dict[str, Any] = answer.json()
        return found

    def keep(self) -> UUID:
        return UUID(self.launch(more={"reason": "the deadline"})["id"])

    def job(self, job_id: UUID) -> dict[str, Any]:
        found: dict[str, Any] = self.engineer.get(f"/api/v1/jobs/{job_id}/").json()
        return found

    def answer(self, what: str, *, relay: bool = True) -> None:
        with tenant_scope(self.tenant.id):
            approval = Approval.objects.get(Q(kind="budget") | Q(wanted__resource=HOURS), state="open")
        answer = self.admin.post(f"/api/v1/approvals/{approval.id}/{what}/", {}, content_type="application/json")
        assert answer.status_code == 200, answer.content
        if relay:
            self.relay()

    def limit_hours(self) -> None:
        """Let the budget suffice, and limit the device time of the month to an hour, of which the launch needs more."""
        actor = factories.actor_for(self.tenant)
        budgets.change_budget(actor=actor, budget_id=self.budget, amount=Decimal(100))
        with tenant_scope(self.tenant.id):
            quotas.set_limit(actor=actor, resource=HOURS, limit=1)

    def relay(self) -> None:
        with selling.as_control():
            outbox.relay(outbox.deliver)

    def assigned(self) -> list[UUID]:
        with selling.as_control():
            assign.assign_all()
        with tenant_scope(self.tenant.id):
            return list(Job.objects.filter(state="running").values_list("id", flat=True))

    def held(self) -> Decimal:
        with tenant_scope(self.tenant.id):
            assert [str(fault) for fault in ledger_faults()] == []
            return billing_queries.budget(self.budget).held.amount


@pytest.fixture
def world() -> World:
    return World()


def test_a_kept_launch_starts_when_its_request_is_granted_without_being_sent_again(world: World) -> None:
    assert world.launch(402)["code"] == "budget_exceeded"
    job_id = world.keep()
    seen = world.job(job_id)
    assert (seen["state"], seen["waiting_for"]["kind"]) == ("queued", "approval")
    assert world.held() == 0
    assert job_id not in world.assigned()
    with tenant_scope(world.tenant.id):
        (asked,) = Approval.objects.filter(kind="budget")
        assert (asked.reason, asked.wanted["this_month"]) == ("the deadline", True)
        limit = billing_queries.budget(world.budget).limit.amount
        assert not Hold.objects.filter(subject=f"job:{job_id}").exists()
    world.answer("approve")
    world.relay()  # delivered twice, it starts once
    assert world.job(job_id)["waiting_for"]["kind"] == "device"
    with tenant_scope(world.tenant.id):
        hold = Hold.objects.get(subject=f"job:{job_id}")
        raised = billing_queries.budget(world.budget)
        assert raised.limit.amount > limit
        assert raised.held.amount == hold.amount > 0
        assert raised.free.amount < Decimal("0.01"), "no more was asked for than was missing"
        budget = budgets.Budget.objects.get(id=world.budget)
        assert budget.amount == Decimal("0.05"), "for the running period only"
        actions = set(AuditEntry.objects.filter(target_id=str(job_id)).values_list("action", flat=True))
        assert {"compute.job.submitted", "compute.job.admitted"} <= actions
    assert job_id in world.assigned()


@pytest.mark.parametrize("how", ["declined", "expired"])
def test_a_kept_launch_is_cancelled_with_the_reason_when_more_is_not_granted(
    world: World, how: str, demo_clock: DemoClock
) -> None:
    job_id = world.keep()
    if how == "declined":
        world.answer("decline")
    else:
        demo_clock.advance(timedelta(days=31))
        with selling.as_control():
            assert kept_launches.sweep() == 1
            assert kept_launches.sweep() == 0
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=job_id)
        assert (job.state, job.hold_id, job.approval_id) == ("cancelled", None, None)
        assert job.message.startswith("The request for a higher budget")
    assert world.held() == 0


def test_a_granted_launch_waits_on_if_others_took_the_headroom(world: World) -> None:
    job_id = world.keep()
    with tenant_scope(world.tenant.id):
        approval = Approval.objects.get(kind="budget")
    actor = factories.actor_for(world.tenant)
    world.admin.post(f"/api/v1/approvals/{approval.id}/approve/", {}, content_type="application/json")
    budgets.change_budget(actor=actor, budget_id=world.budget, amount=Decimal("0.01"))
    world.relay()
    seen = world.job(job_id)
    assert (seen["state"], seen["cause"], seen["waiting_for"]["kind"]) == ("paused", "budget", "budget")
    budgets.change_budget(actor=actor, budget_id=world.budget, amount=Decimal(100))
    assert world.engineer.post(f"/api/v1/jobs/{job_id}/resume/").json()["state"] == "queued"
    assert world.held() > 0


def test_a_kept_launch_can_be_cancelled_and_its_late_answer_changes_nothing(world: World) -> None:
    job_id = world.keep()
    assert world.engineer.post(f"/api/v1/jobs/{job_id}/cancel/").json()["state"] == "cancelled"
    world.answer("approve")
    assert world.job(job_id)["state"] == "cancelled"
    assert world.held() == 0


def test_a_launch_beyond_a_quota_of_the_month_waits_and_starts_when_more_is_granted(
    world: World, demo_clock: DemoClock
) -> None:
    world.limit_hours()
    assert world.launch(409)["code"] == "quota_exceeded"
    job_id = world.keep()
    waits = world.job(job_id)["waiting_for"]
    assert (waits["kind"], "higher quota" in waits["reason"]) == ("approval", True)
    assert world.held() == 0, "what was held before the quota refused is back"
    assert job_id not in world.assigned()
    with tenant_scope(world.tenant.id):
        asked = Approval.objects.get(kind="quota", wanted__resource=HOURS)
        assert (asked.wanted["limit"], asked.reason) == (2, "the deadline")
        assert asked.wanted["until"], "for this month only"
    world.answer("approve")
    world.relay()
    assert world.job(job_id)["waiting_for"]["kind"] == "device"
    assert world.held() > 0
    with tenant_scope(world.tenant.id):
        assert quotas.reserved([f"job:{job_id}"], HOURS)[f"job:{job_id}"] >= 3600
    assert job_id in world.assigned()
    second = UUID(world.launch(more={"reason": "one more", "limit": 9, "this_month": False})["id"])
    with tenant_scope(world.tenant.id):
        asked = Approval.objects.get(state="open", wanted__resource=HOURS)
        assert (asked.wanted["limit"], asked.wanted["until"]) == (9, None)
    world.answer("decline")
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=second)
        assert (job.state, job.message) == ("cancelled", "The request for a higher quota was declined.")


def test_a_raised_ceiling_that_leaves_the_quota_too_low_keeps_the_launch_which_asks_for_that_one(world: World) -> None:
    world.limit_hours()
    operator = Actor.system(world.tenant.id, "operator")
    with selling.as_control(), tenant_scope(world.tenant.id):
        quotas.set_ceiling(actor=operator, resource=HOURS, limit=1, reason="a small contract")
    job_id = world.keep()
    with tenant_scope(world.tenant.id):
        first = Approval.objects.get(kind="ceiling", state="open")
        with selling.role("exchequer_operator"):
            approvals.approve_as_operators(actor=operator, approval_id=first.id, reason="they pay in time")
    world.relay()
    waits = world.job(job_id)["waiting_for"]
    assert (waits["kind"], "higher quota" in waits["reason"]) == ("approval", True)
    with tenant_scope(world.tenant.id):
        second = Approval.objects.get(kind="quota", state="open", wanted__resource=HOURS)
        assert (second.reason, second.requester, second.wanted["limit"]) == (first.reason, first.requester, 2)
    world.relay()  # delivered twice, it asks once
    assert (world.held(), world.job(job_id)["state"]) == (0, "queued")
    world.answer("approve")
    assert world.job(job_id)["waiting_for"]["kind"] == "device"
    assert world.held() > 0
    assert job_id in world.assigned()


def test_a_crash_between_the_answer_and_the_start_loses_nothing_and_holds_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.limit_hours()
    job_id = world.keep()
    world.answer("approve", relay=False)  # the ops worker is gone before the event reaches it
    assert (world.job(job_id)["waiting_for"]["kind"], world.held()) == ("approval", 0)
    with monkeypatch.context() as broken, selling.as_control():
        # And the next one dies after the money is held: all of it or nothing.
        broken.setattr("compute.jobs.kept.job_quotas.reserve_time", Mock(side_effect=RuntimeError("killed")))
        with pytest.raises(SweepFailed):
            kept_launches.sweep()
    assert (world.job(job_id)["waiting_for"]["kind"], world.held()) == ("approval", 0)
    with selling.as_control():
        kept_launches.sweep()
    held = world.held()
    assert held > 0
    world.relay()  # the event arrives late
    with selling.as_control():
        kept_launches.sweep()
    assert world.held() == held
    with tenant_scope(world.tenant.id):
        assert Hold.objects.filter(subject=f"job:{job_id}").count() == 1
        assert AuditEntry.objects.filter(target_id=str(job_id), action="compute.job.admitted").count() == 1


def test_a_launch_that_fits_asks_for_nothing(world: World) -> None:
    budgets.change_budget(actor=factories.actor_for(world.tenant), budget_id=world.budget, amount=Decimal(100))
    world.keep()
    with tenant_scope(world.tenant.id):
        assert not Approval.objects.filter(kind="budget").exists()
    for wrong in (
        "x",
        {"amount": "5"},
        {"reason": "more", "amount": "x"},
        {"reason": "more", "other": 1},
        {"reason": "more", "limit": 0},
    ):
        assert "request_more" in world.launch(400, more=wrong)["fields"]


def test_the_form_keeps_a_refused_launch_and_the_page_of_the_job_says_what_it_waits_for(world: World) -> None:
    with tenant_scope(world.tenant.id):
        version = DatasetVersion.objects.get(dataset_id=world.order["dataset"])
    form = {
        "name": "x", "project": str(factories.default_project_id(world.tenant)), "recipe": world.order["recipe"],
        "dataset": str(version.id), "device_class": "cpu", "tier": "on_demand", "max_minutes": "60", "p-target": "t",
        "key": str(uuid7()),
    }  # fmt: skip
    refused = world.engineer.post("/t/lab/jobs/new/", form)
    assert refused.status_code == 402
    assert "Keep it and request more" in text_of(refused)
    unsaid = world.engineer.post("/t/lab/jobs/new/", form | {"request_more": "1", "more_reason": " "})
    assert unsaid.status_code == 402
    kept = world.engineer.post("/t/lab/jobs/new/", form | {"request_more": "1", "more_reason": "a deadline"})
    assert kept.status_code == 302, text_of(kept)
    page = text_of(world.engineer.get(kept["Location"]))
    assert "It waits for the answer to the request for a higher budget." in page
    assert "Request sent." in page
    world.limit_hours()
    refused = world.engineer.post("/t/lab/jobs/new/", form | {"key": str(uuid7())})
    assert refused.status_code == 409
    assert "The quota is used up." in text_of(refused) and "Keep it and request more" in text_of(refused)
    more = {"key": str(uuid7()), "request_more": "1", "more_reason": "a deadline"}
    kept = world.engineer.post("/t/lab/jobs/new/", form | more)
    assert "the request for a higher quota" in text_of(world.engineer.get(kept["Location"]))
