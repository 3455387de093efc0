"""Every write of operators leaves its entry in their log, and those in the tenant's own log that the table lists (A1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.db.models import Max

from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Device, Node
from tenants.access.actor import Actor
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.encryption import platform_secrets
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct, OperatorHead, Tenant
from tenants.operators import grants, lifecycle
from tenants.operators.operator import Operator
from tests.api.tenants.console.test_console_matrix import GOOD, MATRIX, REASON
from tests.api.tenants.console.test_console_pages import PAGES as POSTING
from tests.api.tenants.entries.console_grounds import API, BOOK, GROUNDS, LOOK, PAGES, TENANT, Desk
from tests.api.tenants.entries.grounds import Sent, undone
from tests.fakes.stripe.server import API_KEY, WEBHOOK_SECRET
from tests.integration.billing.invoicing.scene import IN_MARCH, draft_of, name_the_seller, used
from tests.support import factories, selling
from tests.support.console import log_in
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
Entries = tuple[tuple[str, ...], tuple[str, ...]]


def ours(action: str) -> Entries:
    """An act that concerns no tenant, or all of them, such as a price book; of notes about an invoice only the seller's."""
    return (action,), ()


def both(action: str, *theirs: str) -> Entries:
    """An act that its tenant reads in its own log, by default under the same name."""
    return (action,), theirs or (action,)


