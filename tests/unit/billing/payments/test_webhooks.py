"""Webhooks: only what Stripe signed, recently, for this account, in a version that we know."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from billing.money import Money
from billing.payments.errors import WebhookRefused
from billing.payments.events import EventKind
from billing.payments.requests import CheckoutRequest
from billing.payments.stripe_gateway import Account, StripeGateway
from tests.fakes.stripe.events import signature
from tests.unit.billing.payments.conftest import START, TENANT, World

SECRET = "whsec_current"
ACCOUNT = Account("sk_test_x", webhook_secrets=("whsec_next", SECRET))
INVOICE = {
    "id": "in_1", "object": "invoice", "currency": "jpy", "total": 1200, "amount_paid": 1000,
    "metadata": {"our_id": "invoice-1", "tenant_id": str(TENANT), "purpose": "invoice"},
}  # fmt: skip


def body(**changes: Any) -> bytes:
    event = {
        "id": "evt_1", "object": "event", "type": "invoice.paid", "created": int(START.timestamp()), "livemode": False,
        "api_version": stripe.api_version, "data": {"object": INVOICE}, **changes,
    }  # fmt: skip
    return json.dumps(event).encode()


def receive(sent: bytes, header: str, account: Account = ACCOUNT, now: datetime = START) -> Any:
    return StripeGateway(account).event(sent, header, now)


def refused(sent: bytes, header: str, account: Account = ACCOUNT, now: datetime = START) -> str:
    with pytest.raises(WebhookRefused) as refusal:
        receive(sent, header, account, now)
    assert refusal.value.status == 400
    return refusal.value.reason


def test_a_signed_event_arrives_in_our_terms() -> None:
    event = receive(body(), signature(body(), SECRET, START))
    assert (event.id, event.kind, event.our_id, event.tenant_id) == ("evt_1", "invoice_paid", "invoice-1", str(TENANT))
    assert (str(event.amount), event.occurred_at, event.external_id) == ("1000.000000 JPY", START, "in_1")


@pytest.mark.parametrize("secret", ["whsec_next", SECRET])
def test_either_secret_is_accepted_while_one_replaces_the_other(secret: str) -> None:
    assert receive(body(), signature(body(), secret, START)).id == "evt_1"


def test_a_header_with_the_signatures_of_two_secrets_is_accepted() -> None:
    old = signature(body(), "whsec_gone", START)
    new = signature(body(), SECRET, START).partition(",")[2]
    assert receive(body(), f"{old},{new}").id == "evt_1"


@pytest.mark.parametrize(
    "header",
    [
        "", "t=1", "v1=00", "t=,v1=", "t=x,v1=y", "t=1;v1=2", "é", "t=1,v1=é", ",,,=,", "t=1,v0=ab",
        signature(body(), "whsec_other", START),
        signature(body(), "", START),
        signature(body(livemode=True), SECRET, START),
        signature(body(), SECRET, START).replace("v1=", "v0="),
        f"t={'9' * 5000},v1=00",
        "t=1,v1=" + "0" * 10_000,
    ],
)  # fmt: skip
def test_a_wrong_signature_is_refused(header: str) -> None:
    assert refused(body(), header) == "signature"


def test_without_a_secret_everything_is_refused() -> None:
    for secrets in ((), ("",), ("  ",)):
        account = replace(ACCOUNT, webhook_secrets=secrets)
        assert refused(body(), signature(body(), "".join(secrets), START), account) == "signature"


@given(at=st.integers(0, len(body()) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(at: int, bit: int) -> None:
    header, changed = signature(body(), SECRET, START), bytearray(body())
    changed[at] ^= 1 << bit
    assert refused(bytes(changed), header) == "signature"


@given(at=st.integers(0, 70), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_header_is_refused(at: int, bit: int) -> None:
    header = bytearray(signature(body(), SECRET, START).encode())
    header[at % len(header)] ^= 1 << bit
    assert refused(body(), header.decode("latin-1")) in ("signature", "age")


@pytest.mark.parametrize("seconds", [301, 3600, 10**9, -301])
def test_the_age_is_at_most_300_seconds_by_the_database_clock(seconds: int) -> None:
    header = signature(body(), SECRET, START)
    assert refused(body(), header, now=START + timedelta(seconds=seconds)) == "age"


@pytest.mark.parametrize("seconds", [0, 300, -300])
def test_a_recent_event_is_accepted(seconds: int) -> None:
    assert receive(body(), signature(body(), SECRET, START), now=START + timedelta(seconds=seconds)).id == "evt_1"


def test_a_new_time_needs_a_new_signature() -> None:
    old = START - timedelta(hours=1)
    mac = signature(body(), SECRET, old).partition(",")[2]
    assert refused(body(), f"t={int(START.timestamp())},{mac}") == "signature"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"livemode": True}, "livemode"),
        ({"livemode": None}, "livemode"),
        ({"account": "acct_other"}, "account"),
        ({"api_version": "2019-01-01"}, "api_version"),
        ({"api_version": None}, "api_version"),
        ({"id": ""}, "content"),
        ({"type": None}, "content"),
        ({"created": "yesterday"}, "content"),
        ({"data": {"object": "in_1"}}, "content"),
        ({"object": "v2.core.event"}, "content"),
    ],
)
def test_a_signed_event_of_another_kind_is_refused(changes: dict[str, Any], reason: str) -> None:
    sent = body(**changes)
    assert refused(sent, signature(sent, SECRET, START)) == reason


@pytest.mark.parametrize("sent", [b"", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_what_is_no_event_is_refused(sent: bytes) -> None:
    assert refused(sent, signature(sent, SECRET, START)) in ("content", "signature")


def test_a_live_key_takes_live_events_only() -> None:
    live = replace(ACCOUNT, api_key="sk_live_x")
    sent = body(livemode=True)
    assert receive(sent, signature(sent, SECRET, START), live).id == "evt_1"
    assert refused(body(), signature(body(), SECRET, START), live) == "livemode"


def test_events_of_a_connected_account_are_accepted_for_it() -> None:
    connected = replace(ACCOUNT, connected="acct_ours")
    sent = body(account="acct_ours")
    assert receive(sent, signature(sent, SECRET, START), connected).id == "evt_1"
    assert refused(body(), signature(body(), SECRET, START), connected) == "account"


def test_every_delivery_of_a_bad_connection_is_accepted_once_and_every_forgery_refused(world: World) -> None:
    fake = world.fake
    fake.add_endpoint("http://webhooks.example/")
    fake.events.doubled, fake.events.shuffled, fake.events.forged, fake.events.delay_s = 0.5, True, 0.5, 200
    customer = world.customer()
    request = CheckoutRequest(
        "top-1", TENANT, customer, "top_up", Money.zero("EUR") + world.draft().total, "x", "u", "v"
    )
    world.gateway.checkout(request, world.timing())
    world.push()
    seen: dict[str, EventKind] = {}

    def receive(url: str, sent: bytes, header: str) -> int:
        try:
            event = world.gateway.event(sent, header, world.now)
        except WebhookRefused:
            return 400
        first = event.id not in seen
        seen[event.id] = event.kind
        return 500 if first and len(seen) % 3 == 0 else 200

    for _ in range(10):
        fake.events.deliver(receive)
        world.advance(minutes=4)
    assert fake.events.pending == 0
    assert seen.keys() == {event["id"] for event in fake.store.all("event")}
    forged = {status for name, status in fake.events.answers if name == "forged"}
    assert forged == {400}
