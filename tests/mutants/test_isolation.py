"""Mutants of the second mechanism of isolation, and of the first: each policy dropped or opened, and every filter dropped (T11)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import ProgrammingError, transaction
from django.test import Client

from tenants.isolation.scoping import TenantManager, TenantModel, TenantQuerySet, current_tenant_id, tenant_scope
from tests.api import test_matrix
from tests.api.objects import one_of_everything
from tests.architecture.locks import policy_faults
from tests.architecture.test_database import TENANT_TABLES
from tests.support import factories

pytestmark = [pytest.mark.nightly, pytest.mark.django_db]
RLS_STOPS_PERCENT = 90


def test_each_policy_that_is_dropped_or_opened_is_noticed(superuser: psycopg.Connection) -> None:
    mutants, survived = 0, []
    for oid, table, _, _, partition in superuser.execute(TENANT_TABLES).fetchall():
        if partition:
            continue  # no role has a right on it: rows are reached through its parent
        policies = "SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = %s"
        for name, shows in superuser.execute(policies, [oid]).fetchall():
            changes = [f"DROP POLICY {name} ON {table}"]
            changes += [f"ALTER POLICY {name} ON {table} USING (true)"] if shows not in (None, "true") else []
            for change in changes:
                mutants += 1
                with superuser.transaction(force_rollback=True):
                    superuser.execute(change)
                    if not policy_faults(superuser, oid, table, partition=False):
                        survived.append(change)
    assert mutants > 150
    assert survived == []


def without_filter(manager: TenantManager[Any]) -> TenantQuerySet[Any]:
    current_tenant_id()
    return TenantQuerySet(manager.model, using=manager._db)


def test_row_security_alone_shows_no_row_of_another_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    for tenant in (ours, theirs):
        one_of_everything(tenant)
    monkeypatch.setattr(TenantManager, "get_queryset", without_filter)
    shown, leaking = [], []
    with tenant_scope(ours.id):
        for model in [one for one in apps.get_models() if issubclass(one, TenantModel)]:
            try:
                with transaction.atomic():
                    tenants = set(model.objects.values_list("tenant_id", flat=True))
            except ProgrammingError:
                continue  # the web's role does not read it at all
            shown += [model.__name__] if ours.id in tenants else []
            leaking += [model.__name__] if tenants - {ours.id} else []
    assert len(shown) >= 30
    assert 100 * len(leaking) <= (100 - RLS_STOPS_PERCENT) * len(shown), leaking


def test_row_security_alone_answers_a_foreign_object_like_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request of the matrix, which the web's role answers, without a filter."""
    filtered, asked, call = TenantManager.get_queryset, [], test_matrix.call

    def unfiltered(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        asked.append(path)
        TenantManager.get_queryset = without_filter  # type: ignore[assignment, method-assign]
        try:
            return call(client, method, path, body)
        finally:
            TenantManager.get_queryset = filtered  # type: ignore[method-assign]

    monkeypatch.setattr(test_matrix, "call", unfiltered)
    test_matrix.test_a_foreign_object_is_answered_exactly_like_a_missing_one()
    assert len(asked) > 200