#: The entries of each write, in the operator log and in those of tenants.
ENTRIES: dict[str, Entries] = {
    "DELETE keys/<uuid:key_id>/": ours("tenants.operator_key.revoked"),
    "DELETE webhooks/<uuid:webhook_id>/": ours("tenants.platform_webhook.deleted"),
    "PATCH webhooks/<uuid:webhook_id>/": ours("tenants.platform_webhook.changed"),
    "POST approvals/<uuid:approval_id>/approve/": both(
        "tenants.approval.granted", "tenants.quota_ceiling.raised", "tenants.approval.granted"
    ),
    "POST approvals/<uuid:approval_id>/decline/": both("tenants.approval.declined"),
    "POST disputes/<uuid:dispute_id>/answer/": both("billing.dispute.ended"),
    "POST disputes/<uuid:dispute_id>/messages/": both("billing.dispute.written"),
    "PUT idle-rules/": ours("compute.pool_idle_rule.set"),
    "POST idle-rules/remove/": ours("compute.pool_idle_rule.removed"),
    "PUT cluster-bill/rule/": ours("billing.cluster_rule.chosen"),
    "POST device-costs/<uuid:cost_id>/withdraw/": ours("billing.device_cost.withdrawn"),
    "POST device-costs/": ours("billing.device_cost.entered"),
    "POST exchange-rates/": ours("billing.exchange_rate.entered"),
    "POST fleet/devices/<uuid:device_id>/cordon/": ours("compute.device.cordoned"),
    "POST fleet/devices/<uuid:device_id>/uncordon/": ours("compute.device.uncordoned"),
    "POST nodes/tokens/": ours("compute.node_token.made"),
    "PUT fleet/shares/": ours("compute.device_class.shares_set"),
    "POST nodes/tokens/<uuid:token_id>/revoke/": ours("compute.node_token.revoked"),
    "POST nodes/<uuid:node_id>/drain/": ours("compute.node.drained"),
    "POST nodes/<uuid:node_id>/return/": ours("compute.node.returned"),
    "POST nodes/<uuid:node_id>/end/": ours("compute.node.ended"),
    "PUT nodes/<uuid:node_id>/labels/": ours("compute.node.labelled"),
    "POST invoices/<uuid:invoice_id>/collect/": both("billing.collecting.retried"),
    "POST invoices/<uuid:invoice_id>/comments/": ours("billing.invoice.commented"),
    "POST invoices/<uuid:invoice_id>/credit-notes/": both("billing.invoice.credited"),
    "POST invoices/<uuid:invoice_id>/deferrals/": both("billing.launch_stop.deferred"),
    "POST invoices/<uuid:invoice_id>/finalise/": both("billing.invoice.finalised"),
    "POST invoices/<uuid:invoice_id>/mark-paid/": both("billing.invoice.paid"),
    "POST invoices/<uuid:invoice_id>/payments/<uuid:payment_id>/reverse/": both("billing.payment.reversed"),
    "POST invoices/<uuid:invoice_id>/review/": both("billing.invoice.reviewed"),
    "POST invoices/<uuid:invoice_id>/send/": both("billing.invoice.send_ordered"),
    "POST invoices/<uuid:invoice_id>/void/": both("billing.invoice.voided"),
    "POST keys/": ours("tenants.operator_key.created"),
    "POST looks/<uuid:look_id>/approve/": both("tenants.break_glass.began"),
    "POST looks/<uuid:look_id>/decline/": both("tenants.break_glass.declined"),
    "POST looks/<uuid:look_id>/end/": both("tenants.break_glass.ended"),
    "POST periods/<str:period>/run/": ours("billing.period_run.ordered"),
    "POST price-books/": ours("billing.price_book.created"),
    "POST price-books/<uuid:book_id>/versions/": ours("billing.price_version.published"),
    "POST reconciliation/": ours("billing.reconciliation.ordered"),
    "POST tax-rates/": ours("billing.tax_rate.entered"),
    "POST tax-rates/<uuid:rate_id>/end/": ours("billing.tax_rate.ended"),
    "POST tenants/": both("tenants.tenant.created", "tenants.tenant.created", "billing.contract.opened"),
    "POST tenants/<uuid:tenant_id>/break-glass/": both(
        "tenants.break_glass.began", "tenants.break_glass.asked", "tenants.break_glass.began"
    ),
    "POST tenants/<uuid:tenant_id>/close/": both("tenants.tenant.closing"),
    "POST tenants/<uuid:tenant_id>/contracts/": both("billing.contract.agreed"),
    "POST tenants/<uuid:tenant_id>/contracts/withdraw/": both("billing.contract.withdrawn"),
    "POST tenants/<uuid:tenant_id>/credits/": both("billing.credit.granted"),
    "POST tenants/<uuid:tenant_id>/credits/<uuid:block_id>/withdraw/": both("billing.credit.withdrawn"),
    "POST tenants/<uuid:tenant_id>/erase/": both("tenants.erasure.ordered"),
    "POST tenants/<uuid:tenant_id>/export/": both("tenants.export.ordered"),
    "POST tenants/<uuid:tenant_id>/restore/": both("tenants.tenant.restored"),
    "POST tenants/<uuid:tenant_id>/resume/": both("tenants.tenant.resumed"),
    "POST tenants/<uuid:tenant_id>/suspend/": both("tenants.tenant.suspended"),
    "POST webhooks/": ours("tenants.platform_webhook.created"),
    "POST webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": ours(
        "tenants.platform_webhook.delivery_replayed"
    ),
    "POST webhooks/<uuid:webhook_id>/secret/": ours("tenants.platform_webhook.secret_rotated"),
    "POST webhooks/<uuid:webhook_id>/test/": ours("tenants.platform_webhook.tested"),
    "PUT tenants/<uuid:tenant_id>/billing-details/": both("billing.contract.details_changed"),
    "PUT seller/": ours("billing.seller.changed"),
    "PUT tenants/<uuid:tenant_id>/quotas/": both("tenants.quota_ceiling.changed"),
}
#: What pages alone do.
PAGES_ALONE: dict[str, Entries] = {
    f"POST {TENANT}owner/": both("tenants.tenant.owner_awaited"),
    "POST log/review/": ours("tenants.operator_log.reviewed"),
}
#: Writes that leave no entry, and why.
SILENT: dict[str, str] = {
    "PUT notifications/": "which emails an operator gets is their own",
    f"POST {BOOK}preview/": "nothing is stored",
    "POST what-if/": "nothing is stored",
    f"POST {LOOK}open/": "the look has its entries; who uses the ticket has another",
}


