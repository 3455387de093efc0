"""Customers, their payment methods, and setup intents."""

from __future__ import annotations

from typing import Any

from tests.fakes.stripe import objects
from tests.fakes.stripe.errors import bad
from tests.fakes.stripe.service import Request, route, update_metadata
from tests.fakes.stripe.store import Object

#: Cards of test mode: the last digits, and the decline code of a charge.
CARDS = {
    "pm_card_visa": ("4242", ""),
    "pm_card_mastercard": ("4444", ""),
    "pm_card_chargeCustomerFail": ("0341", "generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("9995", "insufficient_funds"),
    "pm_card_authenticationRequired": ("3184", "authentication_required"),
}
TOKENS = {"tok_visa": "pm_card_visa", "tok_mastercard": "pm_card_mastercard"}
DECLINES = dict(CARDS.values())


def card(last4: str = "4242", brand: str = "visa") -> Object:
    """Return the fields of a card."""
    return {
        **objects.nothing("generated_from wallet regulated_status"),
        "brand": brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": brand,
        "exp_month": 8,
        "exp_year": 2034,
        "fingerprint": "AOB934RVNwzk6xtn",
        "funding": "credit",
        "last4": last4,
        "networks": {"available": [brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
    }


def charged_card(saved: Object) -> Object:
    """Return the fields of a card in a charge."""
    names = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    return {
        **objects.nothing(
            "amount_authorized authorization_code installments mandate network_token network_transaction_id "
            "regulated_status three_d_secure transaction_link_id wallet"
        ),
        **{name: saved[name] for name in names},
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "multicapture": {"status": "unavailable"},
        "network": saved["brand"],
        "overcapture": {"maximum_amount_capturable": 0, "status": "unavailable"},
    }


@route("POST", "/customers", "CustomerCreateParams")
def create_customer(request: Request) -> Object:
    """Create a customer."""
    params = dict(request.params)
    update_metadata(made := objects.new(request.store, "customer"), params)
    made.update({name: params[name] for name in ("name", "email", "phone", "description", "address") if name in params})
    request.service.events.add("customer.created", request.store.add(made))
    return made


@route("GET", "/customers", "CustomerListParams")
def list_customers(request: Request) -> Object:
    """List customers."""
    found = request.store.all("customer", email=request.params.get("email"))
    return request.store.page(found, request.params, request.path)


@route("GET", "/customers/search", "CustomerSearchParams")
def search_customers(request: Request) -> Object:
    """Search customers."""
    return request.store.search("customer", request.params, request.path)


@route("GET", "/customers/{id}", "CustomerRetrieveParams")
def get_customer(request: Request) -> Object:
    """Return a customer."""
    return request.store.get("customer", request.ids[0])


@route("POST", "/customers/{id}", "CustomerUpdateParams")
def update_customer(request: Request) -> Object:
    """Change a customer."""
    one, params = request.store.get("customer", request.ids[0]), request.params
    chosen = params.get("invoice_settings", {}).get("default_payment_method")
    if chosen and request.store.get("payment_method", chosen)["customer"] != one["id"]:
        raise bad("The customer does not have a payment method with this ID.", "resource_missing")
    update_metadata(one, params)
    one.update({name: params[name] for name in ("name", "email", "phone", "description", "address") if name in params})
    one["invoice_settings"].update(params.get("invoice_settings", {}))
    request.service.events.add("customer.updated", one)
    return one


def new_method(request: Request, name: str, **fields: Any) -> Object:
    """Keep a new payment method of a card of test mode."""
    last4, _ = CARDS[name]
    made = objects.new(request.store, "payment_method", card=card(last4), **fields)
    return request.store.add(made)


@route("POST", "/payment_methods", "PaymentMethodCreateParams")
def create_method(request: Request) -> Object:
    """Create a payment method from a token."""
    token = request.params.get("card", {}).get("token", "")
    if token not in TOKENS:
        raise bad(f"No such token: '{token}'", "resource_missing", "card[token]")
    return new_method(request, TOKENS[token])


@route("GET", "/payment_methods", "PaymentMethodListParams")
def list_methods(request: Request) -> Object:
    """List payment methods of a customer."""
    if (customer := request.params.get("customer")) is not None:
        request.store.get("customer", customer, "customer")
    found = request.store.all("payment_method", customer=customer, type=request.params.get("type"))
    return request.store.page(found, request.params, request.path)


@route("GET", "/payment_methods/{id}", "PaymentMethodRetrieveParams")
def get_method(request: Request) -> Object:
    """Return a payment method."""
    return request.store.get("payment_method", request.ids[0])


@route("POST", "/payment_methods/{id}/attach", "PaymentMethodAttachParams")
def attach_method(request: Request) -> Object:
    """Give a payment method to a customer; a card of test mode becomes a new one."""
    customer = request.store.get("customer", request.params["customer"], "customer")
    name = request.ids[0]
    one = new_method(request, name) if name in CARDS else request.store.get("payment_method", name)
    if one["customer"] not in (None, customer["id"]):
        raise bad("The payment method you provided has already been attached to a customer.")
    one["customer"] = customer["id"]
    request.service.events.add("payment_method.attached", one)
    return one


@route("POST", "/payment_methods/{id}/detach", "PaymentMethodDetachParams")
def detach_method(request: Request) -> Object:
    """Take a payment method from its customer; it cannot be used again."""
    one = request.store.get("payment_method", request.ids[0])
    if one["customer"] is None:
        raise bad("The payment method you provided is not attached to a customer so detachment is impossible.")
    settings = request.store.get("customer", one["customer"])["invoice_settings"]
    if settings["default_payment_method"] == one["id"]:
        settings["default_payment_method"] = None
    one["customer"] = None
    request.service.events.add("payment_method.detached", one)
    return one


@route("GET", "/setup_intents/{id}", "SetupIntentRetrieveParams")
def get_setup_intent(request: Request) -> Object:
    """Return a setup intent."""
    return request.store.get("setup_intent", request.ids[0])


@route("GET", "/events", "EventListParams")
def list_events(request: Request) -> Object:
    """List events."""
    return request.store.page(request.store.all("event", type=request.params.get("type")), request.params, request.path)


@route("GET", "/events/{id}", "EventRetrieveParams")
def get_event(request: Request) -> Object:
    """Return an event."""
    return request.store.get("event", request.ids[0])
