"""A closed tenant is erased by order: files, keys, people and contents go, usage and ledger stay and verify."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.db.models import TextField, Value
from django.db.models.functions import Cast, Concat, Right

from billing.approving import acts as approving
from billing.budgets import holds
from billing.metering.metering import record_usage
from billing.models import Hold, LedgerPosting, UsageRollup
from billing.money import Money
from compute.models import Job
from models_app.erasure import erasing, words
from models_app.exports import contents
from models_app.models import Dataset, DatasetVersion
from models_app.object_store import storage
from tenants import quotas
from tenants.access.actor import Actor
from tenants.audit.subjects import ERASED
from tenants.clock import now
from tenants.encryption import data_key
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import (
    Approval,
    AuditEntry,
    AuditSubject,
    Membership,
    OperatorAct,
    PlatformEvent,
    QuotaCeiling,
    Tenant,
    TenantExport,
    TenantKey,
    User,
)
from tenants.operators import lifecycle
from tests.api.objects import one_of_everything
from tests.support import factories, selling
from tests.support.erasure.ended import end_work
from tests.support.pages import text_of
from tests.support.selling import provision_defaults
from tests.support.usage import interval

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
LEFT = "leaver.lind"
SELLER, OTHER = "olga@seller.example", "otto@seller.example"
TYPED = {"name": "Vision", "reason": "Asked for in writing"}


@pytest.fixture
def vision(s3: Any) -> Tenant:
    tenant = factories.make_tenant("vision", owner="owner@vision.example")
    ids = one_of_everything(tenant)
    leaver = factories.make_member(tenant, "admin", f"{LEFT}@vision.example")
    end_work(tenant, ids, leaver)
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        provision_defaults(tenant.id)
        held = holds.hold(project_id=project, subject="job:1", amount=Money(Decimal(1), "EUR"))
        record_usage([interval(project, now(), 30)], hold_id=held)
        Dataset.objects.update(created_by_label=leaver.email)
        Hold.objects.update(placed_by=leaver.email)
        between = approving.KIND
        asked = {"target": "INV-1", "wanted": {}, "reason": "Wrong", "expires_at": now(), "side": "operators"}
        Approval.objects.create(kind=between, requester_label=SELLER, answered_by_label=OTHER, **asked)
        members.remove_member(actor=Actor.system(tenant.id, "test"), user_id=leaver.id)
    with selling.as_control(), tenant_scope(tenant.id):
        operator = Actor.system(tenant.id, "operator")
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=4, reason="As agreed")
        QuotaCeiling.objects.update(set_by=SELLER)
    other = factories.make_tenant("audio", owner="owner@audio.example")
    for one in (tenant, other):
        storage.put(one.id, storage.new_key(one.id, "d"), io.BytesIO(b"rows of a data set"))
    return tenant


@pytest.fixture
def closed(vision: Tenant, seller: Any, demo_clock: Any, as_control: Role) -> Any:
    """The console of an administrator, who has closed the tenant."""
    admin = seller("platform_admin")
    admin.post(f"/tenants/{vision.id}/close/", {"reason": "Contract has ended"})
    refused = admin.post(f"/tenants/{vision.id}/erase/", TYPED)
    assert (refused.status_code, "wait for seven days" in text_of(refused)) == (422, True)
    demo_clock.advance(timedelta(days=7, minutes=1))
    with as_control():
        assert lifecycle.close_due() == 1
    return seller("platform_admin")


def verified() -> None:
    for command in ("verify_ledger", "verify_audit", "reconcile"):
        call_command(command, stdout=io.StringIO())


def counts(tenant: Tenant) -> dict[str, int]:
    with tenant_scope(tenant.id):
        return {
            "members": Membership.objects.count(),
            "keys": TenantKey.objects.count(),
            "labels": AuditSubject.objects.filter(erased_at=None).count(),
            "objects": len(list(storage.listing(tenant.id))),
            "postings": LedgerPosting.objects.count(),
            "rollups": UsageRollup.objects.count(),
        }


def test_files_keys_and_people_go_and_the_books_stay_and_verify(
    vision: Tenant, closed: Any, as_control: Role, console: Role
) -> None:
    other = None
    with as_control():
        other = Tenant.objects.get(slug="audio")
    before, others = counts(vision), counts(other)
    assert min(before.values()) > 0
    closed.prove(factories.PASSWORD)
    assert closed.post(f"/tenants/{vision.id}/erase/", TYPED).status_code == 302
    again = closed.post(f"/tenants/{vision.id}/erase/", TYPED)
    assert (again.status_code, "ordered already" in text_of(again)) == (422, True)
    with as_control():
        assert erasing.run() == 1
        assert erasing.run() == 0
    after = counts(vision)
    assert after == {**dict.fromkeys(before, 0), "postings": before["postings"], "rollups": before["rollups"]}
    assert counts(other) == others
    with as_control():
        verified()
        left = {table._meta.db_table for table in contents.tenant_tables() if found(vision, table, LEFT)}
        assert left == set(), "who left before is forgotten too"
        events = list(PlatformEvent.objects.order_by("id").values_list("type", "about", "data"))
    assert events[-1] == ("organisation.erased", vision.id, {})
    assert not User.objects.filter(email="owner@vision.example").exists()
    with tenant_scope(vision.id):
        assert list(DatasetVersion.objects.exclude(columns=[])) == []
        assert set(QuotaCeiling.objects.values_list("set_by", flat=True)) == {SELLER}, "operators answer for it"
        signed = Approval.objects.order_by("id").values_list("requester_label", "answered_by_label")
        assert sorted(signed) == [(ERASED, ERASED), (SELLER, OTHER)]
        last = AuditEntry.objects.order_by("-seq")[0]
        assert last.action == "tenants.erasure.finished"
        assert "owner@vision.example" not in str(list(AuditEntry.objects.values()))
    with console():
        assert OperatorAct.objects.filter(action="tenants.erasure.ordered", reason=TYPED["reason"]).count() == 1
    assert "It was erased" in text_of(closed.get(f"/tenants/{vision.id}/"))
    with tenant_scope(vision.id):
        assert set(TenantExport.objects.values_list("state", "name")) == {("expired", "")}


def test_names_that_the_tenant_gave_stay_in_usage_and_the_log_alone(
    vision: Tenant, closed: Any, as_control: Role
) -> None:
    named = [table for table, said in words.OVERWRITTEN.items() if "name" in said]
    with as_control(), tenant_scope(vision.id):
        for table in named:
            table._default_manager.update(name=Concat(Value("hush-"), Right(Cast("id", TextField()), 12)))
        Job.objects.update(spec={"text": "hush"}, message="hush", tags={"a": "hush"})
    assert {table._meta.db_table for table in contents.tenant_tables() if found(vision, table, "hush")} >= {
        *("compute_job", "tenants_project", "compute_attempt", "compute_allocation"),
    }
    closed.prove(factories.PASSWORD)
    closed.post(f"/tenants/{vision.id}/erase/", TYPED)
    with as_control():
        assert erasing.run() == 1
        left = {table._meta.db_table for table in contents.tenant_tables() if found(vision, table, "hush")}
    assert left <= {"billing_usageseries", "billing_hold", "tenants_auditentry"}, left


def found(tenant: Tenant, table: Any, word: str) -> bool:
    """Return whether a row of the tenant holds a word; no for what this role does not read."""
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        name = connection.ops.quote_name(table._meta.db_table)
        cursor.execute("SELECT has_table_privilege(%s, 'SELECT')", [table._meta.db_table])
        if not (cursor.fetchone() or (False,))[0]:
            return False
        cursor.execute(f"SELECT EXISTS (SELECT FROM {name} t WHERE t::text LIKE %s)", [f"%{word}%"])
        (held,) = cursor.fetchone() or (False,)
    return bool(held)


def test_an_erasure_that_is_interrupted_goes_on(
    vision: Tenant, closed: Any, as_control: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed.prove(factories.PASSWORD)
    closed.post(f"/tenants/{vision.id}/erase/", TYPED)

    def fails(*_: object) -> None:
        raise storage.StorageUnavailable

    with as_control(), monkeypatch.context() as broken:
        broken.setattr(storage, "delete", fails)
        with pytest.raises(SweepFailed):
            erasing.run()
    assert counts(vision)["keys"] == 1, "the keys go last"

    def stops(**_: object) -> None:
        raise RuntimeError("killed")

    with as_control(), monkeypatch.context() as broken:
        broken.setattr(erasing, "_finish", stops)
        with pytest.raises(SweepFailed):
            erasing.run()
    assert (counts(vision)["members"], counts(vision)["keys"]) == (0, 1)
    with as_control():
        assert erasing.run() == 1
        verified()


def test_only_a_closed_tenant_is_erased_by_an_administrator_who_types_its_name(
    vision: Tenant, closed: Any, seller: Any, as_control: Role
) -> None:
    for wrong in ({**TYPED, "name": "vision"}, {**TYPED, "reason": ""}, {"reason": "Why not"}):
        assert closed.post(f"/tenants/{vision.id}/erase/", wrong).status_code == 422
    for role in ("platform_support", "platform_finance"):
        assert seller(role).post(f"/tenants/{vision.id}/erase/", TYPED).status_code == 403
    with as_control():
        assert erasing.run() == 0
    api = f"/api/operator/v1/tenants/{vision.id}/erase/"
    early = closed.post(api, TYPED, content_type="application/json")
    assert (early.status_code, early.json()["code"]) == (403, "reauthentication_required")
    closed.prove(factories.PASSWORD)
    answer = closed.post(api, TYPED, content_type="application/json")
    assert (answer.status_code, answer.json()["erase_ordered_at"] is None) == (200, False)


def test_a_password_from_long_ago_erases_nothing_and_once_it_is_entered_the_order_goes_on(
    vision: Tenant, closed: Any, as_control: Role
) -> None:
    asked = closed.post(f"/tenants/{vision.id}/erase/", TYPED)
    assert (asked.status_code, asked["Location"].startswith("/accounts/reauthenticate/?next=")) == (302, True)
    with as_control():
        assert Tenant.objects.get(id=vision.id).erase_ordered_at is None
    where = asked["Location"]
    done = closed.post(where, {"password": factories.PASSWORD})
    assert (done.status_code, done["Location"]) == (302, f"/tenants/{vision.id}/")
    with as_control():
        assert Tenant.objects.get(id=vision.id).erase_ordered_at is not None


def test_the_database_keeps_the_keys_of_every_other_tenant(vision: Tenant, as_control: Role) -> None:
    data_key(vision.id)
    with as_control(), tenant_scope(vision.id), connection.cursor() as cursor:
        cursor.execute("SELECT exchequer_destroy_data_keys(%s)", [vision.id])
        assert cursor.fetchone() == (0,)
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute("DELETE FROM tenants_datakey")
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute("UPDATE tenants_tenant SET erase_ordered_at = exchequer_now() WHERE id = %s", [vision.id])
    with tenant_scope(vision.id), connection.cursor() as cursor, pytest.raises(ProgrammingError), transaction.atomic():
        cursor.execute("SELECT exchequer_destroy_data_keys(%s)", [vision.id])
