"""What a write of operators needs before it succeeds, and the forms of their pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.test import Client

from billing.invoices import disputing
from billing.models import PriceBook
from billing.queries.invoices import with_lines
from tenants.access.actor import Actor
from tenants.approvals import quota_requests
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, OperatorHead, PlatformDelivery, Tenant
from tests.api.tenants.console.test_console_matrix import GOOD, REASON
from tests.api.tenants.entries.grounds import Sent
from tests.support import selling

API = "api/operator/v1/"
HOOK = "webhooks/<uuid:webhook_id>/"
BILL = "invoices/<uuid:invoice_id>/"
TENANT = "tenants/<uuid:tenant_id>/"
LOOK = "looks/<uuid:look_id>/"
BOOK = "price-books/<uuid:book_id>/"
DISPUTE = "disputes/<uuid:dispute_id>/"
CPU = {"resource": "devices:cpu", "limit": 8, "reason": "As in the contract"}


@dataclass(frozen=True)
class Desk:
    """A tenant whose month is over, one that is closed, and browsers of two operators with every role."""

    tenant: Tenant
    closed: Tenant
    ids: dict[str, Any]
    client: Client
    other: Client
    member: Actor

    def ask(self, method: str, path: str, body: Any = None, client: Client | None = None) -> Any:
        """Send a request to the operators' API that succeeds, and return its answer."""
        made = getattr(client or self.client, method)(f"/{API}{path}", body or {}, content_type="application/json")
        assert made.status_code < 300, (path, made.status_code, made.content)
        return made.json() if made.content else None

    @property
    def at(self) -> str:
        """The path of the tenant."""
        return f"tenants/{self.tenant.id}/"

    @property
    def bill(self) -> str:
        """The path of its invoice."""
        return f"invoices/{self.ids['invoice_id']}/"


def has_a_key(desk: Desk) -> Sent:
    """A key of the operator."""
    return Sent(ids={"key_id": desk.ask("post", "keys/", GOOD["keys/"])["id"]})


def has_a_hook(desk: Desk) -> Sent:
    """A webhook of the platform."""
    return Sent({}, {"webhook_id": desk.ask("post", "webhooks/", GOOD["webhooks/"])["id"]})


def has_a_hook_to_change(desk: Desk) -> Sent:
    """A webhook of the platform, and what is to be different."""
    return Sent(GOOD[HOOK], has_a_hook(desk).ids)


def has_delivered(desk: Desk) -> Sent:
    """A delivery that has ended."""
    ids = has_a_hook(desk).ids
    desk.ask("post", f"webhooks/{ids['webhook_id']}/test/")
    PlatformDelivery.objects.update(state="delivered", next_at=None, ended_at=now())
    return Sent({}, ids | {"delivery_id": PlatformDelivery.objects.get().id})


def is_cordoned(desk: Desk) -> Sent:
    """A device that takes no work."""
    desk.ask("post", f"fleet/devices/{desk.ids['device_id']}/cordon/", REASON)
    return Sent()


def is_drained(desk: Desk) -> Sent:
    """A node that takes no new work."""
    desk.ask("post", f"nodes/{desk.ids['node_id']}/drain/", REASON)
    return Sent()


def has_a_token(desk: Desk) -> Sent:
    """A token by which a machine may join."""
    return Sent(ids={"token_id": desk.ask("post", "nodes/tokens/", GOOD["nodes/tokens/"])["id"]})


def is_suspended(desk: Desk) -> Sent:
    """A suspended tenant."""
    desk.ask("post", f"{desk.at}suspend/", REASON)
    return Sent()


def closes(desk: Desk) -> Sent:
    """A tenant that closes in seven days."""
    desk.ask("post", f"{desk.at}close/", REASON)
    return Sent()


def is_closed(desk: Desk) -> Sent:
    """A closed tenant, whose name is typed."""
    return Sent({"name": desk.closed.name, **REASON}, {"tenant_id": desk.closed.id})


