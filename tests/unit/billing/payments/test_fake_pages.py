"""The stand-in's pages and webhooks, as a browser and a server of ours meet them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from billing.money import Money
from billing.payments.errors import WebhookRefused
from billing.payments.events import EventKind, PaymentEvent, payment_state
from billing.payments.requests import CheckoutPage, CheckoutRequest, Purpose
from tests.support.waiting import wait_until
from tests.unit.billing.payments.conftest import TENANT, World


def page_for(world: World, purpose: Purpose = "top_up") -> CheckoutPage:
    request = CheckoutRequest(
        "top-1", TENANT, world.customer(), purpose, Money(Decimal(50), "EUR"), "Top-up",
        "http://ours.example/done?session={CHECKOUT_SESSION_ID}", "http://ours.example/back",
    )  # fmt: skip
    return world.gateway.checkout(request, world.timing())


def click(url: str, card: str = "pm_card_visa") -> requests.Response:
    return requests.post(url, {"card": card}, allow_redirects=False, timeout=10)


def test_one_click_pays_and_returns_to_us(world: World) -> None:
    page = page_for(world)
    shown = requests.get(page.url, timeout=10).text
    assert '<button name="card" value="pm_card_visa">Pay</button>' in shown
    assert 'href="http://ours.example/back"' in shown
    declined = click(page.url, "pm_card_chargeCustomerFail")
    assert declined.status_code == 402
    assert '<p role="alert">Your card was declined.</p>' in declined.text
    for _ in range(2):
        paid = click(page.url)
        assert (paid.status_code, paid.headers["Location"]) == (
            303,
            f"http://ours.example/done?session={page.external_id}",
        )
    assert [one["status"] for one in world.fake.store.all("charge")] == ["failed", "succeeded"]
    session = world.fake.store.get("checkout.session", page.external_id)
    assert (session["status"], session["payment_status"]) == ("complete", "paid")
    assert "complete" in requests.get(page.url, timeout=10).text


def test_one_click_saves_a_card(world: World) -> None:
    assert click(page_for(world, "method").url).status_code == 303
    (method,) = world.gateway.payment_methods(world.customer())
    assert method.last4 == "4242"


def test_an_invoice_has_a_page_too(world: World) -> None:
    pushed, invoice = world.push("invoice-1", 700)
    assert "Pay 700 EUR" in requests.get(pushed.payment_url, timeout=10).text
    assert click(pushed.payment_url).status_code == 303
    (payment,) = world.gateway.payments(invoice)
    assert payment.amount == pushed.total
    assert requests.get(f"{world.fake.url}/invoice/in_nothing", timeout=10).status_code == 404


@contextmanager
def receiver(world: World, events: list[PaymentEvent], refusals: int) -> Iterator[str]:
    """Serve an address of ours; the first `refusals` webhooks get a 500."""
    left = [500] * refusals

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = left.pop() if left else 200
            try:
                event = world.gateway.event(body, self.headers["Stripe-Signature"], world.now)
            except WebhookRefused:
                status = 400
            if status == 200:
                events.append(event)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/webhooks/stripe/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_webhooks_arrive_signed_and_are_repeated_until_accepted(world: World) -> None:
    events: list[PaymentEvent] = []
    with receiver(world, events, refusals=3) as url:
        world.fake.add_endpoint(url)
        click(page_for(world).url)
        world.fake.events.deliver()
        assert world.fake.events.pending == 3
        world.advance(minutes=1)
        assert world.fake.events.deliver() == 3
    assert {one.id for one in events} == {one["id"] for one in world.fake.store.all("event")}
    state = payment_state(one for one in events if one.our_id == "top-1")
    assert (state.state, state.paid) == ("paid", Money(Decimal(50), "EUR"))


def test_webhooks_are_delivered_in_the_background(world: World) -> None:
    events: list[PaymentEvent] = []
    with receiver(world, events, refusals=0) as url:
        world.fake.add_endpoint(url)
        world.fake.events.start()
        click(page_for(world).url)
        assert wait_until(lambda: any(one.kind == EventKind.CHECKOUT_PAID for one in events), "no webhook arrived")
        world.fake.events.stop()


@pytest.mark.parametrize("live", [True, False])
def test_a_live_account_sends_live_events(world: World, live: bool) -> None:
    world.fake.store.livemode = live
    event = world.fake.events.add("customer.created", {"id": "cus_1", "object": "customer"})
    assert event["livemode"] is live
    assert world.fake.api_key.startswith("sk_live_" if live else "sk_test_")
