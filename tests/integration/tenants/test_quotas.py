"""Limits by scope and period, the operators' ceilings, and raises that end by themselves."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction

from tenants import quotas
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.errors import Invalid, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Quota, QuotaCeiling, Tenant
from tenants.quotas import ORGANISATION, QuotaExceeded, QuotaUse, Scope, Scopes
from tenants.quotas.ceilings import NothingToRaise
from tenants.quotas.limits import AboveCeiling
from tests.support import factories

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
CPU, SLOTS = "devices:cpu", "devices:serving"


def use(tenant: Tenant, resource: str = SLOTS, scope: Scope = ORGANISATION) -> QuotaUse:
    with tenant_scope(tenant.id):
        return next(one for one in quotas.everywhere() if (one.resource, one.scope) == (resource, scope))


def last_entry(tenant: Tenant) -> AuditEntry:
    with tenant_scope(tenant.id):
        return AuditEntry.objects.order_by("-seq")[0]


def ceiling(tenant: Tenant, limit: int | None, **more: Any) -> quotas.CeilingRow:
    operator = Actor.system(tenant.id, "operator")
    return quotas.set_ceiling(actor=operator, resource=SLOTS, limit=limit, reason="the pool is small", **more)


@pytest.mark.parametrize("scope", ["tenant", "project", "person"])
def test_a_limit_of_any_scope_refuses_what_exceeds_it_and_names_it(scope: str) -> None:
    tenant = factories.make_tenant()
    owner, project = factories.actor_for(tenant), factories.default_project_id(tenant)
    whose = {"tenant": ORGANISATION, "project": Scope(project_id=project), "person": Scope(person=owner.id)}[scope]
    quotas.set_limit(actor=owner, resource=SLOTS, limit=2, scope=whose)
    of = Scopes(project, owner.id)
    with tenant_scope(tenant.id):
        quotas.reserve(resource=SLOTS, subject="a:1", of=of)
        quotas.reserve(resource=SLOTS, subject="a:2", of=of)
        with pytest.raises(QuotaExceeded) as refused:
            quotas.reserve(resource=SLOTS, subject="a:3", of=of)
        assert refused.value.extra["scope"] == whose.text
        assert (refused.value.extra["limit"], refused.value.extra["left"]) == (2, 0)
        assert "ask an owner or admin to raise the quota" in refused.value.message
        assert {one.in_use for one in quotas.everywhere()} == {2}, "a refusal counts nowhere"
        quotas.release(subject="a:1")
        quotas.release(subject="a:1")
        quotas.reserve(resource=SLOTS, subject="a:3", of=of)


def test_the_web_role_reads_ceilings_and_never_writes_one(as_control: Any) -> None:
    tenant = factories.make_tenant()
    with as_control():
        ceiling(tenant, 3)
    attempts = (
        lambda: ceiling(tenant, 9),
        lambda: QuotaCeiling.objects.update(limit=9),
        lambda: QuotaCeiling.objects.all().delete(),
    )
    for attempt in attempts:
        with tenant_scope(tenant.id), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            attempt()
    assert use(tenant).ceiling == 3


def test_no_limit_of_the_organisation_exceeds_the_ceiling(as_control: Any) -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    with as_control():
        ceiling(tenant, 3)
    assert last_entry(tenant).action == "tenants.quota_ceiling.changed"
    assert last_entry(tenant).reason == "the pool is small"
    project = Scope(project_id=factories.default_project_id(tenant))
    for scope in (ORGANISATION, project):
        with pytest.raises(AboveCeiling, match="allow 3 of Serving slots for the whole organisation"):
            quotas.set_limit(actor=owner, resource=SLOTS, limit=4, scope=scope)
    assert quotas.set_limit(actor=owner, resource=SLOTS, limit=3).effective == 3


def test_a_ceiling_lowered_below_a_limit_binds_and_both_are_shown(as_control: Any) -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    quotas.set_limit(actor=owner, resource=SLOTS, limit=5)
    with as_control():
        ceiling(tenant, 1)
    shown = use(tenant)
    assert (shown.limit, shown.ceiling, shown.effective, shown.clamped) == (5, 1, 1, True)
    with tenant_scope(tenant.id):
        quotas.reserve(resource=SLOTS, subject="a:1")
        with pytest.raises(QuotaExceeded, match="ask the operators of this installation to raise the ceiling"):
            quotas.reserve(resource=SLOTS, subject="a:2")
    with as_control():
        ceiling(tenant, None)
    assert use(tenant).effective == 5


def test_a_ceiling_without_a_limit_binds_and_is_listed(as_control: Any) -> None:
    tenant = factories.make_tenant()
    with as_control():
        ceiling(tenant, 0)
    assert (use(tenant).limit, use(tenant).effective) == (None, 0)
    with tenant_scope(tenant.id), pytest.raises(QuotaExceeded):
        quotas.reserve(resource=SLOTS, subject="a:1")


def test_a_raise_ends_by_itself_and_with_a_new_limit(demo_clock: DemoClock) -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    with pytest.raises(NothingToRaise, match="no limit to raise"):
        quotas.raise_until(actor=owner, resource=SLOTS, limit=4, until=now() + timedelta(days=1))
    quotas.set_limit(actor=owner, resource=SLOTS, limit=1)
    raised = quotas.raise_until(actor=owner, resource=SLOTS, limit=4, until=now() + timedelta(days=1), reason="a demo")
    assert (raised.limit, raised.effective) == (1, 4)
    assert last_entry(tenant).changes["limit"] == [1, 4]
    for limit, days in ((3, 9), (4, 1), (6, 0.5)):
        with pytest.raises(Invalid) as less:
            quotas.raise_until(
                actor=owner, resource=SLOTS, limit=limit, until=now() + timedelta(days=days) - timedelta(minutes=1)
            )
        assert "It is raised to 4 until" in str(less.value.fields)
    demo_clock.advance(timedelta(days=2))
    assert use(tenant).effective == 1
    quotas.raise_until(actor=owner, resource=SLOTS, limit=4, until=now() + timedelta(days=1))
    assert quotas.set_limit(actor=owner, resource=SLOTS, limit=2).effective == 2


def test_a_change_is_audited_with_before_and_after_and_whose_it_is() -> None:
    tenant = factories.make_tenant()
    owner = factories.actor_for(tenant)
    project = factories.make_project(tenant, "speech")
    quotas.set_limit(actor=owner, resource=CPU, limit=4, scope=Scope(project_id=project.id))
    share = quotas.Share(guaranteed=2, weight=3)
    quotas.set_limit(actor=owner, resource=CPU, limit=6, scope=Scope(project_id=project.id), share=share)
    entry = last_entry(tenant)
    assert entry.target_label == "CPU devices of project A project"
    assert entry.changes == {"limit": [4, 6], "guaranteed": [0, 2], "weight": [1, 3]}


def test_the_console_sets_ceilings_and_no_limits(as_operator: Any) -> None:
    tenant = factories.make_tenant()
    quotas.set_limit(actor=factories.actor_for(tenant), resource=SLOTS, limit=5)
    with as_operator():
        assert ceiling(tenant, 4).limit == 4
        assert ceiling(tenant, 3, guaranteed=2, weight=2).set_by == "operator"
        with pytest.raises(DatabaseError, match="permission denied"), tenant_scope(tenant.id):
            Quota.objects.update(limit=9)
    assert (use(tenant).limit, use(tenant).effective) == (5, 3)
    assert last_entry(tenant).changes == {"limit": [4, 3], "guaranteed": [0, 2], "weight": [1, 2]}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": 2**60}, "limit"),
        ({"share": quotas.Share(guaranteed=5)}, "guaranteed"),
        ({"share": quotas.Share(weight=0)}, "guaranteed"),
        ({"resource": "devices:tpu"}, "resource"),
    ],
)
def test_a_wrong_limit_is_refused_by_name(more: dict[str, Any], field: str) -> None:
    tenant = factories.make_tenant()
    with pytest.raises(Invalid) as refused:
        quotas.set_limit(**{"actor": factories.actor_for(tenant), "resource": CPU, "limit": 4, **more})
    assert list(refused.value.fields) == [field]
    with tenant_scope(tenant.id):
        assert not Quota.objects.exists()


def test_only_those_who_manage_quotas_change_one() -> None:
    tenant = factories.make_tenant()
    for role in ("viewer", "engineer", "finance"):
        with pytest.raises(PermissionDenied):
            quotas.set_limit(actor=factories.actor_for(tenant, role), resource=CPU, limit=4)


def test_the_controller_sees_quotas_of_all_and_the_web_role_of_one() -> None:
    first, second = factories.make_tenant(), factories.make_tenant()
    for tenant in (first, second):
        quotas.set_limit(actor=factories.actor_for(tenant), resource=CPU, limit=4)
    with tenant_scope(first.id), connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT tenant_id) FROM tenants_quota")
        assert cursor.fetchone() == (1,)


def test_parts_of_a_resource_count_exactly() -> None:
    tenant = factories.make_tenant()
    quotas.set_limit(actor=factories.actor_for(tenant), resource=SLOTS, limit=1)
    with tenant_scope(tenant.id):
        for number in range(10):
            quotas.reserve(resource=SLOTS, subject=f"a:{number}", amount=Decimal("0.1"))
        with pytest.raises(QuotaExceeded, match=r"1 of 1 in use in the organisation, 0\.001 more requested"):
            quotas.reserve(resource=SLOTS, subject="a:10", amount=Decimal("0.001"))
        for number in range(10):
            assert use(tenant).in_use == Decimal(10 - number) / 10
            quotas.release(subject=f"a:{number}")
        assert use(tenant).in_use == 0
