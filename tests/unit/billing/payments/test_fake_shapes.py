"""What the stand-in returns has the fields and types that Stripe's library declares, and the fields of its examples."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ForwardRef, Literal, get_args, get_origin

import pytest
import requests
import stripe
from stripe import ListObject, StripeClient, StripeObject

from billing.money import Money
from billing.payments.errors import Declined
from billing.payments.requests import CheckoutRequest, CreditNote, Line, Refund
from tests.fakes import stripe as standin
from tests.unit.billing.payments.conftest import TENANT, World

PUBLISHED: dict[str, list[str]] = json.loads((Path(standin.__file__).parent / "published_fields.json").read_text())
#: Shown in the examples, but by this version only on request.
ON_REQUEST = {"charge": {"refunds"}}


def everything(world: World) -> StripeClient:
    """Create each object, in each of its states."""
    gateway, timing = world.gateway, world.timing()
    customer = world.customer()
    for at, state in enumerate(("paid", "declined", "void", "written-off", "outside", "credited")):
        _, invoice = world.push(f"invoice-{state}", 1000 + at)
        if state == "paid":
            gateway.pay(invoice, world.card(customer), 1, timing)
            gateway.credit_note(CreditNote("credit-2", invoice, "EUR", (Line("c", "x", 100),), refund=True), timing)
            gateway.refund(
                Refund("refund-1", TENANT, gateway.payments(invoice)[0].external_id, Money(Decimal(1), "EUR")), timing
            )
        elif state == "declined":
            with pytest.raises(Declined):
                gateway.pay(invoice, world.card(customer, "pm_card_chargeCustomerFail"), 1, timing)
        elif state == "void":
            gateway.void(invoice, timing)
        elif state == "written-off":
            gateway.write_off(invoice, timing)
        elif state == "outside":
            gateway.mark_paid(invoice, timing)
        else:
            gateway.credit_note(CreditNote("credit-1", invoice, "EUR", (Line("c", "x", 100),)), timing)
    client = gateway._stripe
    client.v1.invoices.create({"customer": customer})
    for purpose in ("top_up", "method"):
        request = CheckoutRequest(
            purpose, TENANT, customer, purpose, Money(Decimal(5), "EUR"), "x", "http://a/", "http://b/"
        )
        requests.post(
            gateway.checkout(request, timing).url, {"card": "pm_card_visa"}, allow_redirects=False, timeout=10
        )
    gateway.checkout(
        CheckoutRequest("open", TENANT, customer, "top_up", Money(Decimal(5), "EUR"), "x", "u", "v"), timing
    )
    return client


def objects(world: World, client: StripeClient) -> Iterator[StripeObject]:
    """Yield each object as the library reads it."""
    v1 = client.v1
    invoices = list(v1.invoices.list({"limit": 100, "expand": ["data.payments"]}))
    yield from invoices
    for invoice in invoices:
        yield from invoice.lines
    for listed in (v1.customers, v1.payment_methods, v1.invoice_items, v1.invoice_payments, v1.refunds, v1.events):
        yield from listed.list({"limit": 100})
    yield from v1.payment_intents.list({"limit": 100, "expand": ["data.latest_charge"]})
    yield from v1.checkout.sessions.list({"limit": 100})
    for note in v1.credit_notes.list({"limit": 100}):
        yield note
        yield from note.lines
    for one in world.fake.store.all("charge"):
        yield v1.charges.retrieve(one["id"])
    for one in world.fake.store.all("setup_intent"):
        yield v1.setup_intents.retrieve(one["id"])


def annotations(kind: type) -> dict[str, tuple[Any, type]]:
    """Return the annotations of a class with the class that declares each."""
    found: dict[str, tuple[Any, type]] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, StripeObject) and one not in (StripeObject, ListObject):
            for name, hint in vars(one).get("__annotations__", {}).items():
                if not name.startswith("_") and get_origin(hint) is not type and "ClassVar" not in str(hint):
                    found[name] = (hint, one)
    return found


def faults(value: Any, hint: Any, owner: type, path: str) -> list[str]:
    """Return where a value is not of an annotated type."""
    if isinstance(hint, ForwardRef | str):
        name = hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
        hint = vars(sys.modules[owner.__module__]).get(name) or getattr(stripe, name, None)
        if hint is None:  # imported for type checkers only, and not used by us
            return [] if isinstance(value, str | StripeObject) or value is None else [f"{path}: {value!r}"]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return [] if value in arguments else [f"{path}: {value!r} is none of {arguments}"]
    if origin is list:
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no list"]
        return [fault for at, one in enumerate(value) for fault in faults(one, arguments[0], owner, f"{path}[{at}]")]
    if origin is not None and isinstance(origin, type) and issubclass(origin, ListObject):
        return [] if isinstance(value, ListObject) and isinstance(value.data, list) else [f"{path}: {value!r}"]
    if arguments and not isinstance(origin, type):
        found = [faults(value, one, owner, path) for one in arguments]
        return [] if [] in found else max(found, key=lambda one: one[0].partition(":")[0].count("."))
    if hint in (Any, type(None)) or (isinstance(origin, type) and isinstance(value, origin | StripeObject)):
        return [] if hint is not type(None) or value is None else [f"{path}: {value!r} is not null"]
    if isinstance(hint, type) and issubclass(hint, StripeObject):
        return object_faults(value, hint, path) if isinstance(value, StripeObject) else [f"{path}: {value!r}"]
    right = isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return [] if right else [f"{path}: {value!r} is no {hint}"]


def object_faults(one: StripeObject, kind: type, path: str) -> list[str]:
    """Return required fields that an object lacks, fields that the library does not know, and wrong types."""
    held, declared = one.to_dict(recursive=False), annotations(kind)
    if not declared:
        return []
    found = []
    for name, (hint, owner) in declared.items():
        if name in held:
            found += faults(held[name], hint, owner, f"{path}.{name}")
        elif faults(None, hint, owner, ""):
            found.append(f"{path}.{name} is missing")
    return found + [f"{path}.{name} is unknown" for name in held.keys() - declared.keys()]


def test_every_object_has_the_declared_and_the_published_fields(world: World) -> None:
    world.fake.add_endpoint("http://webhooks.example/")
    client, found, seen = everything(world), set(), set()
    for one in objects(world, client):
        held = one.to_dict(recursive=False)
        name = str(held["object"])
        seen.add(name)
        found |= set(object_faults(one, type(one), name))
        declared = set(annotations(type(one)))
        published = set(PUBLISHED[name]) & declared - ON_REQUEST.get(name, set())
        found |= {f"{name}.{field} is published and missing" for field in published - held.keys()}
    assert found == set()
    assert seen == set(PUBLISHED)


def test_the_check_finds_what_is_wrong(world: World) -> None:
    world.customer()
    (stored,) = world.fake.store.all("customer")
    (one,) = world.gateway._stripe.v1.customers.list()
    assert object_faults(one, stripe.Customer, "customer") == []
    stored.update(created="yesterday", tax_exempt=3, surprise=1, invoice_settings={"footer": 5})
    del stored["livemode"]
    (one,) = world.gateway._stripe.v1.customers.list()
    wrong = "\n".join(object_faults(one, stripe.Customer, "customer"))
    for name in ("created: 'yesterday'", "tax_exempt: 3", "surprise is unknown", "livemode is missing", "footer: 5"):
        assert f"customer.{name}" in wrong or f"customer.invoice_settings.{name}" in wrong
