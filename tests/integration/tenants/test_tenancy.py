"""Tenant isolation, the audit chain and the outbox, on a real PostgreSQL with the product's roles."""

import io
import json
import threading
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from dash import Input, Output, dcc, html
from django.core.management import call_command
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from config.celery import app
from config.urls import urlpatterns as routes
from dashboards import bridge
from tenants import cleanup, operations, quotas
from tenants.access.actor import Actor
from tenants.audit import AuditAction, MissingAuditEntry, operation, record
from tenants.audit.verify import verify
from tenants.clock import now
from tenants.errors import Invalid, PermissionDenied
from tenants.events import events, outbox
from tenants.identity import members
from tenants.isolation.scoping import ForeignTenant, NoTenantScope, all_tenants, tenant_scope
from tenants.models import (
    ApiKey,
    AuditEntry,
    IdempotencyKey,
    Invitation,
    Membership,
    Notification,
    OutboxMessage,
    Project,
    Tenant,
)
from tenants.rights import held
from tenants.web.requests import TenantRequest
from tenants.web.views import page
from tests.support import factories

pytestmark = pytest.mark.django_db


def test_touching_a_tenant_table_with_no_scope_raises() -> None:
    for use in (
        Project.objects.exists,
        Project.objects.count,
        Project._base_manager.first,
        lambda: Project(slug="a").save(),
    ):
        with pytest.raises(NoTenantScope):
            use()


def test_a_row_of_another_tenant_is_neither_seen_nor_written() -> None:
    ours, theirs = factories.make_tenant(), factories.make_tenant()
    project = factories.make_project(theirs)
    with tenant_scope(ours.id):
        assert not Project.objects.filter(id=project.id).exists()
        with pytest.raises(ForeignTenant):
            Project.objects.create(tenant_id=theirs.id, slug="x", name="x")
        with pytest.raises(ForeignTenant):
            Project.objects.bulk_create([Project(tenant_id=theirs.id, slug="x", name="x")])
        with pytest.raises(ForeignTenant):
            Project.objects.filter(slug="default").update(tenant=theirs)
        with pytest.raises(ForeignTenant), tenant_scope(theirs.id):
            pass


def test_the_database_alone_stops_what_the_manager_lets_through() -> None:
    ours, theirs = factories.make_tenant(), factories.make_tenant()
    with tenant_scope(ours.id), connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tenant_id FROM tenants_project")
        assert cursor.fetchall() == [(ours.id,)]
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute(
                "INSERT INTO tenants_project (id, tenant_id, slug, name) VALUES (gen_random_uuid(), %s, 'x', 'x')",
                [theirs.id],
            )
        with all_tenants("the web role must not see more by this"):
            assert {row.tenant_id for row in Project.objects.all()} == {ours.id}


