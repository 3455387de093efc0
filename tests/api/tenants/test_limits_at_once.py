"""Limits on numbers of rows hold for two requests at once: the second waits for the first, and is counted after it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection, transaction
from django.test import Client

from tenants import quotas
from tenants.access.actor import Actor
from tenants.approvals import access_requests, approvals
from tenants.encryption import platform_secrets
from tenants.identity.providers import domains
from tenants.isolation.scoping import tenant_scope
from tenants.operators.operator import Operator
from tenants.operators.platform_events import webhooks as platform_webhooks
from tenants.webhooks import webhooks
from tests.support import factories, selling
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
WAITS = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = %s AND NOT granted"
HOOK = {"name": "second", "url": "https://hooks.example/2", "types": ["job.failed"]}
FIRST = {**HOOK, "name": "first"}


def beside(post: Callable[[], Any], superuser: psycopg.Connection, pool: ThreadPoolExecutor) -> Any:
    """Post in a session of its own until it waits for this one's transaction, or has an answer."""

    def run() -> Any:
        try:
            return post()
        finally:
            connection.close()

    name = connection.settings_dict["NAME"]
    answer = pool.submit(run)
    wait_until(lambda: answer.done() or (superuser.execute(WAITS, [name]).fetchone() or (0,))[0], "they met")
    return answer


@pytest.mark.parametrize("what", ["webhooks", "domains", "requests"])
def test_the_second_of_two_requests_of_a_tenant_is_refused(
    what: str, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    tenant, role = factories.make_tenant("lab"), "engineer" if what == "requests" else "owner"
    quotas.set_limit(actor=factories.actor_for(tenant), resource="devices:cpu", limit=4)
    user = factories.make_member(tenant, role)
    actor = Actor.member(tenant_id=tenant.id, user_id=user.id, email=user.email, role=role)
    client = Client()
    client.force_login(user)
    client.get("/t/lab/")
    monkeypatch.setattr(webhooks, "MOST_WEBHOOKS", 1)
    monkeypatch.setattr(domains, "MOST", 1)
    monkeypatch.setattr(approvals, "MOST_OPEN", 1)
    first, path, body, refusal = {
        "webhooks": (
            lambda: webhooks.create_webhook(actor=actor, **FIRST),
            "webhooks/",
            HOOK,
            (409, "too_many_webhooks"),
        ),
        "domains": (
            lambda: domains.add(actor=actor, name="one.example"),
            "identity-provider/domains/",
            {"name": "two.example"},
            (400, "invalid"),
        ),
        "requests": (
            lambda: access_requests.request(actor=actor, role="finance", reason="to read invoices"),
            "quotas/requests/",
            {"resource": "devices:cpu", "limit": 6, "reason": "a larger model"},
            (409, "too_many_requests_open"),
        ),
    }[what]

    def post() -> Any:
        return client.post(f"/api/v1/{path}", body, content_type="application/json")

    with ThreadPoolExecutor(1) as pool:
        with tenant_scope(tenant.id):
            first()
            answer = beside(post, superuser, pool)
        refused = answer.result()
    assert (refused.status_code, refused.json()["code"]) == refusal, refused.content


def test_the_second_webhook_of_the_platform_is_refused(
    console: Any, as_control: Any, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    with as_control():
        platform_secrets.provide()
    monkeypatch.setattr(platform_webhooks, "MOST_WEBHOOKS", 1)
    operator = Operator(id=uuid4(), label="olga@platform.example", roles=("platform_admin",))

    def create(name: str) -> None:
        platform_webhooks.create(operator=operator, name=name, url="https://hooks.example/1", types=["node.lost"])

    def second() -> None:
        with selling.role("exchequer_operator"):
            create("second")

    with ThreadPoolExecutor(1) as pool:
        with console(), transaction.atomic():
            create("first")
            answer = beside(second, superuser, pool)
        with pytest.raises(platform_webhooks.TooManyPlatformWebhooks):
            answer.result()
