"""The stand-in keeps idempotency keys and fails as Stripe does, seen through Stripe's own library."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import stripe
from stripe import RequestsClient, StripeClient

from tests.fakes.stripe import StripeServer
from tests.fakes.stripe.faults import APPLIED_500, DROP, LIMITED, LOCKED, LOST_500, SAVED_500, STALL
from tests.fakes.stripe.server import API_KEY
from tests.fakes.stripe.store import Clock
from tests.support.waiting import wait_until


def connect(fake: StripeServer, key: str = API_KEY, timeout: float = 5) -> StripeClient:
    return StripeClient(
        key, base_addresses={"api": fake.url}, max_network_retries=0, http_client=RequestsClient(timeout=timeout)
    )


@pytest.fixture
def client(fake: StripeServer) -> StripeClient:
    """Stripe's library, connected to the stand-in."""
    return connect(fake)


def create(client: StripeClient, key: str = "k1", name: str = "Acme") -> stripe.Customer:
    return client.v1.customers.create({"name": name}, {"idempotency_key": key})


def count(fake: StripeServer) -> int:
    return len(fake.store.all("customer"))


def test_the_same_key_returns_the_first_response(client: StripeClient, fake: StripeServer) -> None:
    first, second = create(client), create(client)
    assert (first.id, count(fake)) == (second.id, 1)
    assert second.last_response is not None
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    assert create(client, "k2").id != first.id


def test_the_same_key_with_other_parameters_is_refused(client: StripeClient, fake: StripeServer) -> None:
    create(client)
    with pytest.raises(stripe.IdempotencyError):
        create(client, name="Another")
    assert count(fake) == 1


def test_a_key_is_forgotten_after_a_day(client: StripeClient, fake: StripeServer) -> None:
    first = create(client)
    fake.clock.advance(timedelta(hours=23, minutes=59))
    assert create(client).id == first.id
    fake.clock.advance(timedelta(minutes=1))
    assert create(client).id != first.id
    assert len(fake.keys) == 1


@pytest.mark.parametrize(("fault", "customers"), [(SAVED_500, 0), (APPLIED_500, 1)])
def test_a_500_is_kept(client: StripeClient, fake: StripeServer, fault: str, customers: int) -> None:
    fake.faults.next(fault)
    for _ in range(3):
        with pytest.raises(stripe.APIError) as error:
            create(client)
        assert error.value.http_status == 500
    assert count(fake) == customers
    fake.clock.advance(timedelta(days=1))
    assert create(client).name == "Acme"


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [(LOST_500, 500, stripe.APIError), (LOCKED, 409, stripe.APIError), (LIMITED, 429, stripe.RateLimitError)],
)
def test_what_was_not_executed_is_not_kept(
    client: StripeClient, fake: StripeServer, fault: str, status: int, error: type[stripe.StripeError]
) -> None:
    fake.faults.next(fault)
    with pytest.raises(error) as refusal:
        create(client)
    assert (refusal.value.http_status, count(fake)) == (status, 0)
    assert create(client).name == "Acme"
    assert count(fake) == 1


def test_a_rate_limit_says_how_long_to_wait(client: StripeClient, fake: StripeServer) -> None:
    fake.faults.next(LIMITED)
    with pytest.raises(stripe.RateLimitError) as refusal:
        create(client)
    assert (refusal.value.headers or {})["Retry-After"] == "1"


def test_a_dropped_connection_hides_an_effect_that_the_key_finds(client: StripeClient, fake: StripeServer) -> None:
    fake.faults.next(DROP)
    with pytest.raises(stripe.APIConnectionError):
        create(client)
    assert count(fake) == 1
    assert create(client).id == fake.store.all("customer")[0]["id"]


def test_a_stall_takes_effect_after_the_client_has_gone_and_meanwhile_the_key_is_in_use(fake: StripeServer) -> None:
    # The stall lasts until the test lets it go, so that nothing depends on the speed of the machine.
    gone, begun = threading.Event(), threading.Event()
    real = fake._run

    def held(*args: Any) -> Any:
        begun.set()
        assert gone.wait(60)
        return real(*args)

    fake._run = held  # type: ignore[method-assign]
    fake.faults.stall_s = 0
    fake.faults.next(STALL)
    with pytest.raises(stripe.APIConnectionError):
        create(connect(fake, timeout=0.2))
    assert begun.wait(60)
    with pytest.raises(stripe.APIError) as refusal:
        create(connect(fake))
    assert refusal.value.http_status == 409
    assert count(fake) == 0
    gone.set()
    wait_until(lambda: count(fake) == 1, "the stalled request took no effect")
    wait_until(lambda: fake.keys.free_or_kept("k1"), "the key is still in use")
    assert create(connect(fake)).id == fake.store.all("customer")[0]["id"]


