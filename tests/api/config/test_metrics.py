"""Metrics of the whole platform: figures of all, names of none, and not for everybody."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.db import DatabaseError, connection
from django.test import Client, override_settings
from prometheus_client.parser import text_string_to_metric_families

from billing.metering.metering import record_usage
from config import settings as shipped
from config.celery import app
from config.monitoring import metrics
from config.tasks import take_figures as figures
from config.variables import SECRETS
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.selling import provision_defaults
from tests.support.usage import interval

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]
TOKEN = "a-token-that-is-long-enough"


@pytest.fixture(autouse=True)
def _no_figures() -> None:
    cache.delete(metrics.KEPT)


def read(**more: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what is measured of the platform: not requests, nor the usage server, whose tests run in this process."""
    own = ("exchequer_http_", "exchequer_usage_group_requests", "exchequer_usage_waiting")
    return {name: found for name, found in all_of(**more).items() if not name.startswith(own)}


def all_of(**more: Any) -> dict[str, dict[tuple[str, ...], float]]:
    answer = Client().get("/metrics", **more)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.content.decode())
    return {one.name: {tuple(sample.labels.values()): sample.value for sample in one.samples} for one in families}


def test_figures_are_those_of_all_organisations_and_name_none(as_control: Control) -> None:
    tenants = [factories.make_tenant("secretive-one"), factories.make_tenant("secretive-two")]
    for tenant in tenants:
        one_of_everything(tenant)
    assert read() == {"exchequer_database_up": {(): 1.0}}
    with as_control():
        metrics.take()
    found = read()
    assert found["exchequer_jobs"][("queued",)] == 2
    assert found["exchequer_queue_oldest_seconds"][()] >= 0
    assert found["exchequer_outbox_open"][()] >= 2
    assert found["exchequer_figures_taken_timestamp_seconds"][()] == pytest.approx(now().timestamp(), abs=60)
    assert b"secretive" not in Client().get("/metrics").content


def test_responses_are_counted_by_route_and_status_without_identities() -> None:
    tenant = factories.make_tenant("secretive")
    client = Client()
    client.force_login(factories.make_member(tenant, "viewer"))

    def counts() -> tuple[float, float, float]:
        found = all_of()
        requests, seconds = found["exchequer_http_requests"], found["exchequer_http_request_seconds"]
        page = "/t/<slug:tenant>/"
        return (
            requests.get(("GET", page, "200"), 0.0),
            requests.get(("GET", "none", "404"), 0.0),
            seconds.get(("+Inf", page), 0.0),
        )

    before = counts()
    assert client.get("/t/secretive/").status_code == 200
    assert client.get("/no/such/place").status_code == 404
    assert [b - a for a, b in zip(before, counts(), strict=True)] == [1, 1, 1]
    assert b"secretive" not in Client().get("/metrics").content


def test_the_web_process_alone_sees_nobodys_jobs() -> None:
    one_of_everything(factories.make_tenant())
    assert metrics.take()["jobs"] == {}


@pytest.mark.django_db(transaction=True)
def test_usage_that_is_accepted_moves_its_time(as_control: Control) -> None:
    tenant = factories.make_tenant()

    def take() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
            cursor.execute("SELECT pg_stat_clear_snapshot()")
        with as_control():
            return metrics.take()["usage_at"]

    first = take()
    assert take() == first
    with tenant_scope(tenant.id):
        provision_defaults(tenant.id)
        record_usage([interval(factories.default_project_id(tenant), now() - timedelta(seconds=9), 5)])
    moved = take()
    assert moved is not None
    assert moved != first
    assert take() == moved


@pytest.mark.parametrize(
    ("address", "token", "given", "tls", "status"),
    [
        ("127.0.0.1", "", None, False, 200),
        ("::1", "", None, False, 200),
        ("192.0.2.7", "", None, False, 401),
        ("", "", None, False, 401),
        ("192.0.2.7", TOKEN, TOKEN, False, 200),
        ("192.0.2.7", TOKEN, "wrong", False, 401),
        ("192.0.2.7", "", "", False, 401),
        ("127.0.0.1", "", None, True, 401),
        ("127.0.0.1", TOKEN, TOKEN, True, 200),
    ],
)
def test_only_the_machine_itself_or_the_token_reads_it(
    settings: Any, address: str, token: str, given: str | None, tls: bool, status: int
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"metrics_token": token, "tls": tls})
    headers = {"Authorization": f"Bearer {given}"} if given is not None else {}
    answer = Client().get("/metrics", REMOTE_ADDR=address, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "not_authenticated"
    assert Client().post("/metrics").status_code == 405


def test_it_answers_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(metrics.cache, "get", away)
    assert read() == {"exchequer_database_up": {(): 0.0}}


def test_the_token_is_a_secret() -> None:
    assert "metrics_token" in SECRETS


def test_what_one_role_lays_into_the_cache_is_never_code_for_another(as_control: Control, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Boom:
        def __reduce__(self) -> tuple[Any, ...]:
            return open, (str(canary), "w")

    planted = base64.b64encode(pickle.dumps({"keys": Boom()})).decode()
    with override_settings(CACHES=shipped.CACHES):
        half = '{"keys": 1, "outbox": 1, "usage_at": null}'
        odd = '{"keys": 1, "outbox": 1, "usage_at": null, "at": 1.0, "queue_age": 0.0, "outbox_age": 0.0, "jobs": {}, "devices": 3}'
        for value in (planted, '{"keys": "none", "outbox": 1}', "[" * 50_000, "NaN", half, odd):
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM tenants_ratelimit")
                cursor.execute(
                    "INSERT INTO tenants_ratelimit VALUES (%s, %s, 'infinity')",
                    [caches["default"].make_key(metrics.KEPT), value],
                )
            assert read() == {"exchequer_database_up": {(): 1.0}}
            with as_control():
                figures()
            assert read()["exchequer_outbox_open"] == {(): 0.0}
        with pytest.raises(TypeError):
            caches["default"].set("x", Boom())
    assert not canary.exists()
    assert set(app.conf.accept_content) == {"json"}
    assert shipped.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"


def test_the_shipped_cache_counts_as_a_cache_does() -> None:
    with override_settings(CACHES=shipped.CACHES):
        shop = caches["default"]
        assert (shop.add("a", [1.5], 60), shop.add("a", [2], 60), shop.get("a")) == (True, False, [1.5])
        shop.set("a", True, 0)
        assert (shop.get("a", "gone"), shop.add("a", "new", None), shop.touch("a", 60)) == ("gone", True, True)
        assert (shop.delete("a"), shop.delete("a"), shop.touch("a")) == (True, False, False)
        shop.set_many({"b": 1, "c": None})
        assert (shop.get_many(["b", "c", "d"]), shop.incr("b")) == ({"b": 1, "c": None}, 2)
        shop.clear()
        assert "b" not in shop
