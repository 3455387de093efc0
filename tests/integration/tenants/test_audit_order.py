"""The head of a tenant's chain is locked last: concurrent operations never deadlock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import connection, transaction

from tenants import operations
from tenants.access.actor import Actor
from tenants.audit import AuditAction, MissingAuditEntry, operation, record
from tenants.audit.verify import verify
from tenants.isolation.scoping import NoTenantScope, before_commit, tenant_scope
from tenants.models import AuditEntry, Project, Tenant
from tests.support import factories

WAIT_S = 30


def in_thread(act: Callable[[], object], faults: list[BaseException]) -> threading.Thread:
    """Start a function with its own connection; its exception is kept."""

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (the test looks at it)
            faults.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def targets(tenant: Tenant) -> list[tuple[int, str]]:
    """Return number and target of each entry, and verify the chain."""
    with tenant_scope(tenant.id):
        assert verify().ok
        return list(AuditEntry.objects.order_by("seq").values_list("seq", "target_label"))[1:]


@pytest.mark.django_db(transaction=True)
def test_an_operation_in_a_long_scope_blocks_no_other() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    faults: list[BaseException] = []
    with tenant_scope(tenant.id):
        operations.create_project(actor=actor, slug="first", name="First")
        other = in_thread(lambda: operations.create_project(actor=actor, slug="second", name="Second"), faults)
        other.join(WAIT_S)
        ended = not other.is_alive()
    other.join(WAIT_S)
    assert (ended, faults) == (True, [])
    assert targets(tenant) == [(2, "second"), (3, "first")]


@pytest.mark.django_db(transaction=True)
def test_an_operation_that_waits_for_a_row_after_its_entry_does_not_deadlock() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    project_id = factories.default_project_id(tenant)
    locked, entered = threading.Event(), threading.Event()
    faults: list[BaseException] = []

    def lock() -> None:
        Project.objects.select_for_update(no_key=True).get(id=project_id)

    def row_then_entry() -> None:
        with tenant_scope(tenant.id):
            lock()
            locked.set()
            assert entered.wait(WAIT_S)
            operations.create_project(actor=actor, slug="second", name="Second")

    holder = in_thread(row_then_entry, faults)
    with tenant_scope(tenant.id):
        assert locked.wait(WAIT_S)
        operations.create_project(actor=actor, slug="first", name="First")
        entered.set()
        lock()
    holder.join(WAIT_S)
    assert faults == []
    assert targets(tenant) == [(2, "second"), (3, "first")]


@pytest.mark.django_db
def test_a_rolled_back_operation_leaves_no_entry() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)

    @transaction.atomic
    def undone() -> None:
        operations.create_project(actor=actor, slug="undone", name="Undone")
        raise ZeroDivisionError

    with tenant_scope(tenant.id):
        operations.create_project(actor=actor, slug="kept", name="Kept")
        with pytest.raises(ZeroDivisionError):
            undone()
        operations.create_project(actor=actor, slug="also", name="Also kept")
    assert targets(tenant) == [(2, "kept"), (3, "also")]


@pytest.mark.django_db
def test_an_operation_whose_entry_was_undone_fails() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    done = AuditAction("tests.thing.swallowed")

    @operation(done)
    def swallows(*, actor: Actor) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            record(done, actor=actor)
            raise ZeroDivisionError
        Project.objects.create(slug="unaudited", name="x")

    with pytest.raises(MissingAuditEntry):
        swallows(actor=actor)
    with tenant_scope(tenant.id):
        assert not Project.objects.filter(slug="unaudited").exists()


@pytest.mark.django_db
def test_what_is_put_off_is_done_once_and_together() -> None:
    tenant = factories.make_tenant()
    done: list[list[int]] = []
    with pytest.raises(NoTenantScope):
        before_commit(done.append, 0)
    with tenant_scope(tenant.id):
        before_commit(done.append, 1)
        with tenant_scope(tenant.id):
            before_commit(done.append, 2)
        assert done == []
    with suppress(ZeroDivisionError), tenant_scope(tenant.id):
        before_commit(done.append, 3)
        raise ZeroDivisionError
    with tenant_scope(tenant.id):
        before_commit(done.append, 4)
        transaction.set_rollback(True)
    assert done == [[1, 2]]