def asks_for_more(desk: Desk) -> Sent:
    """A request beyond a ceiling."""
    desk.ask("put", f"{desk.at}quotas/", CPU)
    with selling.role("exchequer_app"), tenant_scope(desk.tenant.id):
        asked: Approval = quota_requests.request(
            actor=desk.member, resource="devices:cpu", limit=12, reason="a larger model"
        )
    return Sent(ids={"approval_id": asked.id})


def has_a_book(desk: Desk) -> Sent:
    """A price book."""
    made = desk.ask("post", "price-books/", GOOD["price-books/"])
    return Sent(ids={"book_id": made["id"]})


def has_a_rate(desk: Desk) -> Sent:
    """A rate of tax."""
    made = desk.ask("post", "tax-rates/", GOOD["tax-rates/"])
    return Sent(ids={"rate_id": made["id"]})


def asks_what_if(desk: Desk) -> Sent:
    """A month with usage."""
    return Sent({"tenants": [str(desk.tenant.id)], "tax_rate": "19", "period": "2027-03"})


def has_a_cost(desk: Desk) -> Sent:
    """A cost of a device-hour."""
    return Sent(ids={"cost_id": desk.ask("post", "device-costs/", GOOD["device-costs/"])["id"]})


def has_an_idle_rule(desk: Desk) -> Sent:
    """A rule of a class of device."""
    desk.ask("put", "idle-rules/", GOOD["idle-rules/"])
    return Sent()


def may_agree(desk: Desk) -> Sent:
    """A price book, and a month to come."""
    with selling.role("exchequer_control"), tenant_scope(desk.tenant.id):
        book = PriceBook.objects.get(contracts__tenant=desk.tenant.id).pk
    return Sent({"price_book": str(book), "starts_on": "2027-05-01", "reason": "As agreed"})


def has_agreed(desk: Desk) -> Sent:
    """A contract that has not begun."""
    desk.ask("post", f"{desk.at}contracts/", may_agree(desk).body)
    return Sent()


def has_credit(desk: Desk) -> Sent:
    """Promotional credit."""
    made = desk.ask("post", f"{desk.at}credits/", GOOD[f"{TENANT}credits/"])
    return Sent(ids={"block_id": made["id"]})


def is_finalised(desk: Desk) -> Sent:
    """A finalised invoice."""
    desk.ask("post", f"{desk.bill}finalise/")
    return Sent()


def may_be_credited(desk: Desk) -> Sent:
    """A finalised invoice, and one of its lines."""
    desk.ask("post", f"{desk.bill}finalise/")
    line = desk.ask("get", f"{desk.bill}lines/")["results"][0]
    return Sent({"lines": [{"line": line["id"], "amount": "0.50"}], "reason": "a node failed"})


def may_be_deferred(desk: Desk) -> Sent:
    """A finalised invoice, and a day to come."""
    desk.ask("post", f"{desk.bill}finalise/")
    return Sent({"until": "2027-04-20", "reason": "a cheque is on its way"})


def may_be_paid(desk: Desk) -> Sent:
    """A finalised invoice, and a payment that arrived."""
    desk.ask("post", f"{desk.bill}finalise/")
    return Sent({"amount": "1.00", "received_on": "2027-04-02"})


def is_paid(desk: Desk) -> Sent:
    """A payment that is recorded."""
    desk.ask("post", f"{desk.bill}mark-paid/", may_be_paid(desk).body)
    (payment,) = desk.ask("get", f"{desk.bill}mark-paid/")["results"]
    return Sent({"reason": "it never came"}, {"payment_id": payment["id"]})


def is_disputed(desk: Desk) -> Sent:
    """A line that the tenant objects to."""
    invoice: UUID = desk.ids["invoice_id"]
    actor = Actor.system(desk.tenant.id, "tests")
    with selling.role("exchequer_app"), tenant_scope(desk.tenant.id):
        line = with_lines(invoice)[1][0].id
        made = disputing.open_dispute(actor=actor, invoice_id=invoice, line_id=line, reason="twice the hours")
    return Sent(ids={"dispute_id": made})


def looks(desk: Desk) -> Sent:
    """A look of one's own that has begun."""
    made = desk.ask("post", f"{desk.at}break-glass/", {**REASON, "minutes": 20})
    return Sent({}, {"look_id": made["id"]})


