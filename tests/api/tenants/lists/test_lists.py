"""Every list of the API takes few statements, and no more for many rows than for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.budgets import budgets
from billing.metering.metering import record_usage
from compute.devices.base import Found
from compute.fleet import nodes
from tenants import operations
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.clock import now
from tenants.encryption import platform_secrets
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant, User
from tenants.operators import grants, keys
from tenants.operators.operator import Operator
from tenants.sharing import shares
from tests.api.objects import one_of_everything
from tests.api.tenants.console.test_console_matrix import MATRIX, START
from tests.api.tenants.lists.copies import add_row, copy_rows, copy_with
from tests.api.test_matrix import API, path_of
from tests.support import factories
from tests.support.usage import interval

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
#: The statement that enters, and two more.
MOST = 3
HIDDEN = (
    "for a reader from whom projects are hidden it asks for their ids: it groups and names by more than a condition"
)
DRAFT = "a draft is computed from contract, tax rates, credit and usage, which share nothing"
#: Lists that take more, and why.
MORE = {
    "audit/": (4, "the names of people are encrypted: what else an entry names is looked for in texts that have them"),
    "quotas/": (4, HIDDEN),
    "usage/": (4, HIDDEN),
    "spend/": (4, HIDDEN),
    "usage/batches/<uuid:batch_id>/": (4, "a page of one object: itself, its events, and those of them that are void"),
    "invoices/": (6, DRAFT),
    "invoices/<uuid:invoice_id>/lines/": (6, DRAFT),
    "invoices/<uuid:invoice_id>/lines/<int:n>/explain/": (8, f"{DRAFT}; then shares and intervals of a line"),
    "chargeback/": (10, f"a report of a month. {DRAFT}"),
    "chargeback/shared/": (12, f"a report of a month. {DRAFT}"),
    "job-sets/<uuid:job_set_id>/jobs/": (4, "the jobs, what stands beside them, and what they measured last"),
    "utilisation/": (6, "a report: time of allocations, of the pool and of the quota"),
}
#: Lists of what a test does not multiply: what is one for an organisation or in force, fixed sets, steps of time, one's
#: own log-ins, and figures of a bill.
FEW = {
    *("contract/", "price-books/", "commitments/", "wallet/movements/"),
    *("webhooks/types/", "recipes/", "notifications/choices/"),
    *("endpoints/<uuid:endpoint_id>/traffic/", "utilisation/", "sessions/", "idle/"),
    *("chargeback/", "chargeback/shared/", "usage/batches/<uuid:batch_id>/"),
    "invoices/<uuid:invoice_id>/lines/<int:n>/explain/",
}
#: Of the console: three that find out who asks, and two more.
MOST_OF_THE_CONSOLE = 5
ONE = "of one organisation, which is found first and whose scope is opened"
MORE_OF_THE_CONSOLE = {
    "operators/": (6, "accounts, their roles, and their second factors: tables of three apps"),
    "invoices/<uuid:invoice_id>/lines/": (10, f"{ONE}; {DRAFT}"),
    **{
        f"{of}/": (7, ONE)
        for of in (
            *("tenants/<uuid:tenant_id>/contracts", "tenants/<uuid:tenant_id>/quotas"),
            *(f"invoices/<uuid:invoice_id>/{part}" for part in ("credit-notes", "mark-paid", "comments", "deferrals")),
        )
    },
}
TENANTS = [route for route, methods in API.items() if "GET" in methods]
CONSOLE = [route for route, method in MATRIX if method == "get"]
QUERY = {"usage/": "&group_by=project", "spend/": "&group_by=project"}
COPIES = 19


def test_a_list_takes_two_statements_after_the_one_that_enters_and_no_more_for_many_rows(
    superuser: psycopg.Connection[Any],
) -> None:
    """One decides who sees a row; the other reads what stands beside those of the page. For keys, and for sessions."""
    tenant = factories.make_tenant()
    ids = one_row_of_each_list(tenant, superuser)
    asked = [Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"}), Client()]
    asked[1].force_login(factories.make_member(tenant, "viewer"))
    asked[1].get(f"/t/{tenant.slug}/")  # the session says that it is in this tenant
    asked[0].get("/api/v1/me/")  # the use of a key is noted once a minute
    few = {one: list(measured(client, ids)) for one, client in enumerate(asked)}
    many_rows(tenant, ids, superuser)
    rows: dict[str, tuple[int, int]] = {}
    faults = []
    for one, client in enumerate(asked):
        for (route, before, first), (_, after, second) in zip(few[one], measured(client, ids), strict=True):
            rows[route] = max(rows.get(route, (0, 0)), (before, after), key=lambda found: found[1] - found[0])
            if len(second) > MORE.get(route, (MOST, ""))[0] or len(second) > len(first):
                faults.append((route, len(first), second))
    assert faults == []
    assert len(rows) > 50
    assert {route for route, (before, after) in rows.items() if after < before + COPIES} == FEW


def test_a_list_of_the_console_takes_two_statements_after_the_three_that_enter_and_no_more_for_many_rows(
    superuser: psycopg.Connection[Any], console: Role, as_control: Role
) -> None:
    tenant, email = factories.make_tenant(), "root@platform.example"
    ids = {**missing_in_console(), **one_of_everything(tenant), "tenant_id": tenant.id}
    with as_control():
        platform_secrets.provide()
        for role in OPERATOR_ROLES:
            grants.grant(email, role, password=factories.PASSWORD)
    with console():
        operator = Operator(id=User.objects.get(email=email).id, label=email, roles=tuple(OPERATOR_ROLES))
        secret = keys.create(operator=operator, name="lists", roles=list(OPERATOR_ROLES)).secret
        client = Client(headers={"Authorization": f"Bearer {secret}"})
        few = list(measured(client, ids, CONSOLE, START))
    copy_rows(superuser, tenant.id, COPIES)
    [factories.make_tenant() for _ in range(COPIES)]
    with console():
        many = list(measured(client, ids, CONSOLE, START))
    faults, grown = [], set()
    for (route, before, first), (_, after, second) in zip(few, many, strict=True):
        grown |= {route} if after >= before + COPIES else set()
        if len(second) > MORE_OF_THE_CONSOLE.get(route, (MOST_OF_THE_CONSOLE, ""))[0] or len(second) > len(first):
            faults.append((route, len(first), second))
    assert faults == []
    assert len(few) > 20
    assert grown >= {"contracts/", "invoices/", "disputes/", "reconciliation/"}


def measured(
    client: Client, ids: dict[str, UUID], routes: Iterable[str] = TENANTS, prefix: str = "api/v1/"
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield each list that a client may read, with the number of its rows and its statements."""
    for route in routes:
        path = path_of(f"/{prefix}", route.replace("<str:period>", "2026-01"), ids)
        with CaptureQueriesContext(connection) as captured:
            answer: Any = client.get(f"{path}?limit=200{QUERY.get(route, '')}")
        listed = answer.json() if answer.status_code == 200 and answer["Content-Type"] == "application/json" else {}
        if "results" in listed:
            yield route, len(listed["results"]), [query["sql"] for query in captured if is_own(query["sql"])]