def test_a_declined_card_is_kept(client: StripeClient, fake: StripeServer) -> None:
    for _ in range(2):
        with pytest.raises(stripe.CardError) as refusal:
            client.v1.payment_intents.create(
                {"amount": 100, "currency": "eur", "payment_method": "pm_card_chargeCustomerFail", "confirm": True},
                {"idempotency_key": "k1"},
            )
        assert refusal.value.code == "card_declined"
    assert len(fake.store.all("charge")) == 1


def test_bad_parameters_are_not_kept(client: StripeClient, fake: StripeServer) -> None:
    for params, code in [
        ({"nickname": "x"}, "parameter_unknown"),
        ({"invoice_settings": {"nothing": "x"}}, "parameter_unknown"),
        ({"balance": "much"}, "parameter_invalid_integer"),
    ]:
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            client.v1.customers.create(params, {"idempotency_key": "k1"})  # type: ignore[arg-type]
        assert refusal.value.code == code
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        client.v1.invoice_items.create({}, {"idempotency_key": "k1"})
    assert refusal.value.code == "parameter_missing"
    assert create(client).name == "Acme"
    assert count(fake) == 1


def test_an_unknown_object_is_404(client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        client.v1.invoices.retrieve("in_nothing")
    assert (refusal.value.http_status, refusal.value.code) == (404, "resource_missing")
    assert (refusal.value.request_id or "").startswith("req_")


@pytest.mark.parametrize("key", ["sk_test_other", "sk_live_exchequer"])
def test_a_wrong_key_is_401(fake: StripeServer, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as refusal:
        create(connect(fake, key))
    assert key not in str(refusal.value)


def test_another_version_is_refused(fake: StripeServer) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        connect(fake).v1.customers.list({}, {"stripe_version": "2019-01-01"})


def test_lists_have_pages(client: StripeClient, fake: StripeServer) -> None:
    ids = [create(client, f"k{at}").id for at in range(25)]
    page = client.v1.customers.list({"limit": 10})
    assert (len(page.data), page.has_more) == (10, True)
    assert [one.id for one in page.auto_paging_iter()] == ids[::-1]
    last = client.v1.customers.list({"limit": 10, "starting_after": ids[5]})
    assert ([one.id for one in last.data], last.has_more) == (ids[4::-1], False)
    before = client.v1.customers.list({"limit": 3, "ending_before": ids[5]})
    assert [one.id for one in before.data] == [ids[8], ids[7], ids[6]]


def test_search_is_paged_and_lags(client: StripeClient, fake: StripeServer) -> None:
    for at in range(12):
        client.v1.customers.create({"metadata": {"our_id": "it's" if at else "other"}})
    fake.store.search_delay_s = 60
    query = {"query": "metadata['our_id']:'it\\'s'", "limit": 5}
    assert list(client.v1.customers.search(query).auto_paging_iter()) == []  # type: ignore[arg-type]
    fake.clock.advance(timedelta(seconds=60))
    assert len(list(client.v1.customers.search(query).auto_paging_iter())) == 11  # type: ignore[arg-type]


def test_faults_of_a_seed_repeat(fake: StripeServer) -> None:
    draws = []
    for _ in range(2):
        fake.faults.seed(3)
        fake.faults.spread(0.2)
        draws.append([fake.faults.draw("POST", "/v1/invoices") for _ in range(500)])
    assert draws[0] == draws[1]
    assert 60 < sum(map(bool, draws[0])) < 140


def test_another_process_controls_it_over_http(client: StripeClient, fake: StripeServer) -> None:
    def control(name: str, **given: Any) -> Any:
        return requests.post(f"{fake.url}/_fake/{name}", json=given, timeout=10).json()

    before = control("clock", advance_s=0)["now"]
    assert control("clock", advance_s=90)["now"] == before + 90
    control("faults", next=["lost_500"], stall_s=1)
    with pytest.raises(stripe.APIError):
        create(client)
    control("endpoints", url="http://127.0.0.1:9/hook")
    create(client)
    assert control("webhooks") == {"accepted": 0, "pending": 1}
    assert control("state")["faults"] == {"lost_500": 1}


def test_a_clock_that_runs_goes_on_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a database whose time goes on, one that stands still signs events that are too old after five minutes."""
    now, clock, start = 1_000.0, Clock(), datetime(2027, 4, 2, tzinfo=UTC)
    monkeypatch.setattr("tests.fakes.stripe.store.time.time", lambda: now)
    clock.run_from(start)
    now += 301
    clock.advance(timedelta(hours=1))
    assert clock.now() == start.timestamp() + 301 + 3600