def leaks() -> list[str]:
    """Return which tables show a row right here, and which writes do something."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
            "WHERE c.relnamespace = 'public'::regnamespace AND has_table_privilege(c.oid, 'SELECT')"
        )
        tables = [row[0] for row in cursor.fetchall()]
        assert len(tables) > 40
        cursor.execute(" UNION ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables))
        found = [row[0] for row in cursor.fetchall()]
        for statement in ("UPDATE tenants_project SET name = 'x'", "DELETE FROM tenants_grant"):
            cursor.execute(statement)
            found += [statement] * cursor.rowcount
        insert = "INSERT INTO tenants_project (id, tenant_id, slug, name) VALUES (gen_random_uuid(), %s, 'x', 'x')"
        with suppress(DatabaseError), transaction.atomic():
            cursor.execute(insert, [uuid4()])
            found.append(insert)
    return found


def in_a_page(tenant: Tenant) -> str:
    return client_of(tenant).get("/outside/").content.decode()


def in_a_stream(tenant: Tenant) -> str:
    """What the page of a tenant still sends after its transaction."""
    return b"".join(client_of(tenant).get(f"/t/{tenant.slug}/streamed/").streaming_content).decode()  # type: ignore[attr-defined]


def in_a_worker(tenant: Tenant) -> str:
    @app.task(name="tests.leaks")
    def look() -> str:
        return json.dumps(leaks())

    with tenant_scope(tenant.id):
        assert Project.objects.exists()
    return str(look.apply().get())


def in_a_shell(tenant: Tenant) -> str:
    with redirect_stdout(io.StringIO()) as said:
        call_command(
            "shell", command=f"import json; from {__name__} import leaks; print(json.dumps(leaks()))", verbosity=0
        )
    return said.getvalue()


def in_a_callback(tenant: Tenant) -> str:
    """Of a Dash page that somehow runs outside a tenant."""

    def register(small: bridge.BridgedDash) -> None:
        @small.callback(Output("out", "children"), Input("in", "value"))
        def show(value: str) -> str:
            return json.dumps(leaks())

    layout = html.Div([dcc.Input(id="in"), html.Div(id="out")])
    small = bridge.make("spend", title="Small", template="dashboards/dash.html", layout=layout, callbacks=register)
    body = {"output": "out.children", "changedPropIds": ["in.value"], "inputs": [{"id": "in", "value": "x"}]}
    request = RequestFactory().post("/", json.dumps(body), content_type="application/json")
    answer = bridge.forward(small, request, "_dash-update-component")
    return str(json.loads(answer.content)["response"]["out"]["children"])


def client_of(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    assert client.get(f"/t/{tenant.slug}/projects/").status_code == 200
    return client


@page("tenant.view")
def streamed(request: TenantRequest) -> StreamingHttpResponse:
    assert Project.objects.exists()
    return StreamingHttpResponse(json.dumps(leaks()) for _ in range(1))


#: The routes of the product, with two that look where no tenant is open.
urlpatterns = [
    path("outside/", lambda request: HttpResponse(json.dumps(leaks()))),
    path("t/<slug:tenant>/streamed/", streamed),
    *routes,
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls(__name__)
@pytest.mark.parametrize("look", [in_a_page, in_a_stream, in_a_worker, in_a_shell, in_a_callback])
def test_without_a_tenant_the_database_shows_nothing(look: Callable[[Tenant], str]) -> None:
    tenant = factories.make_tenant()
    factories.make_api_key(tenant)
    assert json.loads(look(tenant)) == []
    with tenant_scope(tenant.id):
        assert {"tenants_project", "tenants_apikey", "tenants_membership"} <= set(leaks()), (
            "what they look for is there"
        )
        transaction.set_rollback(True)


def test_an_operation_without_its_entry_fails_and_changes_nothing() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)

    @operation(AuditAction("tests.thing.done"))
    def forgetful(*, actor: Actor) -> None:
        Project.objects.create(slug="forgotten", name="x")

    with pytest.raises(MissingAuditEntry):
        forgetful(actor=actor)
    with tenant_scope(tenant.id):
        assert not Project.objects.filter(slug="forgotten").exists()


def test_nested_operations_write_one_gapless_chain() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    done = AuditAction("tests.thing.nested")

    @operation(done)
    def outer(*, actor: Actor) -> None:
        operations.create_project(actor=actor, slug="inner", name="Inner")
        record(
            done,
            actor=actor,
            changes={"weight": [0.1, None], "odd": ["\x00\u2028", {"b": 1, "a": 2}]},
        )

    outer(actor=actor)
    with tenant_scope(tenant.id):
        actions = list(AuditEntry.objects.order_by("seq").values_list("seq", "action"))
        assert actions == [
            (1, "tenants.tenant.created"),
            (2, "tenants.project.created"),
            (3, "tests.thing.nested"),
        ]
        assert verify().ok


@pytest.mark.django_db(transaction=True)
def test_eight_writers_at_once_leave_one_chain_without_gaps() -> None:
    tenant = factories.make_tenant()
    actors = [factories.actor_for(tenant) for _ in range(8)]

    def write(number: int) -> None:
        try:
            for each in range(12):
                operations.create_project(actor=actors[number], slug=f"p-{number}-{each}", name=f"P {number} {each}")
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with tenant_scope(tenant.id):
        check = verify()
        assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 98))
    assert (check.ok, check.entries, check.head_seq) == (True, 97, 97)


#: Whatever would change a log.
CHANGES = (
    "UPDATE {log} SET reason = 'x'",
    "DELETE FROM {log}",
    "TRUNCATE {log}",
    "INSERT INTO {log} SELECT * FROM {log} ON CONFLICT (id) DO UPDATE SET reason = 'x'",
    "ALTER TABLE {log} DISABLE TRIGGER ALL",
    "SET session_replication_role = replica",
)


@pytest.mark.django_db(transaction=True)  # a TRUNCATE waits for every transaction that wrote into the table
def test_the_log_refuses_to_be_changed(superuser: psycopg.Connection) -> None:
    tenant, refused = factories.make_tenant(), 0
    for role in ("exchequer_app", "exchequer_control", "exchequer_operator", "exchequer_glass"):
        for log in ("tenants_auditentry", "tenants_operatoract"):
            for change in CHANGES:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant.id)])
                    cursor.execute(f"SET LOCAL ROLE {role}")
                    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
                        cursor.execute(change.format(log=log))
                    refused += 1
                    transaction.set_rollback(True)
    assert refused == 48
    for log in ("tenants_auditentry", "tenants_operatoract"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            superuser.execute(f"TRUNCATE {log}")


TAMPERINGS = {
    "an entry is edited": "UPDATE tenants_auditentry SET reason = 'because' WHERE seq = 3",
    "an actor is edited": "UPDATE tenants_auditentry SET actor_label = 'nobody' WHERE seq = 2",
    "an entry is removed": "DELETE FROM tenants_auditentry WHERE seq = 3",
    "the tail is cut": "DELETE FROM tenants_auditentry WHERE seq = 5",
    "two entries change places": "UPDATE tenants_auditentry SET seq = CASE seq WHEN 2 THEN 1002 ELSE 2 END WHERE seq IN (2, 3)",
    "two tenants' entries change places": "UPDATE tenants_auditentry e SET seq = 1003 FROM tenants_tenant t WHERE e.seq = 3 AND t.id = e.tenant_id AND t.slug = 'other';"
    " UPDATE tenants_auditentry SET tenant_id = (SELECT id FROM tenants_tenant WHERE slug = 'other') WHERE seq = 3;"
    " UPDATE tenants_auditentry SET seq = 3, tenant_id = (SELECT id FROM tenants_tenant WHERE slug = 'ours') WHERE seq = 1003",
    "an entry is forged at the end": "INSERT INTO tenants_auditentry SELECT gen_random_uuid(), 6, occurred_at, actor_type, actor_id, actor_label, action, target_type,"
    " target_id, target_label, changes, reason, ip, user_agent, request_id, schema_version, hash, hash, tenant_id FROM tenants_auditentry WHERE seq = 5",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", TAMPERINGS)
def test_verification_finds(what: str, superuser: psycopg.Connection) -> None:
    tenant, other = factories.make_tenant("ours"), factories.make_tenant("other")
    for one in (tenant, other) if "tenants" in what else (tenant,):
        actor = factories.actor_for(one)
        for number in range(4):
            operations.create_project(actor=actor, slug=f"p{number}", name=f"P {number}")
    with tenant_scope(tenant.id):
        assert verify().ok
    superuser.execute("SET session_replication_role = replica")
    columns = superuser.execute(
        "SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'tenants_auditentry'"
    ).fetchone()
    assert columns is not None
    statement = TAMPERINGS[what]
    if "INSERT" in statement:
        values = {"id": "gen_random_uuid()", "seq": "6", "prev_hash": "hash"}
        statement = f"INSERT INTO tenants_auditentry ({', '.join(columns[0])}) SELECT {', '.join(values.get(name, name) for name in columns[0])} FROM tenants_auditentry WHERE seq = 5"
    superuser.execute(statement)
    with tenant_scope(tenant.id):
        check = verify()
    assert not check.ok
    assert check.fault


def test_a_membership_ends_at_the_next_request_and_an_owner_remains() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant, "owner")
    other = factories.make_member(tenant, "owner")
    members.remove_member(actor=actor, user_id=other.id)
    with tenant_scope(tenant.id):
        first = Membership.objects.exclude(user_id=actor.id).get()
    members.remove_member(actor=actor, user_id=first.user_id)
    with pytest.raises(PermissionDenied):
        members.remove_member(actor=actor, user_id=actor.id)


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_remove_each_other_leave_one() -> None:
    tenant = factories.make_tenant()
    barrier = threading.Barrier(2)

    def remove(actor: Actor, other: Actor) -> None:
        barrier.wait()
        try:
            members.remove_member(actor=actor, user_id=other.id)  # type: ignore[arg-type]
        except Exception:  # noqa: S110, BLE001 (one of the two is refused, in one of several ways)
            pass
        finally:
            connection.close()

    for _ in range(20):
        with tenant_scope(tenant.id):
            left = held.owners().select_related("membership").get().membership
        assert left is not None
        one = Actor.member(tenant_id=tenant.id, user_id=left.user_id, email="a", role="owner")
        two = factories.actor_for(tenant, "owner")
        threads = [threading.Thread(target=remove, args=args) for args in ((one, two), (two, one))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        with tenant_scope(tenant.id):
            assert held.owners().count() == 1


@pytest.mark.django_db(transaction=True)
def test_sixteen_reservations_never_pass_the_limit() -> None:
    tenant = factories.make_tenant()
    quotas.set_limit(actor=factories.actor_for(tenant), resource="devices:cpu", limit=5)
    taken: list[bool] = []

    def reserve(number: int) -> None:
        try:
            with tenant_scope(tenant.id):
                quotas.reserve(resource="devices:cpu", subject=f"job:{number}")
            taken.append(True)
        except quotas.QuotaExceeded:
            taken.append(False)
        finally:
            connection.close()

    threads = [threading.Thread(target=reserve, args=(number,)) for number in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(taken) == 16
    assert sum(taken) == 5
    with tenant_scope(tenant.id):
        quotas.release(subject="job:none")
        assert [use.in_use for use in quotas.usage() if use.resource == "devices:cpu"] == [5]


def test_the_outbox_delivers_once_and_keeps_what_failed(as_control) -> None:  # type: ignore[no-untyped-def]
    seen: list[object] = []

    tenant = factories.make_tenant()
    with as_control():
        outbox.drain(tenant.id)
        with tenant_scope(tenant.id):
            events.publish(events.TenantCreated(tenant_id=tenant.id))
        assert outbox.relay(lambda message_id, tenant_id: seen.append(message_id)) == 1
        assert outbox.relay(lambda message_id, tenant_id: seen.append(message_id)) == 0
        message_id = seen[0]
        assert outbox.deliver(message_id, tenant.id) is True  # type: ignore[arg-type]
        assert outbox.deliver(message_id, tenant.id) is False  # type: ignore[arg-type]
        with tenant_scope(tenant.id):
            assert not OutboxMessage.objects.filter(delivered_at__isnull=True).exists()


def test_a_failed_wake_up_is_sent_again_in_the_next_round(as_control) -> None:  # type: ignore[no-untyped-def]
    tenant = factories.make_tenant()

    def broken(message_id: object, tenant_id: object) -> None:
        raise ConnectionError

    rung: list[object] = []
    with as_control():
        with pytest.raises(ConnectionError):
            outbox.relay(broken)
        assert outbox.relay(lambda message_id, tenant_id: rung.append(tenant_id)) >= 1
    assert tenant.id in rung


def test_a_tenant_is_created_once() -> None:
    factories.make_tenant("vision")
    with pytest.raises(operations.TenantExists):
        factories.make_tenant("vision")
    with all_tenants("count"):
        assert not Tenant.objects.filter(slug="vision").exists()  # no scope: the web role sees none


def test_housekeeping_removes_what_has_served_its_time(as_control, demo_clock) -> None:  # type: ignore[no-untyped-def]
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        IdempotencyKey.objects.create(actor_id=actor.id, key="old", request_hash=b"")
    with as_control():
        outbox.drain(tenant.id)
        assert sum(cleanup.purge_expired().values()) == 0
        demo_clock.advance(timedelta(days=31))
        removed = cleanup.purge_expired()
    assert removed["events"] == 1
    assert removed["idempotency keys"] == 1


def test_credentials_go_ninety_days_after_their_end_and_what_made_others_goes_last(as_control, demo_clock) -> None:  # type: ignore[no-untyped-def]
    tenant = factories.make_tenant()
    ended = {"revoked_at": now(), "scopes": [], "key_hash": b"x", "created_by": "ada@vision.example"}
    with tenant_scope(tenant.id):
        creator = ApiKey.objects.create(name="creator", prefix="a", **ended)
        ApiKey.objects.create(name="lives", prefix="b", **ended | {"revoked_at": None})
        made = ApiKey.objects.create(name="made", prefix="c", parent_key=creator, **ended)
        kept = {"token_hash": b"x", "role": "viewer", "expires_at": now()}
        Invitation.objects.create(email="a@b.example", parent_key=made, **kept)

    def removed(days: int) -> tuple[int, int]:
        demo_clock.advance(timedelta(days=days))
        with as_control():
            gone = cleanup.purge_expired()
        return gone["invitations"], gone["API keys"]

    assert [removed(days) for days in (89, 2, 0, 0)] == [(0, 0), (1, 1), (0, 1), (0, 0)]
    with tenant_scope(tenant.id):
        assert list(ApiKey.objects.values_list("name", flat=True)) == ["lives"]


def test_notifications_go_once_they_are_read_or_a_year_old(as_control) -> None:  # type: ignore[no-untyped-def]
    tenant = factories.make_tenant()
    member = factories.make_member(tenant, "engineer")
    days = ((91, 91), (200, 89), (399, None), (401, None))
    with tenant_scope(tenant.id):
        for made, read in days:
            row = {"created_at": now() - timedelta(days=made), "read_at": read and now() - timedelta(days=read)}
            Notification.objects.create(user=member, kind="k", title=f"{made} {read}", **row)
    with as_control():
        assert cleanup.purge_expired()["notifications"] == 2
    with tenant_scope(tenant.id):
        assert set(Notification.objects.values_list("title", flat=True)) == {"200 89", "399 None"}


@pytest.mark.django_db
def test_a_time_zone_does_not_lead_back_to_a_month_that_is_over(demo_clock) -> None:  # type: ignore[no-untyped-def]
    demo_clock.move_to(datetime(2026, 11, 1, 1, tzinfo=UTC))
    tenant = factories.make_tenant(timezone="UTC")
    actor = factories.actor_for(tenant)
    with pytest.raises(Invalid) as refused:
        operations.change_tenant(actor=actor, name=tenant.name, timezone="Pacific/Honolulu")
    assert "still October" in refused.value.fields["timezone"][0]
    assert operations.change_tenant(actor=actor, name=tenant.name, timezone="Asia/Tokyo")
    demo_clock.move_to(datetime(2026, 11, 1, 11, tzinfo=UTC))
    assert operations.change_tenant(actor=actor, name=tenant.name, timezone="Pacific/Honolulu")