def missing_in_console() -> dict[str, UUID]:
    return {name: uuid4() for name in ("look_id", "payment_id", "block_id", "rate_id", "device_id")}


def is_own(statement: str) -> bool:
    """Return whether a statement neither begins nor ends a transaction or its scope."""
    ends = "set_config('app.tenant', '', true)" in statement
    return not ends and not statement.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))


def one_row_of_each_list(tenant: Tenant, superuser: psycopg.Connection[Any]) -> dict[str, UUID]:
    ids, actor = one_of_everything(tenant), factories.actor_for(tenant)
    hidden, project, at = factories.make_project(tenant, "hidden"), ids["project_id"], now()
    operations.change_project(actor=actor, project_id=hidden.id, restricted=True)
    budgets.create_budget(actor=actor, amount=Decimal(1000), at_limit="notify", project_id=project)
    for kind in ("dataset", "model", "endpoint", "job"):
        shares.share(actor=actor, kind=kind, object_id=ids[f"{kind}_id"], user_id=ids["user_id"])
    money = {"amount": 1, "currency": "EUR"}
    event = {"meter": "seats", "resource": "r", "starts_at": at, "ends_at": at, "dims": "{}", "project_id": project}
    rows: dict[str, dict[str, Any]] = {
        "compute_joblog": {"job_id": ids["job_id"], "token": 1, "position": 1, "line": "x"},
        "compute_jobmetric": {"job_id": ids["job_id"], "token": 1, "step": 1, "values": "{}"},
        "billing_budgetalert": {
            "budget_id": ids["budget_id"],
            "period": at.date().replace(day=1),
            "percent": 50,
            "spent": 1,
            "limit": 1,
        },
        "billing_heldevent": {
            "batch_id": ids["batch_id"],
            "key_hash": bytes(32),
            "source": "s",
            "key": "k",
            "reason": "unpriced",
            "state": "waiting",
            "decided_by": "",
            **event,
        },
        "billing_payment": {
            "invoice_id": ids["invoice_id"],
            "kind": "payment",
            "method": "manual",
            "received_on": at.date(),
            "recorded_by": "x",
            **money,
        },
        "billing_topup": {"asked_by": "x", "closed_at": at, **money},
    }
    for table, row in rows.items():
        add_row(superuser, table, tenant_id=tenant.id, **row)
    devices(1)
    return ids


def many_rows(tenant: Tenant, ids: dict[str, UUID], superuser: psycopg.Connection[Any]) -> None:
    copy_rows(superuser, tenant.id, COPIES)
    copy_with(superuser, "models_app_datasetversion", ids["data_version_id"], "dataset_id", COPIES)
    copy_with(superuser, "models_app_modelversion", ids["version_id"], "model_id", COPIES, apart=["id", "job_id"])
    of_set = superuser.execute("SELECT id FROM compute_job WHERE set_id = %s", [ids["job_set_id"]]).fetchone()
    assert of_set is not None
    copy_with(superuser, "compute_job", of_set[0], "set_id", COPIES)
    # A copy of a tick keeps its time, which is once in a schedule: more ticks have other times.
    for hours in range(1, 1 + COPIES):
        tick = {"schedule_id": ids["schedule_id"], "due_at": now() - timedelta(hours=hours), "outcome": "missed"}
        add_row(superuser, "models_app_schedulerun", tenant_id=tenant.id, reason="", asked_by_label="", **tick)
    devices(1 + COPIES)
    with tenant_scope(tenant.id):
        at = now() - timedelta(seconds=60)
        record_usage([interval(one, at, 30) for one in Project.objects.values_list("id", flat=True)])


def devices(number: int) -> None:
    found = [Found(f"cpu-{n}", "cpu", "cpu", f"CPU {n} of host h", n, 2**32) for n in range(number)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
