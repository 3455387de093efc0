"""kill -9 of the serving node under load, PostgreSQL unreachable, a stop: each answered request is billed exactly once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from billing.budgets import budgets
from billing.models import Hold
from models_app.endpoints import deployments, endpoint_keys
from models_app.models import Endpoint, EndpointKey, ServingSlice
from tenants.events import outbox
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tests.fakes.serving import NUMBERS
from tests.faults.test_database import Server, server
from tests.support import factories
from tests.support.servers.services import S3
from tests.support.serving_node import ROW, ServingCluster
from tests.support.waiting import wait_until

__all__ = ["server"]

pytestmark = pytest.mark.django_db(transaction=True)
CLIENTS = 4


@pytest.fixture
def home(
    process_environment: Callable[..., dict[str, str]],
    as_control: Callable[[], AbstractContextManager[None]],
    s3: S3,
    tmp_path: Path,
) -> Iterator[ServingCluster]:
    tenant = factories.make_tenant()
    opened = ServingCluster(process_environment, tmp_path, s3, tenant, factories.actor_for(tenant), as_control)
    yield opened
    opened.close()
    print(opened.log_text()[-6000:])  # noqa: T201 (shown for a test that failed)


def assert_billed_as_answered(home: ServingCluster, endpoint: Any, answered: int, lost: int) -> None:
    """Assert that each answered request is billed once; of those whose response was lost in a kill, at most each once."""
    wait_until(lambda: home.billed(endpoint)[0] >= answered, f"{answered} billed, are {home.billed(endpoint)}")
    time.sleep(1.5)  # for anything that might be billed twice
    billed, _ = home.billed(endpoint)
    assert answered <= billed <= answered + lost, (answered, billed, lost)


def billed_after_kills(home: ServingCluster, kills: int) -> tuple[int, int, int]:
    """Kill the node again and again under load, and compare the bill with the clients' responses.

    Return the billed responses, those that arrived, and the requests whose connection broke.
    """
    chance = random.Random(kills)
    home.start()
    _, endpoint = home.deploy("price")
    home.wait_ready(endpoint)
    key = home.key(endpoint)
    with home.load(key, "price", CLIENTS) as tally:
        for _ in range(kills):
            before = tally.count(200)
            wait_until(lambda before=before: tally.count(200) > before + 30, "answers")
            time.sleep(chance.uniform(0, 0.8))  # to kill it at any moment
            home.kill()
            home.start()
        before = tally.count(200)
        wait_until(lambda: tally.count(200) > before + 30, "answers after the last kill")
    assert {status for status, _ in tally.answered} <= {200, 503}, [text for _, text in tally.answered if text][:3]
    assert tally.count(200) > 30 * kills
    assert tally.broken <= CLIENTS * kills
    assert_billed_as_answered(home, endpoint, tally.count(200), tally.broken)
    assert home.stop() < 10
    billed, amount = home.billed(endpoint)
    _, compute = home.billed(endpoint, "inference_ms")
    if not tally.broken:
        assert amount + compute == pytest.approx(tally.cost, rel=1e-6)
    with tenant_scope(home.tenant.id):
        assert not ServingSlice.objects.filter(closed_at=None).exists(), "what was held is given back"
        assert not Hold.objects.filter(state="open").exists()
        spent = sum(Hold.objects.values_list("settled", flat=True))
    assert float(spent) == pytest.approx(amount + compute, rel=1e-9)
    return int(billed), tally.count(200), tally.broken


def test_three_kills_under_load_bill_each_answer_once(home: ServingCluster) -> None:
    billed, answered, broken = billed_after_kills(home, 3)
    assert 0 < answered <= billed <= answered + broken


@pytest.mark.nightly
def test_ten_kills_under_load_bill_each_answer_once(home: ServingCluster) -> None:
    billed, answered, broken = billed_after_kills(home, 10)
    assert 0 < answered <= billed <= answered + broken


def test_a_stop_answers_bills_and_gives_back_what_was_held(home: ServingCluster) -> None:
    home.start()
    model, endpoint = home.deploy("price")
    home.wait_ready(endpoint)
    key = home.key(endpoint)
    rows = [ROW, [0, None, -1, 2.5]]
    answer = home.post(key, "price", rows)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == pytest.approx(model.predict(rows), abs=1e-5)
    cost = float(answer.headers["x-exchequer-cost"])
    with home.load(key, "price") as tally:
        wait_until(lambda: tally.count(200) > 50, "answers")
        took = home.stop()
        home.start()
    assert took < 10
    assert tally.broken <= CLIENTS, "only who was between two requests on a kept connection"
    wait_until(lambda: home.billed(endpoint)[0] == tally.count(200) + 1, f"billed {home.billed(endpoint)}")
    assert home.billed(endpoint)[1] + home.billed(endpoint, "inference_ms")[1] == pytest.approx(cost + tally.cost)
    assert home.stop() < 10
    with tenant_scope(home.tenant.id):
        assert not ServingSlice.objects.filter(closed_at=None).exists()


def test_a_revoked_key_and_an_undeployed_endpoint_are_refused_from_the_next_request_on(home: ServingCluster) -> None:
    home.start()
    _, endpoint = home.deploy("price")
    home.wait_ready(endpoint)
    kept, lost = home.key(endpoint), home.key(endpoint)
    assert home.post(kept, "price").status_code == home.post(lost, "price").status_code == 200
    with tenant_scope(home.tenant.id):
        row = EndpointKey.objects.get(key_hash=endpoint_keys.key_hash(lost))
    endpoint_keys.revoke(actor=home.actor, endpoint_id=endpoint, key_id=row.id)
    assert home.post(lost, "price").status_code == 401
    leaver = factories.actor_for(home.tenant, "engineer")
    theirs = endpoint_keys.create(actor=leaver, endpoint_id=endpoint, name="of a leaver").secret
    assert home.post(theirs, "price").status_code == 200
    members.remove_member(actor=home.actor, user_id=leaver.id)  # type: ignore[arg-type]
    assert home.post(theirs, "price").status_code == 401
    assert home.post(kept, "price").status_code == 200
    deployments.undeploy(actor=home.actor, endpoint_id=endpoint)
    assert home.post(kept, "price").status_code == 401
    wait_until(lambda: home.billed(endpoint)[0] == 4, "four were answered")

    def given_back() -> bool:
        with tenant_scope(home.tenant.id):
            return not ServingSlice.objects.filter(closed_at=None).exists()

    wait_until(given_back, "what was held is given back")


def test_the_endpoint_of_a_suspended_organisation_is_refused_until_it_is_resumed(
    home: ServingCluster, seller: Any, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    console = seller("platform_admin")
    home.start()
    _, endpoint = home.deploy("price")
    home.wait_ready(endpoint)
    key, answered = home.key(endpoint), Counter[tuple[int, str]]()

    def ask() -> tuple[int, str]:
        answer = home.post(key, "price")
        found = answer.status_code, "" if answer.status_code == 200 else str(answer.json()["code"])
        answered[found] += 1
        return found

    def act(what: str) -> None:
        path = f"/tenants/{home.tenant.id}/{what}/"
        assert console.post(path, {"reason": "Invoice 17 is open"}).status_code == 302
        with as_control():
            outbox.drain(home.tenant.id)

    assert ask() == (200, "")
    act("suspend")
    wait_until(lambda: ask() == (403, "tenant_suspended"), "the node refuses it")
    wait_until(lambda: home.billed(endpoint)[0] == answered[200, ""], "no refused request is billed")
    act("resume")
    home.wait_ready(endpoint)
    wait_until(lambda: ask() == (200, ""), "it answers with the same key")


def test_a_spent_budget_is_402_and_heals_by_itself(home: ServingCluster) -> None:
    home.start()
    _, endpoint = home.deploy("price")
    home.wait_ready(endpoint)
    key = home.key(endpoint)
    limit = Decimal("0.004")  # two hundred requests, without compute
    with tenant_scope(home.tenant.id):
        budget = budgets.create_budget(actor=home.actor, amount=limit, at_limit="block_new")
    home.kill()  # its slice lies outside the new budget
    home.start()
    wait_until(lambda: home.post(key, "price").status_code == 200, "what the last boot held is back")

    def answer() -> requests.Response:
        """Retry until it is decided: between two slices, on a slow machine, a response may be "try again"."""
        given: list[requests.Response] = []
        wait_until(lambda: given.append(home.post(key, "price")) or given[-1].status_code != 503, "it is decided")
        assert {one.json()["code"] for one in given[:-1]} <= {"unavailable"}
        return given[-1]

    answers = [answer() for _ in range(260)]
    good = sum(one.status_code == 200 for one in answers)
    assert {one.status_code for one in answers} == {200, 402}
    refused = next(one for one in answers if one.status_code == 402)
    assert refused.json()["code"] == "budget_exceeded" and refused.headers["Retry-After"] == "30"
    assert good > 100
    time.sleep(2)  # for what is still to be settled
    with tenant_scope(home.tenant.id):
        spent = sum(Hold.objects.values_list("settled", flat=True))
    assert spent <= limit, "a budget is never overspent"
    with tenant_scope(home.tenant.id):
        budgets.change_budget(actor=home.actor, budget_id=budget.id, amount=Decimal(5))
    wait_until(lambda: home.post(key, "price").status_code == 200, "it answers by itself")


def test_known_keys_outlive_postgresql_and_their_usage_arrives_later(server: Server, s3: S3, tmp_path: Path) -> None:
    @contextmanager
    def as_control() -> Iterator[None]:
        server.log_in("exchequer_control")
        yield
        server.log_in("exchequer_app")

    tenant = factories.make_tenant()
    home = ServingCluster(server.environment, tmp_path, s3, tenant, factories.actor_for(tenant), as_control)
    try:
        home.start()
        _, endpoint = home.deploy("price")
        home.wait_ready(endpoint)
        # An unused key for each outage: a look-up left open by an outage is answered after it.
        known, *unseen = (home.key(endpoint) for _ in range(3))
        assert home.post(known, "price").status_code == 200
        with home.load(known, "price", 3) as tally:
            for seconds, unknown in zip((1.0, 4.0), unseen, strict=True):
                before = tally.count(200)
                wait_until(lambda before=before: tally.count(200) > before + 20, "answers")
                server.kill()
                before = tally.count(200)
                assert home.post(unknown, "price").status_code == 503
                time.sleep(seconds)  # the outage
                wait_until(lambda before=before: tally.count(200) > before + 10, "it goes on")
                server.process = server.start()
                server.log_in("exchequer_app")
        assert {status for status, _ in tally.answered} == {200}, [text for _, text in tally.answered if text][:3]
        assert tally.broken == 0
        assert_billed_as_answered(home, endpoint, tally.count(200) + 1, 0)
        wait_until(lambda: home.post(unknown, "price").status_code == 200, "an unknown key is looked up again")
        assert home.stop() < 10
    except BaseException:
        print(home.log_text()[-6000:])  # noqa: T201
        raise
    finally:
        home.close()


def test_a_corrupt_artefact_fails_the_endpoint_and_only_that(home: ServingCluster, s3: S3) -> None:
    from models_app.object_store import storage

    home.start()
    _, good = home.deploy("good")
    _, bad = home.deploy("bad", NUMBERS, ("a", "b"))
    with tenant_scope(home.tenant.id):
        row = Endpoint.objects.select_related("version").get(id=bad)
        path = home.folder / "junk"
        path.write_bytes(b"\x80\x04junk")
        storage.put(home.tenant.id, row.version.artefact_key, path)
    home.wait_ready(good)

    def failed() -> bool:
        home.place()
        with tenant_scope(home.tenant.id):
            return Endpoint.objects.get(id=bad).state == "failed"

    wait_until(failed, "it is reported")
    with tenant_scope(home.tenant.id):
        assert "checksum" in Endpoint.objects.get(id=bad).message
    assert home.post(home.key(good), "good").status_code == 200
    refused = home.post(home.key(bad), "bad")
    assert (refused.status_code, refused.json()["code"]) == (503, "endpoint_not_ready")
    assert requests.get(f"{home.url}/v2/health/ready", timeout=60).status_code == 200
