"""The authorisation matrix of the console's pages: which operator reads and which one posts where (T75)."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import pytest

from tenants.access.operator_roles import OPERATOR_ROLES
from tests.support import factories
from tests.support.console import log_in
from tests.support.pages import routes_below

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
ADMIN, FINANCE, SUPPORT = "platform_admin", "platform_finance", "platform_support"
ALL, NONE = {ADMIN, FINANCE, SUPPORT}, set[str]()
#: Page -> who reads it, and who posts there. No set: the page has no such method.
PAGES: dict[str, tuple[set[str], set[str]]] = {
    "": (ALL, NONE),
    "fleet/": (ALL, NONE),
    "fleet/bill/": (ALL, {FINANCE}),
    "fleet/bill/rule/": (NONE, {FINANCE}),
    "fleet/bill/costs/<uuid:cost_id>/withdraw/": (NONE, {FINANCE}),
    "fleet/idle/": (ALL, {ADMIN}),
    "fleet/idle/remove/": (NONE, {ADMIN}),
    "fleet/simulation/<uuid:tenant_id>/": ({ADMIN}, NONE),
    "fleet/devices/<uuid:device_id>/cordon/": (NONE, {ADMIN}),
    "fleet/devices/<uuid:device_id>/uncordon/": (NONE, {ADMIN}),
    "fleet/shares/": (NONE, {ADMIN}),
    "fleet/tokens/": (NONE, {ADMIN}),
    "fleet/tokens/<uuid:token_id>/revoke/": (NONE, {ADMIN}),
    "fleet/nodes/<uuid:node_id>/drain/": (NONE, {ADMIN}),
    "fleet/nodes/<uuid:node_id>/return/": (NONE, {ADMIN}),
    "fleet/nodes/<uuid:node_id>/end/": (NONE, {ADMIN}),
    "fleet/nodes/<uuid:node_id>/labels/": (NONE, {ADMIN}),
    "price-books/": (ALL, NONE),
    "price-books/new/": ({FINANCE}, {FINANCE}),
    "price-books/<uuid:book_id>/": (ALL, NONE),
    "price-books/<uuid:book_id>/versions/new/": ({FINANCE}, {FINANCE}),
    "price-books/exchange-rates/": (ALL, {FINANCE}),
    "contracts/": (ALL, NONE),
    "contracts/<uuid:tenant_id>/": (ALL, {FINANCE}),
    "contracts/<uuid:tenant_id>/withdraw/": (NONE, {FINANCE}),
    "contracts/<uuid:tenant_id>/billing-details/": (NONE, {FINANCE}),
    "contracts/<uuid:tenant_id>/what-if/": ({FINANCE}, NONE),
    "wallets/<uuid:tenant_id>/": (ALL, {FINANCE}),
    "wallets/<uuid:tenant_id>/<uuid:block_id>/withdraw/": (NONE, {FINANCE}),
    "invoices/": (ALL, {FINANCE}),
    "invoices/statements/<uuid:tenant_id>/": (ALL, NONE),
    "invoices/statements/<uuid:tenant_id>/statement.pdf": (ALL, NONE),
    "invoices/overdue/": (ALL, NONE),
    "invoices/reconciliation/": (ALL, {FINANCE}),
    "invoices/seller/": (ALL, {FINANCE}),
    "invoices/tax-rates/": (ALL, {FINANCE}),
    "invoices/tax-rates/<uuid:rate_id>/end/": (NONE, {FINANCE}),
    "invoices/months/<str:month>/": (ALL, {FINANCE}),
    "invoices/<uuid:invoice_id>/": (ALL, NONE),
    "invoices/<uuid:invoice_id>/comments/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/review/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/finalise/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/void/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/collect/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/deferral/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/send/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/payments/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/payments/<uuid:payment_id>/reverse/": (NONE, {FINANCE}),
    "invoices/<uuid:invoice_id>/credit-notes/new/": ({FINANCE}, {FINANCE}),
    "disputes/": (ALL, NONE),
    "disputes/<uuid:dispute_id>/": (ALL, {FINANCE}),
    "tenants/": (ALL, NONE),
    "tenants/new/": ({ADMIN}, {ADMIN}),
    "tenants/<uuid:tenant_id>/": (ALL, NONE),
    "tenants/<uuid:tenant_id>/owner/": (NONE, {ADMIN}),
    "tenants/<uuid:tenant_id>/ceilings/": (NONE, {ADMIN}),
    "tenants/<uuid:tenant_id>/look-inside/": ({ADMIN, SUPPORT}, {ADMIN, SUPPORT}),
    "tenants/<uuid:tenant_id>/erase/": (NONE, {ADMIN}),
    "tenants/<uuid:tenant_id>/<slug:act>/": (NONE, {ADMIN}),
    "approvals/": (ALL, NONE),
    "approvals/<uuid:approval_id>/answer/": (NONE, {ADMIN, FINANCE}),
    "looks/": (ALL, NONE),
    "looks/<uuid:look_id>/open/": (NONE, {ADMIN, SUPPORT}),
    "looks/<uuid:look_id>/end/": (NONE, {ADMIN, SUPPORT}),
    "looks/<uuid:look_id>/answer/": (NONE, {ADMIN}),
    "operators/": ({ADMIN}, NONE),
    # Of one's own: keys with one's own roles, and which emails one gets.
    "keys/": (ALL, ALL),
    "keys/<uuid:key_id>/revoke/": (NONE, ALL),
    "notifications/": (ALL, ALL),
    "webhooks/": ({ADMIN}, {ADMIN}),
    "webhooks/<uuid:webhook_id>/": ({ADMIN}, NONE),
    "webhooks/<uuid:webhook_id>/change/": (NONE, {ADMIN}),
    "webhooks/<uuid:webhook_id>/secret/": (NONE, {ADMIN}),
    "webhooks/<uuid:webhook_id>/test/": (NONE, {ADMIN}),
    "webhooks/<uuid:webhook_id>/delete/": (NONE, {ADMIN}),
    "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": (NONE, {ADMIN}),
    "log/": (ALL, NONE),
    "log/review/": (NONE, {ADMIN, SUPPORT}),
    "mail/": ({ADMIN}, NONE),
}


def test_the_table_names_every_page_and_nothing_else() -> None:
    there = {
        route
        for route, pattern in routes_below("config.console.urls")
        if hasattr(pattern.callback, "operator_permission")
    }
    assert there == set(PAGES)


def test_each_role_reaches_exactly_the_pages_that_the_table_says(
    operator: Any, console: Role, without_second_factor: None
) -> None:
    """Who may gets an answer of the page, a 404 for what is missing included; who may not gets a 403."""
    tenant, faults = factories.make_tenant("ours"), []
    for role in OPERATOR_ROLES:
        operator(role, email=f"{role}@platform.example")
    with console():
        for role in OPERATOR_ROLES:
            client = log_in(f"{role}@platform.example")
            for route, allowed in PAGES.items():
                path = route.replace("<uuid:tenant_id>", str(tenant.id)).replace("<slug:act>", "suspend")
                path = "/" + re.sub("<uuid:[a-z_]+>", str(uuid4()), path.replace("<str:month>", "2026-01"))
                for method, roles in zip(("get", "post"), allowed, strict=True):
                    status = getattr(client, method)(path).status_code
                    expected = 405 if not roles else None if role in roles else 403
                    if status != expected and (expected or status in (401, 403, 405) or status >= 500):
                        faults.append(f"{role} {method} {path}: {status}")
    assert faults == []
