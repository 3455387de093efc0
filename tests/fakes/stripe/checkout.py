"""Checkout sessions, and the pages of Checkout and of hosted invoices, which a person pays with one click."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

from tests.fakes.stripe import objects
from tests.fakes.stripe.customers import new_method
from tests.fakes.stripe.errors import Refusal, bad
from tests.fakes.stripe.invoices import CHARGEABLE, pay_by
from tests.fakes.stripe.payments import confirm, new_intent
from tests.fakes.stripe.service import Request, Service, route, update_metadata
from tests.fakes.stripe.store import Object

LIFE_S = 24 * 3600
BUTTONS = {"pm_card_visa": "Pay", "pm_card_chargeCustomerFail": "Pay with a card that is declined"}


class Page(NamedTuple):
    """A response to a browser: a page, or a redirect."""

    status: int
    html: str = ""
    location: str = ""


@route("POST", "/checkout/sessions", "checkout.SessionCreateParams")
def create_session(request: Request) -> Object:
    """Create a page for a payment or for saving a payment method."""
    store, params = request.store, request.params
    mode = params.get("mode")
    if mode not in ("payment", "setup"):
        raise bad("This stand-in has the modes payment and setup.", "parameter_missing", "mode", saved=False)
    if params.get("customer") is not None:
        store.get("customer", params["customer"], "customer")
    made = objects.new(
        store,
        "checkout.session",
        cancel_url=params.get("cancel_url"),
        client_reference_id=params.get("client_reference_id"),
        customer=params.get("customer"),
        expires_at=params.get("expires_at", store.clock.now() + LIFE_S),
        mode=mode,
        success_url=params.get("success_url"),
    )
    update_metadata(made, params)
    made["url"] = f"{request.service.address}/checkout/{made['id']}"
    about = params.get(f"{mode}_intent_data", {}).get("metadata", {})
    if mode == "setup":
        if "currency" not in params:
            raise bad("`currency` is required in setup mode.", "parameter_missing", "currency", saved=False)
        intent = objects.new(store, "setup_intent", customer=made["customer"], metadata=about)
        made.update(currency=params["currency"].lower(), payment_status="no_payment_required")
        made["setup_intent"] = store.add(intent)["id"]
    else:
        _price(made, params.get("line_items", []))
        made["_intent_metadata"] = about
    return _seen(store.add(made))


def _price(session: Object, items: list[Object]) -> None:
    prices = [item.get("price_data") for item in items]
    if not items or None in prices or len({price["currency"] for price in prices if price}) != 1:
        raise bad(
            "Give line_items with price_data, all in one currency.", "parameter_missing", "line_items", saved=False
        )
    total = sum(
        price["unit_amount"] * item.get("quantity", 1) for price, item in zip(prices, items, strict=True) if price
    )
    session.update(
        currency=prices[0]["currency"].lower() if prices[0] else "", amount_subtotal=total, amount_total=total
    )


def _seen(session: Object) -> Object:
    return {name: value for name, value in session.items() if not name.startswith("_")}


@route("GET", "/checkout/sessions", "checkout.SessionListParams")
def list_sessions(request: Request) -> Object:
    """List sessions."""
    params = request.params
    found = request.store.all("checkout.session", customer=params.get("customer"), status=params.get("status"))
    return request.store.page([_seen(one) for one in found], params, request.path)


@route("GET", "/checkout/sessions/{id}", "checkout.SessionRetrieveParams")
def get_session(request: Request) -> Object:
    """Return a session."""
    return _seen(request.store.get("checkout.session", request.ids[0]))


@route("POST", "/checkout/sessions/{id}/expire", "checkout.SessionExpireParams")
def expire_session(request: Request) -> Object:
    """Close a page that nobody used."""
    one = request.store.get("checkout.session", request.ids[0])
    if one["status"] != "open":
        raise bad('Only Checkout Sessions with a status in ["open"] can be expired.')
    one.update(status="expired", url=None)
    request.service.events.add("checkout.session.expired", _seen(one))
    return _seen(one)


def complete(request: Request, session: Object, card: str) -> None:
    """Pay a session with a card of test mode, or save the card. Raises the 402 of one that declines."""
    store = request.store
    if session["mode"] == "setup":
        method = new_method(request, card, customer=session["customer"])
        intent = store.get("setup_intent", session["setup_intent"])
        intent.update(status="succeeded", payment_method=method["id"])
        request.service.events.add("payment_method.attached", method)
        request.service.events.add("setup_intent.succeeded", intent)
    else:
        intent = new_intent(
            request, session["amount_total"], session["currency"], session["customer"],
            metadata=dict(session["_intent_metadata"]),
        )  # fmt: skip
        confirm(request, intent, new_method(request, card))
        session.update(payment_intent=intent["id"], payment_status="paid")
    session.update(status="complete", url=None)
    request.service.events.add("checkout.session.completed", _seen(session))


def page(service: Service, method: str, path: str, form: dict[str, str]) -> Page | None:
    """Answer a browser at `/checkout/ID` or `/invoice/ID`; None elsewhere."""
    kind, _, object_id = path.strip("/").partition("/")
    if kind not in ("checkout", "invoice"):
        return None
    with service.store.lock:
        try:
            one = service.store.get("checkout.session" if kind == "checkout" else "invoice", object_id)
        except Refusal:
            return Page(404, _html("Not found", "<p>There is no such page.</p>"))
        if method == "GET":
            return Page(200, _form(kind, one))
        request = Request(service, path, (object_id,), {})
        try:
            return _paid(request, kind, one, form.get("card", ""))
        except Refusal as refusal:
            return Page(402, _form(kind, one, str(refusal)))


def _paid(request: Request, kind: str, one: Object, card: str) -> Page:
    if card in BUTTONS and kind == "checkout" and one["status"] == "open":
        complete(request, one, card)
    elif card in BUTTONS and kind == "invoice" and one["status"] in CHARGEABLE:
        pay_by(request, one, new_method(request, card, customer=one["customer"]))
    location = f"/invoice/{one['id']}"
    if kind == "checkout":
        location = (one["success_url"] or "/").replace("{CHECKOUT_SESSION_ID}", one["id"])
    return Page(303, location=location)


def _form(kind: str, one: Object, fault: str = "") -> str:
    amount = one["amount_total"] if kind == "checkout" else one["amount_remaining"]
    title = f"Pay {amount} {(one['currency'] or '').upper()} (minor units)" if amount else "Save a card"
    if one["status"] not in ("open", "uncollectible"):
        return _html("Nothing to pay", f"<p>This page is {escape(one['status'])}.</p>")
    buttons = "".join(f'<button name="card" value="{card}">{text}</button>' for card, text in BUTTONS.items())
    alert = f'<p role="alert">{escape(fault)}</p>' if fault else ""
    cancel = one.get("cancel_url")
    back = f'<p><a href="{escape(cancel)}">Back</a></p>' if cancel else ""
    return _html(title, f'{alert}<form method="post">{buttons}</form>{back}')


def _html(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
