"""A node logs in as itself: it does the work that it was given, and a stolen login gets no further (trust T1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from django.db import connection

from billing.budgets.budgets import create_budget
from billing.models import Contract
from billing.pricing.prepaid import count_if_prepaid
from billing.rating.calendar import local_day, next_period, period_of
from compute.devices.base import Found
from compute.fleet import nodes
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Job, Node, Outcome
from tenants import clock
from tenants.checks import role_faults
from tenants.isolation.scoping import tenant_scope
from tests.conftest import DemoClock
from tests.integration.billing.wallets.scene import grant
from tests.integration.compute.test_leases import World
from tests.support.servers.node_logins import PASSWORD, admitted, as_login, stolen

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def login(as_control: Callable[[], AbstractContextManager[None]], superuser: psycopg.Connection) -> Iterator[str]:
    """Register the node `n1` with a login of its own; it leaves with the test."""
    with admitted(superuser, "n1", by="admit_node") as login:
        yield login


def test_a_node_that_stops_within_a_transaction_keeps_its_jobs_locked_for_seconds(
    login: str, superuser: psycopg.Connection
) -> None:
    superuser.execute(f"ALTER ROLE {login} RESET ALL")  # one that an earlier version admitted
    verifier = superuser.pgconn.encrypt_password(PASSWORD.encode(), b"", b"scram-sha-256").decode()
    superuser.execute("SELECT exchequer_roles.admit_node(id, %s) FROM compute_node WHERE name = 'n1'", [verifier])
    with stolen(login) as session:
        (longest,) = session.execute(
            "SELECT setting::int FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
        ).fetchone() or (0,)
    assert 0 < longest <= 15_000


@pytest.mark.parametrize(
    ("outcome", "prepaid"),
    [(Outcome.SUCCEEDED, False), (Outcome.SUCCEEDED, True), (Outcome.PLATFORM, False), (Outcome.STOPPED, False)],
)
def test_a_node_does_the_work_that_it_was_given(
    login: str,
    as_control: Callable[[], AbstractContextManager[None]],
    demo_clock: DemoClock,
    superuser: psycopg.Connection,
    outcome: Outcome,
    *,
    prepaid: bool,
) -> None:
    if prepaid:
        demo_clock.move_to(clock.now().replace(day=5) + timedelta(days=31))
    world = World(as_control)
    if prepaid:
        superuser.execute("SET session_replication_role = replica")  # no terms of a contract that has begun may change
        terms = "UPDATE billing_contract SET terms = '{\"prepaid\": true}' WHERE tenant_id = %s"
        superuser.execute(terms, [world.tenant.id])
        superuser.execute("RESET session_replication_role")
        with as_control(), tenant_scope(world.tenant.id):
            count_if_prepaid(Contract.objects.get())
        month = period_of(local_day(clock.now(), world.tenant.timezone))
        grant(world.tenant, "500.00")
        grant(world.tenant, "1.00", expires_on=next_period(month) - timedelta(days=1))
    create_budget(actor=world.actor, amount=Decimal(1000), at_limit="stop_running")
    job = world.submit()
    (dispatch,) = world.assign()
    with as_login(login):
        connection.ensure_connection()
        assert role_faults(one_tenant=True) == [], "a worker starts with it"
        two = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index}", index, 2**30) for index in range(2)]
        nodes.register(name="n1", hostname="h2", boot=world.boot, found=two, missing_layers=[])
        mine = world.claim(dispatch)
        assert mine is not None
        leases.heartbeat(mine, Heartbeat(elapsed=0.01, logs=[(1, "a line")], progress={"phase": "running"}))
        leases.finish(mine, outcome, Heartbeat(elapsed=0.02), message="over", complete=lambda job: {"done": True})
    with tenant_scope(world.tenant.id):
        state = {Outcome.SUCCEEDED: "succeeded", Outcome.PLATFORM: "queued", Outcome.STOPPED: "queued"}[outcome]
        assert Job.objects.get(id=job).state == state


#: What a thief tries in the tenant for which the node works. The others are tried in each other tenant.
REFUSED = (
    "SELECT * FROM tenants_auditentry",
    "INSERT INTO tenants_auditentry (id, actor_type) VALUES (gen_random_uuid(), 'person')",
    "UPDATE billing_contract SET book_id = book_id",
    "UPDATE billing_budget SET amount = 1000000",
    "UPDATE billing_invoice SET state = 'paid'",
    "SELECT key_hash FROM tenants_apikey",
    "SELECT password FROM tenants_user",
    "SELECT email FROM tenants_user",
    "UPDATE tenants_membership SET user_id = user_id",
    "UPDATE tenants_quota SET amount = 1000",
    "UPDATE tenants_tenant SET standing = 'active'",
    "UPDATE compute_job SET max_cost = NULL",
    "UPDATE compute_attempt SET node_id = node_id",
    "INSERT INTO compute_attempt (id) VALUES (gen_random_uuid())",
    "INSERT INTO compute_job (id) VALUES (gen_random_uuid())",
    "SELECT * FROM models_app_endpointkey",
    "SELECT * FROM tenants_platformkey",
    "SET ROLE exchequer_app",
    "SET ROLE exchequer_control",
    "SET ROLE exchequer_node",
    "SET ROLE exchequer_owner",
    "SET SESSION AUTHORIZATION exchequer_app",
    "CREATE ROLE another",
    "ALTER ROLE exchequer_app PASSWORD 'mine'",
    "CREATE TABLE mine (id int)",
    "SELECT exchequer_roles.admit_node(gen_random_uuid(), '')",
    "SELECT exchequer_memberships(gen_random_uuid())",
    "SELECT pg_read_file('/etc/passwd')",
)
SEEN = (
    "compute_attempt",
    "compute_job",
    "billing_contract",
    "billing_hold",
    "billing_budget",
    "billing_usageevent",
    "tenants_apikey",
    "tenants_datakey",
    "tenants_membership",
    "tenants_project",
    "tenants_tenant",
    "models_app_dataset",
)


def test_a_stolen_login_reaches_no_more_than_the_work_on_its_node(
    login: str, as_control: Callable[[], AbstractContextManager[None]], superuser: psycopg.Connection
) -> None:
    mine, other = World(as_control), World(as_control)
    job = mine.submit()
    (dispatch,) = mine.assign()
    boot = uuid.uuid4()
    away = [Found("cpu-9", "cpu", "cpu", "CPU 9", 0, 2**30)]
    nodes.register(name="n2", hostname="h2", boot=boot, found=away, missing_layers=[])
    with stolen(login) as thief:

        def enter(world: World) -> None:
            thief.execute("SELECT set_config('app.tenant', %s, false)", [str(world.tenant.id)])

        def seen(table: str) -> int:
            (count,) = thief.execute(
                f"SELECT count(tenant_id) FROM {table}".replace(
                    "(tenant_id) FROM tenants_tenant", "(id) FROM tenants_tenant"
                )
            ).fetchone() or (0,)
            return int(count)

        enter(other)
        assert {table: seen(table) for table in SEEN} == dict.fromkeys(SEEN, 0), "it does not work for this tenant"
        enter(mine)
        assert (seen("compute_attempt"), seen("compute_job"), seen("tenants_tenant")) == (1, 1, 1)
        for statement in REFUSED:
            with pytest.raises(psycopg.Error):
                thief.execute(statement)
        # Rows of others are not there to be changed.
        for statement in (
            "UPDATE compute_node SET accepting = false WHERE name = 'n2'",
            "UPDATE compute_device SET state = 'cordoned' WHERE uuid = 'cpu-9'",
            "DELETE FROM compute_devicehold WHERE device_id IN (SELECT id FROM compute_device WHERE uuid = 'cpu-9')",
        ):
            assert thief.execute(statement).rowcount == 0
        superuser.execute(
            "UPDATE compute_attempt SET node_id = (SELECT id FROM compute_node WHERE name = 'n2') WHERE id = %s",
            [dispatch.attempt_id],
        )
        superuser.execute(
            "UPDATE compute_attemptmember SET node_id = (SELECT id FROM compute_node WHERE name = 'n2') WHERE attempt_id = %s",
            [dispatch.attempt_id],
        )
        assert {table: seen(table) for table in SEEN} == dict.fromkeys(SEEN, 0), "that attempt is another node's"
        assert thief.execute("UPDATE compute_job SET state = 'failed' WHERE id = %s", [job]).rowcount == 0
        superuser.execute("SELECT exchequer_roles.end_node(%s)", [Node.objects.get(name="n1").id])
        with pytest.raises(psycopg.OperationalError):
            thief.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        stolen(login)
