"""A serving node logs in as itself: it serves what it was given, and a stolen login gets no further (trust T1)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from billing import queries as billing_queries
from billing.budgets.budgets import create_budget
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import Hold
from billing.rating.calendar import local_day, next_period, period_of
from compute.fleet import nodes
from compute.models import Allocation, Node
from compute.scheduling import slots
from models_app.endpoints import deployments, endpoint_keys, reservations
from models_app.measures.window import Sums, Window
from models_app.models import Endpoint, HealthWindow, ServingSlice
from models_app.serving.database import Database
from tenants import clock
from tenants.checks import role_faults
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.conftest import DemoClock
from tests.integration.billing.wallets.scene import grant
from tests.support import factories, selling
from tests.support.endpoints import make_version
from tests.support.servers.node_logins import admitted, as_login, stolen

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "serving.n1"


@pytest.fixture
def login(as_control: Callable[[], AbstractContextManager[None]], superuser: psycopg.Connection) -> Iterator[str]:
    """Make the serving node `n1` with a login of its own; it leaves with the test."""
    with admitted(superuser, NAME, by="admit_serving") as login:
        yield login


class Served:
    """A tenant that pays for an endpoint and its slot."""

    def __init__(self, name: str, *, prepaid: bool = False) -> None:
        self.tenant: Tenant = factories.make_tenant(contract=False)
        self.actor = factories.actor_for(self.tenant)
        selling.open_contract(self.tenant, terms={"prepaid": True} if prepaid else {})
        if prepaid:
            grant(self.tenant, "500.00")
            grant(self.tenant, "1.00", expires_on=last_day_of_month(self.tenant))
        with tenant_scope(self.tenant.id):
            book = billing_queries.price_books()[0].id
            slot_price = selling.NewPrice("serving.slot_seconds", {}, Decimal("0.001"))
            selling.publish(book_id=book, prices=[slot_price])
        create_budget(actor=self.actor, amount=Decimal(1000), at_limit="stop_running")
        version = make_version(self.tenant)
        self.endpoint: Endpoint = deployments.deploy(actor=self.actor, name=name, version_id=version.id)
        made = endpoint_keys.create(actor=self.actor, endpoint_id=self.endpoint.id, name="app", requests_per_minute=60)
        self.key, self.digest = made.id, endpoint_keys.key_hash(made.secret)

    def record(self, money: reservations.Slice, n: int) -> dict[str, Any]:
        """Return what a node notes of one batch."""
        return {
            "tenant": str(self.tenant.id), "endpoint": str(self.endpoint.id), "name": self.endpoint.name,
            "project": str(self.endpoint.project_id), "n": n, "slice": money.number, "hold": str(money.hold_id),
            "at": clock.now().isoformat(), "us": 5000, "requests": 10, "ms": "1.5",
        }  # fmt: skip


def last_day_of_month(tenant: Tenant) -> date:
    """Return a day by which credit ends that pays for usage of the month before alone."""
    return next_period(period_of(local_day(clock.now(), tenant.timezone))) - timedelta(days=1)


def place(as_control: Callable[[], AbstractContextManager[None]]) -> None:
    """Let the controller assign slots."""
    with as_control():
        slots.assign_slots()


def traffic(served: Served) -> Window:
    """Return the sums of some requests."""
    window = Window()
    window.give_back({served.endpoint.version_id: Sums(requests=3, rows=3, errors={"overloaded": 3})})
    return window


@pytest.mark.parametrize("prepaid", [False, True])
def test_a_serving_node_serves_what_it_was_given(
    login: str, as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock, *, prepaid: bool
) -> None:
    demo_clock.move_to(clock.now().replace(day=5) + timedelta(days=31))
    served, other = Served("churn", prepaid=prepaid), Served("other")
    backend, boot = Database(NAME, 1), uuid.uuid4()
    with as_login(login):
        connection.ensure_connection()
        assert role_faults(one_tenant=True) == [], "a serving process starts with it"
        backend.register(boot)
        assert backend.assigned_endpoints() == []
    place(as_control)
    with as_login(login):
        (assigned,) = backend.assigned_endpoints()
        order = assigned.order
        assert (order.endpoint_id, order.wanted) == (served.endpoint.id, True)
        keys = {one.endpoint_id: one.id for one in backend.known([served.digest, other.digest, b"x" * 32])}
        assert keys == {served.endpoint.id: served.key, other.endpoint.id: other.key}, "others may be loading"
        assert backend.limits(served.tenant.id, served.endpoint.id) == {served.key: 60}
        backend.report(order, "ready")
        money = backend.take(order, boot, 1)
        assert money.hold_id is not None
        assert backend.settle(served.tenant.id, boot, [served.record(money, 1)]) == set()
        backend.flush(order, traffic(served))
        backend.flush(order, traffic(served))
        second = backend.take(order, boot, 2)
        backend.close(served.tenant.id, money)
        demo_clock.advance(timedelta(minutes=10))
        backend.report(order, "failed", "The file is damaged.")
        # Its slot is gone; what it answered before is settled all the same.
        assert backend.assigned_endpoints() == []
        assert backend.settle(served.tenant.id, boot, [served.record(second, 2)]) == set()
        backend.flush(order, traffic(served))
        backend.close_left_behind(served.tenant.id, served.endpoint.id, boot)
        assert (backend.why_stopped(served.tenant.id, served.endpoint.id)) == ""
        assert (backend.why_stopped(other.tenant.id, other.endpoint.id)) == ""
        backend.leave()
    with tenant_scope(served.tenant.id):
        row = Endpoint.objects.get()
        assert (row.state, row.message) == ("failed", "The file is damaged.")
        assert Allocation.objects.get().state == "ended"
        assert ServingSlice.objects.filter(closed_at=None).count() == 0
        assert HealthWindow.objects.exists()
        assert not Hold.objects.filter(state="open").exists()
        assert [str(fault) for fault in (*ledger_faults(), *reconcile_faults())] == []


#: What a thief tries in the tenant whose endpoint the node serves. The others are tried in each other tenant.
REFUSED = (
    "SELECT * FROM tenants_auditentry",
    "INSERT INTO tenants_auditentry (id, actor_type) VALUES (gen_random_uuid(), 'person')",
    "SELECT key_hash FROM models_app_endpointkey",
    "INSERT INTO models_app_endpointkey (id) VALUES (gen_random_uuid())",
    "UPDATE models_app_endpointkey SET revoked_at = NULL",
    "UPDATE models_app_endpoint SET version_id = version_id",
    "UPDATE models_app_endpoint SET allocation_id = NULL",
    "INSERT INTO models_app_endpoint (id) VALUES (gen_random_uuid())",
    "UPDATE models_app_modelversion SET stage = 'production'",
    "UPDATE models_app_servingslice SET node_id = NULL",
    "UPDATE models_app_servingslice SET opened_at = now()",
    "UPDATE billing_contract SET book_id = book_id",
    "UPDATE billing_budget SET amount = 1000000",
    "UPDATE billing_invoice SET state = 'paid'",
    "DELETE FROM billing_usageevent",
    "SELECT * FROM compute_job",
    "SELECT * FROM compute_attempt",
    "UPDATE compute_allocation SET node_id = node_id",
    "INSERT INTO compute_allocation (id) VALUES (gen_random_uuid())",
    "SELECT * FROM models_app_dataset",
    "SELECT * FROM tenants_apikey",
    "SELECT * FROM tenants_datakey",
    "SELECT * FROM tenants_masterkey",
    "SELECT * FROM tenants_membership",
    "SELECT * FROM tenants_user",
    "SELECT * FROM tenants_session",
    "SELECT * FROM compute_nodesecret",
    "UPDATE tenants_tenant SET standing = 'active'",
    "SELECT exchequer_memberships(gen_random_uuid())",
    "SELECT exchequer_grants(gen_random_uuid(), NULL)",
    "SELECT exchequer_endpoint_keys('{}')",
    "SELECT exchequer_node_jobs()",
    "SET ROLE exchequer_app",
    "SET ROLE exchequer_control",
    "SET ROLE exchequer_node",
    "SET ROLE exchequer_owner",
    "SET SESSION AUTHORIZATION exchequer_app",
    "CREATE ROLE another",
    "CREATE TABLE mine (id int)",
    "SELECT exchequer_roles.admit_serving(gen_random_uuid(), '')",
    "SELECT pg_read_file('/etc/passwd')",
)
SEEN = (
    "billing_budget",
    "billing_contract",
    "billing_hold",
    "billing_usageevent",
    "compute_allocation",
    "models_app_endpoint",
    "models_app_endpointkey",
    "models_app_healthwindow",
    "models_app_modelversion",
    "models_app_servingslice",
    "tenants_project",
)
TAKE = """
INSERT INTO models_app_servingslice (id, tenant_id, endpoint_id, boot, number) VALUES (gen_random_uuid(), %s, %s, gen_random_uuid(), 7)
"""


def test_a_stolen_login_reaches_no_more_than_the_endpoints_that_the_node_serves(
    login: str,
    as_control: Callable[[], AbstractContextManager[None]],
    superuser: psycopg.Connection,
    demo_clock: DemoClock,
) -> None:
    mine, other = Served("churn"), Served("other")
    backend, boot = Database(NAME, 1), uuid.uuid4()
    with as_login(login):
        backend.register(boot)
    place(as_control)
    beside = deployments.deploy(actor=mine.actor, name="beside", version_id=make_version(mine.tenant, "Beside").id)
    away = nodes.register(name="serving.n2", hostname="h2", boot=uuid.uuid4(), found=[], missing_layers=[])
    with as_login(login):
        (assigned,) = backend.assigned_endpoints()
        backend.take(assigned.order, boot, 1)
        backend.flush(assigned.order, traffic(mine))
    with stolen(login) as thief:

        def enter(served: Served) -> None:
            thief.execute("SELECT set_config('app.tenant', %s, false)", [str(served.tenant.id)])

        def seen(table: str) -> int:
            (count,) = thief.execute(f"SELECT count(tenant_id) FROM {table}").fetchone() or (0,)
            return int(count)

        nothing = dict.fromkeys(SEEN, 0)
        assert {table: seen(table) for table in SEEN} == nothing, "no organisation is named"
        enter(other)
        assert {table: seen(table) for table in SEEN} == nothing, "it serves nothing of this tenant"
        assert thief.execute("SELECT * FROM tenants_tenant").fetchall() == []
        with pytest.raises(psycopg.Error, match="row-level security"):
            thief.execute(TAKE, [other.tenant.id, other.endpoint.id])
        enter(mine)
        one = ("compute_allocation", "models_app_endpoint", "models_app_endpointkey", "models_app_modelversion")
        assert {table: seen(table) for table in one} == dict.fromkeys(one, 1), "not the endpoint beside it"
        for statement in REFUSED:
            with pytest.raises(psycopg.Error):
                thief.execute(statement)
        with pytest.raises(psycopg.Error, match="row-level security"):
            thief.execute(TAKE, [mine.tenant.id, beside.id])
        for statement in (
            "UPDATE compute_node SET accepting = false WHERE name = 'serving.n2'",
            "UPDATE models_app_endpoint SET state = 'failed' WHERE name = 'beside'",
        ):
            assert thief.execute(statement).rowcount == 0, "rows of others are not there to be changed"
        assert thief.execute("SELECT * FROM compute_slots_of(%s)", [away.node_id]).fetchall() == []
        assert thief.execute("SELECT * FROM exchequer_serving_keys(%s)", [[b"x" * 32]]).fetchall() == []

        superuser.execute(
            "UPDATE compute_allocation SET state = 'ended', ended_at = exchequer_now() - interval '2 minutes' WHERE tenant_id = %s "
            "AND state = 'live'",
            [mine.tenant.id],
        )
        assert seen("models_app_endpoint") == 1, "what it answered is settled later"
        with pytest.raises(psycopg.Error, match="row-level security"):
            thief.execute(TAKE, [mine.tenant.id, mine.endpoint.id])
        demo_clock.advance(timedelta(days=7, minutes=1))
        assert {table: seen(table) for table in SEEN} == nothing, "a week later nothing is left to settle"
        superuser.execute("SELECT exchequer_roles.end_node(%s)", [Node.objects.get(name=NAME).id])
        with pytest.raises(psycopg.OperationalError):
            thief.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        stolen(login)