@pytest.fixture
def desk(settings: Any, demo_clock: DemoClock, as_control: Role, as_operator: Role, console: Role) -> Desk:
    """A month to bill, a payment provider, a device, and two operators with every role."""
    given = {"stripe_api_key": API_KEY, "stripe_webhook_secret": WEBHOOK_SECRET, "demo": True, "bound_to": "127.0.0.1"}
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=given)
    demo_clock.move_to(IN_MARCH - timedelta(days=60))
    closed = factories.make_tenant("closed")
    with as_operator():
        root = Operator(id=uuid4(), label="root@platform.example", roles=("platform_admin",))
        lifecycle.close(operator=root, tenant_id=closed.id, reason="The contract ended")
    name_the_seller()
    tenant = used(demo_clock, 60_000)
    found = [Found("c", "cpu", "cpu", "CPU 0", 0, 1)]
    nodes.register(name="atlas", hostname="atlas", boot=uuid4(), found=found, missing_layers=[])
    engineer = factories.make_member(tenant, "engineer")
    emails = [f"{name}@platform.example" for name in ("olga", "otto")]
    with as_control():
        platform_secrets.provide()
        assert lifecycle.close_due() == 1
        for email in emails:
            for role in OPERATOR_ROLES:
                grants.grant(email, role, password=factories.PASSWORD)
    with console():
        client, other = [log_in(email) for email in emails]
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
    return Desk(
        tenant,
        closed,
        {
            "tenant_id": tenant.id,
            "device_id": Device.objects.get().id,
            "node_id": Node.objects.get().id,
            "invoice_id": draft_of(tenant),
        },
        client,
        other,
        Actor.member(tenant_id=tenant.id, user_id=engineer.id, email=engineer.email, role="engineer"),
    )


def entries() -> Callable[[], Entries]:
    """Return a function that returns what both logs have gained since now: actions in their order."""

    def newest() -> dict[UUID | None, int]:
        heads: dict[UUID | None, int] = {None: OperatorHead.objects.get().seq}
        with selling.role("exchequer_control"):
            for tenant_id in Tenant.objects.values_list("id", flat=True):
                with tenant_scope(tenant_id):
                    heads[tenant_id] = AuditEntry.objects.aggregate(newest=Max("seq"))["newest"] or 0
        return heads

    before = newest()

    def gained() -> Entries:
        acts = OperatorAct.objects.filter(seq__gt=before[None]).order_by("seq").values_list("action", flat=True)
        found: list[str] = []
        with selling.role("exchequer_control"):
            for tenant_id in Tenant.objects.order_by("id").values_list("id", flat=True):
                with tenant_scope(tenant_id):
                    rows = AuditEntry.objects.filter(seq__gt=before.get(tenant_id, 0)).order_by("seq")
                    found += rows.values_list("action", flat=True)
        return tuple(acts), tuple(found)

    return gained


def filled(route: str, ids: dict[str, Any]) -> str:
    path = route.replace("<str:period>", "2027-03").replace("<str:month>", "2027-03")
    return re.sub(r"<uuid:(\w+)>", lambda name: str(ids[name[1]]), path)


def test_every_write_of_operators_leaves_its_entries_in_both_logs(desk: Desk, console: Role) -> None:
    found, refused = {}, []
    with console():
        for route, method in [one for one in MATRIX if one[1] != "get"]:
            asked = f"{method.upper()} {route}"
            with undone():  # each write finds the same world
                sent = GROUNDS.get(asked, lambda _: Sent())(desk)
                path, gained = filled(f"/{API}{route}", desk.ids | sent.ids), entries()
                body = GOOD.get(route, REASON) if sent.body is None else sent.body
                answer = getattr(desk.client, method)(path, body, content_type="application/json")
                found[asked] = gained()
                refused += [] if answer.status_code < 300 else [(asked, answer.status_code, answer.content[:300])]
    assert refused == [], "\n".join(map(str, refused))
    assert found == ENTRIES | dict.fromkeys(SILENT, ((), ()))


def test_every_page_of_operators_leaves_what_the_api_leaves(desk: Desk, console: Role) -> None:
    acts = re.compile(f"^{re.escape(TENANT)}(suspend|resume|close|restore|export)/$")
    assert {acts.sub(f"{TENANT}<slug:act>/", route) for route in PAGES} == {
        route for route, (_, posts) in POSTING.items() if posts
    }
    found, refused = {}, []
    with console():
        for route, page in PAGES.items():
            with undone():
                sent = (page.ground or GROUNDS.get(page.twin, lambda _: Sent()))(desk)
                form = page.form(desk, sent)
                path, gained = filled(f"/{route}", desk.ids | sent.ids), entries()
                answer = desk.client.post(path, form)
                found[route] = gained()
                done = answer.status_code < 400 and not answer.headers.get("Location", "").startswith("/accounts/")
                refused += [] if done else [(route, answer.status_code, text_of(answer)[:3000])]
    assert refused == [], "\n".join(map(str, refused))
    expected = ENTRIES | dict.fromkeys(SILENT, ((), ())) | PAGES_ALONE
    assert found == {route: expected[page.twin] for route, page in PAGES.items()}