def wants_to_look(desk: Desk) -> Sent:
    """A look that another operator asked for."""
    made = desk.ask("post", f"{desk.at}break-glass/", {**REASON, "minutes": 60}, desk.other)
    return Sent({}, {"look_id": made["id"]})


def may_be_declined(desk: Desk) -> Sent:
    """The same, and why it is declined."""
    return Sent(REASON, wants_to_look(desk).ids)


def awaits_an_owner(desk: Desk) -> Sent:
    """A tenant that nobody has joined."""
    made = desk.ask("post", "tenants/", GOOD["tenants/"])
    return Sent(ids={"tenant_id": made["id"]})


#: By method and route of the API. The others need no more than the desk.
GROUNDS: dict[str, Callable[[Desk], Sent]] = {
    "DELETE keys/<uuid:key_id>/": has_a_key,
    f"PATCH {HOOK}": has_a_hook_to_change,
    f"DELETE {HOOK}": has_a_hook,
    f"POST {HOOK}secret/": has_a_hook,
    f"POST {HOOK}test/": has_a_hook,
    f"POST {HOOK}deliveries/<uuid:delivery_id>/replay/": has_delivered,
    "POST fleet/devices/<uuid:device_id>/uncordon/": is_cordoned,
    "POST nodes/<uuid:node_id>/return/": is_drained,
    "POST nodes/tokens/<uuid:token_id>/revoke/": has_a_token,
    f"POST {TENANT}resume/": is_suspended,
    f"POST {TENANT}restore/": closes,
    f"POST {TENANT}erase/": is_closed,
    "POST approvals/<uuid:approval_id>/approve/": asks_for_more,
    "POST approvals/<uuid:approval_id>/decline/": asks_for_more,
    f"POST {BOOK}preview/": has_a_book,
    f"POST {BOOK}versions/": has_a_book,
    "POST tax-rates/<uuid:rate_id>/end/": has_a_rate,
    "POST what-if/": asks_what_if,
    "POST device-costs/<uuid:cost_id>/withdraw/": has_a_cost,
    "POST idle-rules/remove/": has_an_idle_rule,
    f"POST {TENANT}contracts/": may_agree,
    f"POST {TENANT}contracts/withdraw/": has_agreed,
    f"POST {TENANT}credits/<uuid:block_id>/withdraw/": has_credit,
    f"POST {BILL}void/": is_finalised,
    f"POST {BILL}collect/": is_finalised,
    f"POST {BILL}send/": is_finalised,
    f"POST {BILL}credit-notes/": may_be_credited,
    f"POST {BILL}deferrals/": may_be_deferred,
    f"POST {BILL}mark-paid/": may_be_paid,
    f"POST {BILL}payments/<uuid:payment_id>/reverse/": is_paid,
    f"POST {DISPUTE}messages/": is_disputed,
    f"POST {DISPUTE}answer/": is_disputed,
    f"POST {LOOK}approve/": wants_to_look,
    f"POST {LOOK}decline/": may_be_declined,
    f"POST {LOOK}open/": looks,
    f"POST {LOOK}end/": looks,
}


@dataclass(frozen=True)
class Page:
    """A page that does what a write of the API does; `form` is what it posts, by default the body of that write."""

    twin: str
    form: Callable[[Desk, Sent], dict[str, Any]] = lambda desk, sent: sent.body or REASON
    ground: Callable[[Desk], Sent] | None = None


def says(**fields: Any) -> Callable[[Desk, Sent], dict[str, Any]]:
    """Return a form with these fields."""
    return lambda desk, sent: fields


def contract(desk: Desk, sent: Sent) -> dict[str, Any]:
    """Return the form of a contract."""
    body = dict(sent.body or {})
    return body | {"book": body.pop("price_book"), "payment_days": "14"}


