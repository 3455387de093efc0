"""Reconciliation of all organisations: every planted difference parks one of them alone, and its repair ends that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command

from billing import tasks
from billing.invoices import crediting, paying, voiding
from billing.metering.metering import record_usage
from billing.models import Reconciliation
from billing.reconciling import checking
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct, PlatformEvent, Tenant
from tests.integration.billing.invoicing.scene import (
    APRIL,
    IN_APRIL,
    draft_of,
    finalise,
    issued,
    name_the_seller,
    used,
)
from tests.support import selling
from tests.support.factories import default_project_id
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
URL = "/api/operator/v1/reconciliation/"
IN_MAY = datetime(2027, 5, 2, 12, tzinfo=UTC)
#: The rule that finds a corruption -> how it is planted and repaired.
CORRUPTIONS = {
    "every interval has its usage key": (
        "UPDATE billing_usagekey SET key_hash = set_byte(key_hash, 0, 255 - get_byte(key_hash, 0))",
        "UPDATE billing_usagekey SET key_hash = set_byte(key_hash, 0, 255 - get_byte(key_hash, 0))",
    ),
    "intervals sum to roll-ups": (
        "UPDATE billing_usagerollup SET amount = amount + 1",
        "UPDATE billing_usagerollup SET amount = amount - 1",
    ),
    "an interval costs quantity times price": (
        "UPDATE billing_usageevent SET amount = amount * 2",
        "UPDATE billing_usageevent SET amount = amount / 2",
    ),
    "every month with usage has an invoice": (
        "UPDATE billing_invoice SET period = period - interval '1 year' WHERE state = 'draft'",
        "UPDATE billing_invoice SET period = period + interval '1 year' WHERE state = 'draft'",
    ),
    "the ledger equals rated usage": (
        "UPDATE billing_ledgerposting SET amount = amount + 1 WHERE account = 'unheld'",
        "UPDATE billing_ledgerposting SET amount = amount - 1 WHERE account = 'unheld'",
    ),
    "the lines of an invoice sum to its subtotal": (
        "UPDATE billing_invoiceline SET amount = amount + 1",
        "UPDATE billing_invoiceline SET amount = amount - 1",
    ),
    "the tax of an invoice's lines sums to its tax": (
        "UPDATE billing_invoiceline SET tax = tax + 1",
        "UPDATE billing_invoiceline SET tax = tax - 1",
    ),
    "the tax of an invoice by rate sums to its tax": (
        "UPDATE billing_invoice SET taxes = taxes || taxes",
        "UPDATE billing_invoice SET taxes = jsonb_build_array(taxes -> 0) WHERE state = 'paid'",
    ),
    "what is due of an invoice equals the ledger": (
        "UPDATE billing_ledgerposting SET amount = amount + 1 WHERE account IN ('receivable', 'revenue')",
        "UPDATE billing_ledgerposting SET amount = amount - 1 WHERE account IN ('receivable', 'revenue')",
    ),
    "the tax of an invoice equals the ledger": (
        "UPDATE billing_ledgerposting SET amount = amount + CASE account WHEN 'tax' THEN 1 ELSE -1 END "
        "WHERE account IN ('tax', 'revenue')",
        "UPDATE billing_ledgerposting SET amount = amount - CASE account WHEN 'tax' THEN 1 ELSE -1 END "
        "WHERE account IN ('tax', 'revenue')",
    ),
    "payments of an invoice equal the ledger": (
        "UPDATE billing_ledgerposting SET amount = amount + CASE account WHEN 'clearing' THEN 1 ELSE -1 END "
        "WHERE account IN ('clearing', 'revenue') AND transaction_id IN "
        "(SELECT transaction_id FROM billing_ledgerposting WHERE account = 'clearing')",
        "UPDATE billing_ledgerposting SET amount = amount - CASE account WHEN 'clearing' THEN 1 ELSE -1 END "
        "WHERE account IN ('clearing', 'revenue') AND transaction_id IN "
        "(SELECT transaction_id FROM billing_ledgerposting WHERE account = 'clearing')",
    ),
    "what an invoice posts sums to zero": (
        "UPDATE billing_ledgerposting SET amount = amount + 1 WHERE account = 'revenue'",
        "UPDATE billing_ledgerposting SET amount = amount - 1 WHERE account = 'revenue'",
    ),
    "credit notes sum to what an invoice has credited": (
        "UPDATE billing_creditnote SET subtotal = subtotal + 1, total = total + 1, refunded = refunded + 1",
        "UPDATE billing_creditnote SET subtotal = subtotal - 1, total = total - 1, refunded = refunded - 1",
    ),
    "the lines of a credit note sum to it": (
        "UPDATE billing_creditnoteline SET amount = amount + 1",
        "UPDATE billing_creditnoteline SET amount = amount - 1",
    ),
    "payments sum to what an invoice has paid": (
        "UPDATE billing_payment SET amount = amount + 1 WHERE kind = 'payment'",
        "UPDATE billing_payment SET amount = amount - 1 WHERE kind = 'payment'",
    ),
    "refunds sum to what an invoice has returned": (
        "UPDATE billing_payment SET amount = amount + 1 WHERE kind = 'refund'",
        "UPDATE billing_payment SET amount = amount - 1 WHERE kind = 'refund'",
    ),
}


def settled(demo_clock: DemoClock) -> Tenant:
    """Return a tenant in May with March finalised, paid and credited, and a draft of April."""
    tenant, invoice = issued(demo_clock, 60_000, tax="19")
    with selling.role("exchequer_operator"):
        received = paying.Received(amount=Decimal("35.70"), received_on=date(2027, 4, 2))
        paying.mark_paid(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, received=received)
        with tenant_scope(tenant.id):
            (line,) = crediting.frozen_lines({invoice: "EUR"})[invoice]
        crediting.credit(
            operator=selling.SELLER,
            tenant_id=tenant.id,
            invoice_id=invoice,
            parts=[crediting.Part(line.id, Decimal(2))],
            reason="a node failed",
        )
    with tenant_scope(tenant.id):
        record_usage([interval(default_project_id(tenant), IN_APRIL, 60)])
    demo_clock.move_to(IN_MAY)
    return tenant


def planted(superuser: psycopg.Connection, statement: str, tenant: Tenant) -> None:
    superuser.execute("SET session_replication_role = replica")
    joined = "AND" if "WHERE" in statement else "WHERE"
    superuser.execute(f"{statement} {joined} tenant_id = %s", [tenant.id])


def post(browser: Any, path: str, body: Any = None) -> Any:
    return browser.post(f"/api/operator/v1/{path}", body or {}, content_type="application/json")


def listed(browser: Any) -> dict[str, Any]:
    return {row["tenant"]["slug"]: row for row in browser.get(URL).json()["results"]}


def test_b16_each_of_sixteen_corruptions_is_found_and_parks_one_tenant_until_it_is_repaired(
    demo_clock: DemoClock, superuser: psycopg.Connection, seller: Any, as_control: Role
) -> None:
    tenant = settled(demo_clock)
    other = used(demo_clock)
    demo_clock.move_to(IN_MAY)
    finance = seller("platform_finance")
    path = f"invoices/{draft_of(tenant, APRIL)}/finalise/"
    with as_control():
        assert checking.reconcile(tenant.id) == []
    for rule, (plant, repair) in CORRUPTIONS.items():
        planted(superuser, plant, tenant)
        with as_control():
            faults = checking.reconcile(tenant.id)
        assert [fault for fault in faults if fault.startswith(f"{rule}: ")], (rule, faults)
        refused = post(finance, path)
        assert (refused.status_code, refused.json()["code"]) == (409, "invoice_parked"), rule
        assert faults[0] in refused.json()["title"]
        planted(superuser, repair, tenant)
        with as_control():
            assert checking.reconcile(tenant.id) == [], rule
    planted(superuser, CORRUPTIONS["payments sum to what an invoice has paid"][0], tenant)
    with as_control():
        tasks.reconcile_all()
        assert tasks.reconcile() == 2
    rows = listed(finance)
    assert [rows[one.slug]["ok"] for one in (tenant, other)] == [False, True]
    assert post(finance, path).json()["code"] == "invoice_parked"
    assert post(finance, f"invoices/{draft_of(other)}/finalise/").status_code == 200
    planted(superuser, CORRUPTIONS["payments sum to what an invoice has paid"][1], tenant)
    assert post(finance, "reconciliation/", {"tenant": str(tenant.id)}).status_code == 202
    with as_control():
        assert tasks.reconcile() == 1
        # Once a day, however many differences there were.
        assert PlatformEvent.objects.filter(type="reconciliation.difference", about=tenant.id).count() == 1
    assert listed(finance)[tenant.slug] == rows[tenant.slug] | {
        "ok": True, "faults": [], "checked_at": listed(finance)[tenant.slug]["checked_at"],
    }  # fmt: skip
    assert post(finance, path).status_code == 200
    with tenant_scope(tenant.id):
        changes = AuditEntry.objects.filter(action="billing.reconciliation.changed").count()
        assert changes == 2 * (len(CORRUPTIONS) + 1)


def test_the_failure_of_one_tenant_stops_no_other(
    demo_clock: DemoClock, superuser: psycopg.Connection, seller: Any, as_control: Role
) -> None:
    broken, _ = issued(demo_clock, tax="19")
    sound = used(demo_clock)
    planted(superuser, """UPDATE billing_invoice SET taxes = '[{"tax": "much"}]'""", broken)
    with as_control():
        tasks.reconcile_all()
        assert tasks.reconcile() == 1
        assert tasks.reconcile() == 0
    rows = listed(seller("platform_finance"))
    assert (rows[broken.slug]["checked_at"], rows[broken.slug]["ok"]) == (None, None)
    assert (rows[sound.slug]["faults"], rows[sound.slug]["ok"]) == ([], True)


def test_an_order_waits_once_and_goes_on_where_it_stopped(demo_clock: DemoClock, seller: Any, as_control: Role) -> None:
    tenants = [used(demo_clock, 60) for _ in range(3)]
    finance = seller("platform_finance")
    first, again = (post(finance, "reconciliation/").json() for _ in range(2))
    assert (first["id"], first["tenant"]) == (again["id"], None)
    with as_control():
        # As a worker left it that was stopped after one tenant.
        checking.reconcile(tenants[1].id)
        assert tasks.reconcile() == 2
    with selling.role("exchequer_operator"):
        acts = OperatorAct.objects.filter(action="billing.reconciliation.ordered")
        assert [act.target_label for act in acts] == ["all organisations"]
    pages = finance.get(f"{URL}?limit=2").json()
    following = finance.get(pages["next"]).json()["results"]
    assert [row["tenant"]["slug"] for row in [*pages["results"], *following]] == sorted(one.slug for one in tenants)


def test_bad_orders_are_refused(demo_clock: DemoClock, seller: Any, as_control: Role) -> None:
    finance, support = seller("platform_finance"), seller("platform_support")
    for body in ({"tenant": "x"}, {"tenants": []}, {"tenant": [str(uuid4())]}):
        assert post(finance, "reconciliation/", body).status_code == 400, body
    assert post(finance, "reconciliation/", {"tenant": str(uuid4())}).status_code == 404
    assert post(support, "reconciliation/").status_code == 403
    assert support.get(URL).status_code == 200
    with as_control():
        assert tasks.reconcile() == 0


def test_a_void_invoice_without_another_is_no_difference(demo_clock: DemoClock, as_control: Role) -> None:
    name_the_seller()
    tenant = used(demo_clock)
    invoice = draft_of(tenant)
    finalise(tenant)
    with selling.role("exchequer_operator"):
        voiding.void(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="agreed", reissue=False)
    with as_control():
        assert checking.reconcile(tenant.id) == []
    with tenant_scope(tenant.id):
        assert Reconciliation.objects.get().faults == []


def test_the_command_checks_every_tenant_keeps_what_it_found_and_with_dry_run_only_looks(
    demo_clock: DemoClock, superuser: psycopg.Connection, as_control: Role
) -> None:
    wrong, right = used(demo_clock), used(demo_clock)
    planted(superuser, CORRUPTIONS["intervals sum to roll-ups"][0], wrong)
    with as_control():
        for options in (["--dry-run"], []):
            with pytest.raises(CommandError, match=f"{wrong.id}: intervals sum to roll-ups"):
                call_command("reconcile", *options)
            kept = {}
            for tenant in (wrong, right):
                with tenant_scope(tenant.id):
                    kept[tenant.id] = [bool(row.faults) for row in Reconciliation.objects.all()]
            events = PlatformEvent.objects.filter(type="reconciliation.difference").count()
            assert (kept, events) == (
                ({wrong.id: [True], right.id: [False]}, 1) if not options else ({wrong.id: [], right.id: []}, 0)
            )
