"""Claims, heartbeats and ends of attempts against the real database: who may write, and what is billed."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from billing.budgets.budgets import create_budget
from billing.budgets.counters import BudgetExceeded
from billing.models import Hold
from billing.pricing.price_books import price_at
from compute import holding, queries
from compute.agent import heartbeat
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs
from compute.jobs.repricing import grace_s
from compute.leases import leases
from compute.leases.messages import Claim, Fenced, Heartbeat, Sample
from compute.models import Attempt, AttemptMember, DeviceHold, DeviceHour, DeviceSample, Job, Outcome
from compute.sandbox.protocol import Metric
from compute.scheduling import assign, reaper
from tenants import quotas
from tenants.clock import now
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.fakes.runner import kind
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]
#: The most device time that a job of `World.submit` reserves: its time limit and the grace of a stop.
WORST_S = math.ceil(100 + grace_s())


class World:
    """A tenant, a node with two devices, and short ways to make things happen."""

    def __init__(self, as_control: Control, tenant: Tenant | None = None) -> None:
        kind.install()
        self.control = as_control
        self.tenant = tenant or factories.make_tenant()
        self.actor = factories.actor_for(self.tenant)
        self.project = factories.default_project_id(self.tenant)
        self.boot = uuid.uuid4()
        found = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host h", index, 2**30) for index in range(2)]
        nodes.register(name="n1", hostname="h", boot=self.boot, found=found, missing_layers=[])

    def submit(self, spec: dict[str, object] | None = None, **more: object) -> uuid.UUID:
        """Submit a counting job."""
        request: dict[str, Any] = {"device_class": "cpu", "max_seconds": 100, **more}
        whole = {"steps": 3, "store": "x", **(spec or {})}
        return jobs.submit(
            actor=self.actor,
            asked=jobs.Submission(name="a", kind="tick", project_id=self.project, spec=whole, **request),
        ).id

    def assign(self) -> list[assign.Dispatch]:
        """Let the controller assign once."""
        with self.control():
            return assign.assign_all()

    def claim(self, dispatch: assign.Dispatch, node: str = "n1", boot: uuid.UUID | None = None) -> Claim | None:
        """Claim as the node does."""
        return leases.claim(
            tenant_id=dispatch.tenant_id,
            attempt_id=dispatch.attempt_id,
            token=dispatch.token,
            node=node,
            boot=boot or self.boot,
        )

    def running(self, spec: dict[str, object] | None = None, **more: object) -> Claim:
        """Submit, assign and claim a job."""
        self.submit(spec, **more)
        mine = self.claim(self.assign()[0])
        assert mine is not None
        return mine

    def rows(self) -> list[object]:
        """Return every row that a worker may write."""
        with tenant_scope(self.tenant.id), connection.cursor() as cursor:
            cursor.execute("SELECT count(*), coalesce(sum(measured), 0) FROM billing_usageevent")
            usage = cursor.fetchone()
            return [usage, *Job.objects.values(), *Attempt.objects.values(), *queries.job_list()]


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def expire(superuser: psycopg.Connection) -> None:
    superuser.execute(
        "UPDATE compute_attempt SET lease_until = clock_timestamp() - interval '1 second' WHERE state <> 'ended'"
    )


def test_of_many_wake_ups_one_claims(world: World) -> None:
    world.submit()
    (dispatch,) = world.assign()
    got: list[Claim | None] = []

    def answer() -> None:
        got.append(world.claim(dispatch))
        connection.close()

    threads = [threading.Thread(target=answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in got if one is not None]) == 1


def test_a_claim_needs_the_right_node_boot_and_token(world: World) -> None:
    world.submit()
    (dispatch,) = world.assign()
    assert world.claim(dispatch, node="n2") is None
    assert world.claim(dispatch, boot=uuid.uuid4()) is None
    assert world.claim(replace(dispatch, token=2)) is None
    assert world.claim(replace(dispatch, tenant_id=factories.make_tenant().id)) is None
    assert world.claim(dispatch) is not None


def test_a_heartbeat_bills_what_ran_since_the_last_one_and_never_more_than_the_lease(world: World) -> None:
    mine = world.running()
    with tenant_scope(world.tenant.id):
        Attempt.objects.filter(id=mine.attempt_id).update(claimed_at=now() - timedelta(seconds=20))
    began = time.monotonic()
    leases.heartbeat(mine, Heartbeat(elapsed=3.0))
    leases.heartbeat(mine, Heartbeat(elapsed=3.0))
    leases.heartbeat(mine, Heartbeat(elapsed=500.0))
    most = Decimal(3.01 + time.monotonic() - began)
    with tenant_scope(world.tenant.id):
        attempt = Attempt.objects.get(id=mine.attempt_id)
        assert attempt.started_at is not None and attempt.measured_until is not None
        assert attempt.measured_until <= now()
        assert Decimal(3) <= attempt.measured_s <= most, "it cannot have run for 500 s"
        assert 0 < queries.attempts(mine.job.id)[0].billed_seconds <= attempt.measured_s


def test_a_batch_that_is_sent_twice_is_stored_once(world: World) -> None:
    mine = world.running()
    beat = Heartbeat(
        elapsed=0.1, metrics=[Metric(1, {"loss": 0.5})], logs=[(0, "one"), (1, "two")], progress={"phase": "x"}
    )
    beat.samples = [Sample(0.1, 0.5, 1), Sample(0.1, 0.6, 1, power_w=200.0)]
    leases.heartbeat(mine, beat)
    leases.heartbeat(mine, beat)
    with tenant_scope(world.tenant.id):
        assert sorted(DeviceSample.objects.values_list("busy", flat=True)) == [0.5, 0.6]
        assert DeviceHour.objects.get().energy_j == pytest.approx(20.0)
        (used,) = queries.utilisation(now() - timedelta(hours=1), now(), ["project"])
        assert used.energy_kwh == pytest.approx(20.0 / 3_600_000)
        assert [line.line for line in queries.logs_after(mine.job.id)] == ["one", "two"]
        assert [point.values for point in queries.metrics(mine.job.id)] == [{"loss": 0.5}]


@pytest.fixture(params=["expired", "reaped", "replaced"])
def lost(request: pytest.FixtureRequest, world: World, superuser: psycopg.Connection) -> Claim:
    mine = world.running()
    leases.heartbeat(mine, Heartbeat(elapsed=0.01))
    expire(superuser)
    if request.param != "expired":
        with world.control():
            assert reaper.reap() == 1
    if request.param == "replaced":
        assert world.claim(world.assign()[0]) is not None
    return mine


def test_a_fenced_attempt_writes_nothing(world: World, lost: Claim) -> None:
    before = world.rows()
    beat = Heartbeat(
        elapsed=9.0, progress={"phase": "zombie"}, logs=[(7, "zombie")], metrics=[Metric(9, {"loss": 1.0})]
    )
    acts: list[Callable[[], object]] = [
        lambda: leases.heartbeat(lost, beat),
        lambda: leases.keep_checkpoint(lost, {"path": "zombie"}),
        lambda: leases.finish(lost, Outcome.SUCCEEDED, beat, complete=lambda job: {"zombie": True}),
        lambda: leases.finish(lost, Outcome.CRASHED, beat),
    ]
    for act in acts:
        with pytest.raises(Fenced):
            act()
    assert world.rows() == before


def test_the_end_of_an_attempt_is_written_once(world: World) -> None:
    mine = world.running()
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.1), complete=lambda job: {"answer": 42})
    with pytest.raises(Fenced):
        leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.1), complete=lambda job: {"answer": 43})
    with tenant_scope(world.tenant.id):
        job = queries.job_detail(mine.job.id)
        assert (job.state, job.result) == ("succeeded", {"answer": 42})
        assert {use.resource: use.in_use for use in quotas.usage()} == {"devices:cpu": 0, "device_hours:cpu": 1}
    assert not DeviceHold.objects.exists()


def test_a_failing_effect_rolls_back_the_whole_end_of_an_attempt(world: World) -> None:
    mine = world.running()
    before = world.rows()

    def fail(job: object) -> dict[str, object]:
        raise Invalid("the registry refused")

    with pytest.raises(Invalid):
        leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.1), complete=fail)
    assert world.rows() == before


@pytest.mark.parametrize("bad", ["a\0b", "half \ud800", float("inf")])
def test_a_result_that_cannot_be_stored_is_the_childs_own_crash(world: World, bad: object) -> None:
    mine = world.running()
    heartbeat.HeartbeatSender(mine).finish(Outcome.SUCCEEDED, "", 0, lambda job: {"metrics": {"loss": bad}})
    with tenant_scope(world.tenant.id):
        assert Attempt.objects.get(id=mine.attempt_id).outcome == "crashed"
        job = Job.objects.get(id=mine.job.id)
        assert (job.state, job.own_crashes, job.infrastructure_kills, job.result) == ("queued", 1, 0, {})


def test_the_database_keeps_final_states_final(world: World) -> None:
    job_id = world.submit()
    jobs.cancel(actor=world.actor, job_id=job_id)
    for change in ({"state": "queued"}, {"ended_at": None}, {"token": -1}):
        with pytest.raises((IntegrityError, ValueError)), tenant_scope(world.tenant.id):
            Job.objects.filter(id=job_id).update(**change)
    mine = world.running()
    leases.finish(mine, Outcome.CRASHED, Heartbeat())
    with pytest.raises(IntegrityError), tenant_scope(world.tenant.id):
        Attempt.objects.filter(id=mine.attempt_id).update(outcome="succeeded")


def test_an_attempt_cannot_begin_on_a_device_it_has_not_taken(world: World) -> None:
    mine = world.running()
    waiting = world.submit()
    with tenant_scope(world.tenant.id):
        taken = Attempt.objects.get(id=mine.attempt_id)
    on = {"node_id": taken.node_id, "device_id": taken.device_id}
    second = Attempt(job_id=waiting, token=1, device_class="cpu", device_name="x", **on)
    with world.control(), tenant_scope(world.tenant.id):
        second.save()
        with pytest.raises(IntegrityError, match="has not taken"), transaction.atomic():
            AttemptMember.objects.create(attempt=second, rank=0, **on)
    with world.control():
        assert not holding.take([taken.device_id], second.id, tenant_id=world.tenant.id, share=1), "it is held whole"


def test_a_job_without_room_in_the_budget_leaves_nothing_behind(world: World) -> None:
    with tenant_scope(world.tenant.id):
        price = price_at("device_seconds", {"device_class": "cpu", "tier": "on_demand"}).unit_amount
        create_budget(actor=world.actor, project_id=world.project, amount=170 * price, at_limit="block_new")
    world.submit()
    with pytest.raises(BudgetExceeded):
        world.submit()
    with tenant_scope(world.tenant.id):
        assert queries.counts_by_state()["queued"] == 1
        assert {use.resource: use.in_use for use in quotas.usage()} == {"device_hours:cpu": WORST_S}


def test_of_sixteen_launches_that_race_for_a_budget_three_are_let_in(world: World) -> None:
    with tenant_scope(world.tenant.id):
        price = price_at("device_seconds", {"device_class": "cpu", "tier": "on_demand"}).unit_amount
        create_budget(actor=world.actor, project_id=world.project, amount=350 * price, at_limit="block_new")
    answers: list[str] = []

    def launch() -> None:
        try:
            answers.append(str(world.submit()))
        except BudgetExceeded as refusal:
            answers.append(refusal.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16 and answers.count("budget_exceeded") == 13
    with tenant_scope(world.tenant.id):
        assert queries.counts_by_state()["queued"] == 3
        assert {use.resource: use.in_use for use in quotas.usage()} == {"device_hours:cpu": 3 * WORST_S}


def test_a_full_quota_refuses_and_no_money_stays_held(world: World) -> None:
    quotas.set_limit(actor=world.actor, resource="device_hours:cpu", limit=1)
    world.submit(max_seconds=3500)
    with pytest.raises(quotas.QuotaExceeded):
        world.submit()
    with tenant_scope(world.tenant.id):
        assert queries.counts_by_state()["queued"] == 1
        assert Hold.objects.count() == 1


def test_another_persons_job_needs_the_right_to_cancel_any(world: World) -> None:
    job_id = world.submit()
    with pytest.raises(PermissionDenied):
        jobs.cancel(actor=factories.actor_for(world.tenant, "engineer"), job_id=job_id)
    with pytest.raises(PermissionDenied):
        jobs.cancel(actor=factories.actor_for(world.tenant, "viewer"), job_id=job_id)
    assert jobs.cancel(actor=factories.actor_for(world.tenant, "admin"), job_id=job_id).state == "cancelled"


def test_a_request_with_wrong_fields_names_them_all(world: World) -> None:
    with pytest.raises(Invalid) as refused:
        jobs.submit(
            actor=world.actor,
            asked=jobs.Submission(
                name=" ",
                kind="tick",
                project_id=uuid.uuid4(),
                spec={},
                device_class="h100",
                tier="free",
                max_seconds=0,
                max_cost=Decimal(-1),
                tags={"": "x"},
                devices=0,
            ),
        )
    assert set(refused.value.fields) == {
        "name",
        "project",
        "device_class",
        "tier",
        "max_seconds",
        "max_cost",
        "tags",
        "devices",
    }


def test_the_tenants_rows_stay_its_own(world: World) -> None:
    job_id = world.submit()
    other = factories.make_tenant()
    with tenant_scope(other.id):
        assert queries.job_list() == []
        with pytest.raises(NotFound):
            queries.job_detail(job_id)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM compute_job")
        assert cursor.fetchone() == (0,)