def price_list(desk: Desk, sent: Sent) -> dict[str, Any]:
    """Return the form of a version as it was previewed."""
    address = f"/price-books/{sent.ids['book_id']}/versions/new/"
    page = desk.client.get(address).content.decode()
    inputs = [dict(re.findall(r'([a-z]+)="([^"]*)"', tag)) for tag in re.findall(r"<input [^>]*>", page)]
    form = {one["name"]: one["value"] for one in inputs if one.get("name", "").startswith("price_")}
    form |= {"base": hidden(page, "base"), "note": "as agreed", "effective_at": "", "price_0": "0.1"}
    preview = desk.client.post(address, form | {"step": "preview"}).content.decode()
    return form | {"step": "publish", "previewed": hidden(preview, "previewed")}


def settles(**fields: str) -> Callable[[Desk, Sent], dict[str, Any]]:
    """Return a form that names what is settled of the invoice, as its page shows it."""

    def form(desk: Desk, sent: Sent) -> dict[str, Any]:
        page = desk.client.get(f"/{desk.bill}{'' if 'amount' in fields else 'credit-notes/new/'}")
        return fields | {"shown": hidden(page.content.decode(), "shown")}

    return form


def hidden(page: str, name: str) -> str:
    """Return a hidden field of a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


HOOKED = {"name": "night", "url": "https://hooks.example/y", "format": "exchequer", "types": ["node.lost"]}
NEW = {"name": "Vision", "slug": "vision", "owner_email": "owner@vision.example", "currency": "EUR", "timezone": "UTC"}
RATE = {"source": "USD", "rate": "0.92", "target": "EUR", "valid_from": "", "origin": "ECB", "reason": "As published"}
#: Each page that posts; of one address that does several things, each.
PAGES: dict[str, Page] = {
    "fleet/devices/<uuid:device_id>/cordon/": Page("POST fleet/devices/<uuid:device_id>/cordon/"),
    "fleet/devices/<uuid:device_id>/uncordon/": Page("POST fleet/devices/<uuid:device_id>/uncordon/"),
    "fleet/shares/": Page("PUT fleet/shares/", says(**GOOD["fleet/shares/"])),
    "fleet/tokens/": Page("POST nodes/tokens/", says(**GOOD["nodes/tokens/"])),
    "fleet/tokens/<uuid:token_id>/revoke/": Page("POST nodes/tokens/<uuid:token_id>/revoke/"),
    **{
        f"fleet/nodes/<uuid:node_id>/{act}/": Page(f"POST nodes/<uuid:node_id>/{act}/")
        for act in ("drain", "return", "end")
    },
    "fleet/idle/": Page("PUT idle-rules/", says(**GOOD["idle-rules/"])),
    "fleet/idle/remove/": Page("POST idle-rules/remove/", says(**GOOD["idle-rules/remove/"])),
    "fleet/bill/rule/": Page("PUT cluster-bill/rule/", says(**GOOD["cluster-bill/rule/"])),
    "fleet/bill/costs/<uuid:cost_id>/withdraw/": Page("POST device-costs/<uuid:cost_id>/withdraw/"),
    "fleet/bill/": Page("POST device-costs/", says(**GOOD["device-costs/"])),
    "fleet/nodes/<uuid:node_id>/labels/": Page(
        "PUT nodes/<uuid:node_id>/labels/", lambda desk, sent: {"labels": "zone=eu", "reason": "It stands there"}
    ),
    "price-books/new/": Page("POST price-books/", says(**GOOD["price-books/"], copy_of="")),
    f"{BOOK}versions/new/": Page(f"POST {BOOK}versions/", price_list),
    "price-books/exchange-rates/": Page("POST exchange-rates/", says(**RATE)),
    "contracts/<uuid:tenant_id>/": Page(f"POST {TENANT}contracts/", contract),
    "contracts/<uuid:tenant_id>/billing-details/": Page(
        f"PUT {TENANT}billing-details/", says(**GOOD[f"{TENANT}billing-details/"])
    ),
    "contracts/<uuid:tenant_id>/withdraw/": Page(f"POST {TENANT}contracts/withdraw/"),
    "wallets/<uuid:tenant_id>/": Page(f"POST {TENANT}credits/", says(amount="10", priority="50", reason="As agreed")),
    "wallets/<uuid:tenant_id>/<uuid:block_id>/withdraw/": Page(f"POST {TENANT}credits/<uuid:block_id>/withdraw/"),
    "invoices/": Page(f"POST {BILL}finalise/", lambda desk, sent: {"invoice": [str(desk.ids["invoice_id"])]}),
    "invoices/seller/": Page("PUT seller/", says(**GOOD["seller/"], country="DE", sends_invoices="on")),
    "invoices/tax-rates/": Page("POST tax-rates/", says(**GOOD["tax-rates/"], product="")),
    "invoices/tax-rates/<uuid:rate_id>/end/": Page(
        "POST tax-rates/<uuid:rate_id>/end/", says(**GOOD["tax-rates/<uuid:rate_id>/end/"])
    ),
    "invoices/reconciliation/": Page("POST reconciliation/"),
    "invoices/months/<str:month>/": Page("POST periods/<str:period>/run/"),
    f"{BILL}comments/": Page(f"POST {BILL}comments/", says(text="asked for the logs")),
    f"{BILL}review/": Page(f"POST {BILL}review/", says(in_review="1")),
    f"{BILL}finalise/": Page(f"POST {BILL}finalise/", says()),
    f"{BILL}void/": Page(f"POST {BILL}void/"),
    f"{BILL}collect/": Page(f"POST {BILL}collect/"),
    f"{BILL}deferral/": Page(f"POST {BILL}deferrals/"),
    f"{BILL}send/": Page(f"POST {BILL}send/"),
    f"{BILL}payments/": Page(f"POST {BILL}mark-paid/", settles(amount="1.00", received_on="2027-04-02")),
    f"{BILL}payments/<uuid:payment_id>/reverse/": Page(f"POST {BILL}payments/<uuid:payment_id>/reverse/"),
    f"{BILL}credit-notes/new/": Page(
        f"POST {BILL}credit-notes/", settles(line_1="0.50", paid_back="refund", reason="a node failed")
    ),
    f"{DISPUTE}": Page(f"POST {DISPUTE}messages/", says(text="we look into it")),
    "tenants/new/": Page("POST tenants/", says(**NEW)),
    f"{TENANT}owner/": Page(f"POST {TENANT}owner/", says(owner_email="other@vision.example"), awaits_an_owner),
    f"{TENANT}ceilings/": Page(f"PUT {TENANT}quotas/", says(**CPU)),
    f"{TENANT}look-inside/": Page(f"POST {TENANT}break-glass/", says(**REASON, minutes="20")),
    f"{TENANT}erase/": Page(f"POST {TENANT}erase/"),
    **{f"{TENANT}{act}/": Page(f"POST {TENANT}{act}/") for act in ("suspend", "resume", "close", "restore", "export")},
    "approvals/<uuid:approval_id>/answer/": Page(
        "POST approvals/<uuid:approval_id>/approve/", says(answer="approve", **REASON)
    ),
    f"{LOOK}open/": Page(f"POST {LOOK}open/"),
    f"{LOOK}end/": Page(f"POST {LOOK}end/"),
    f"{LOOK}answer/": Page(f"POST {LOOK}approve/", says(answer="approve")),
    "log/review/": Page(
        "POST log/review/", lambda desk, sent: {"up_to": OperatorHead.objects.get().seq, "note": "read"}
    ),
    "keys/": Page("POST keys/", says(name="export", roles=["platform_support"], days="90")),
    "keys/<uuid:key_id>/revoke/": Page("DELETE keys/<uuid:key_id>/"),
    "notifications/": Page("PUT notifications/", lambda desk, sent: {"node.lost": "on"}),
    "webhooks/": Page("POST webhooks/", says(**HOOKED)),
    f"{HOOK}change/": Page(f"PATCH {HOOK}", says(**HOOKED)),
    f"{HOOK}secret/": Page(f"POST {HOOK}secret/"),
    f"{HOOK}test/": Page(f"POST {HOOK}test/"),
    f"{HOOK}delete/": Page(f"DELETE {HOOK}"),
    f"{HOOK}deliveries/<uuid:delivery_id>/replay/": Page(f"POST {HOOK}deliveries/<uuid:delivery_id>/replay/"),
}
