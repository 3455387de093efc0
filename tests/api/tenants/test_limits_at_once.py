"""Two requests at once: limits on numbers of rows hold, of two that make the same the second is refused, and nobody gives to a leaver."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection, transaction
from django.test import Client

from compute.models import Job
from models_app.models import Dataset
from models_app.pipelines import pipelines
from models_app.presets import presets
from tenants import operations, quotas
from tenants.access.actor import Actor
from tenants.approvals import access_requests, approvals
from tenants.encryption import platform_secrets
from tenants.identity import members
from tenants.identity.providers import configuration, domains
from tenants.isolation.scoping import tenant_scope
from tenants.models import User
from tenants.notifications import topics
from tenants.operators.operator import Operator
from tenants.operators.platform_events import webhooks as platform_webhooks
from tenants.sharing import shares
from tenants.webhooks import webhooks
from tests.api.objects import launchable
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


@pytest.mark.parametrize("what", ["webhooks", "domains", "requests", "pipelines", "presets"])
def test_the_second_of_two_requests_of_a_tenant_is_refused(
    what: str, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    tenant, role = factories.make_tenant("lab"), "engineer" if what == "requests" else "owner"
    launch = launchable(tenant) if what in ("pipelines", "presets") else {}
    launch.pop("project", "")
    project = factories.default_project_id(tenant)
    steps = [{"name": "report", "kind": "report"}]
    quotas.set_limit(actor=factories.actor_for(tenant), resource="devices:cpu", limit=4)
    user = factories.make_member(tenant, role)
    actor = Actor.member(tenant_id=tenant.id, user_id=user.id, email=user.email, role=role)
    client = Client()
    client.force_login(user)
    client.get("/t/lab/")
    monkeypatch.setattr(webhooks, "MOST_WEBHOOKS", 1)
    monkeypatch.setattr(domains, "MOST", 1)
    monkeypatch.setattr(approvals, "MOST_OPEN", 1)
    monkeypatch.setattr(pipelines, "MOST_PIPELINES", 2)  # with that of `launchable`
    monkeypatch.setattr(presets, "MOST_PRESETS", 2)
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
        "pipelines": (
            lambda: pipelines.create(actor=actor, project_id=project, name="one", steps={"steps": steps}),
            "pipelines/",
            {"name": "two", "steps": steps},
            (409, "conflict"),
        ),
        "presets": (
            lambda: presets.create(actor=actor, project_id=project, name="one", launch=launch),
            "presets/",
            {"name": "two", "launch": launch},
            (409, "conflict"),
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


@pytest.mark.parametrize("what", ["projects", "provider", "choices"])
def test_of_two_that_make_the_same_the_second_is_refused(what: str, superuser: psycopg.Connection) -> None:
    tenant = factories.make_tenant("lab")
    user = factories.make_member(tenant, "owner")
    actor = Actor.member(tenant_id=tenant.id, user_id=user.id, email=user.email, role="owner")
    client = Client()
    client.force_login(user)
    client.get("/t/lab/")
    provider = {"kind": "oidc", "name": "idp", "issuer": "https://idp.example", "client_id": "x"}
    topic = topics.topics()[0].key
    first, send, path, body = {
        "projects": (
            lambda: operations.create_project(actor=actor, slug="speech", name="Speech"),
            client.post,
            "projects/",
            {"slug": "speech", "name": "Talk"},
        ),
        "provider": (
            lambda: configuration.save(actor=actor, wanted=configuration.Wanted(**provider)),
            client.put,
            "identity-provider/",
            provider | {"client_secret": "s"},
        ),
        "choices": (
            lambda: topics.choose(actor, {topic: topics.Ways(False, True)}),
            client.put,
            "notifications/choices/",
            {"topic": topic, "bell": True, "email": False},
        ),
    }[what]

    def post() -> Any:
        return send(f"/api/v1/{path}", body, content_type="application/json")

    with ThreadPoolExecutor(1) as pool:
        with tenant_scope(tenant.id):
            first()
            answer = beside(post, superuser, pool)
        told = answer.result()
    if what == "choices":  # one's own choice, sent twice
        assert told.status_code == 200, told.content
        return
    assert (told.status_code, told.json()["code"]) == (409, "changed_at_once"), told.content
    again = {"projects": (409, "conflict"), "provider": (200, None)}[what]
    assert (post().status_code, post().json().get("code")) == again, "the next one is answered as always"


def test_nothing_is_launched_by_somebody_who_is_leaving(superuser: psycopg.Connection) -> None:
    tenant = factories.make_tenant("lab")
    body = launchable(tenant)
    owner, ann = factories.actor_for(tenant), factories.make_member(tenant, "engineer")
    client = Client()
    client.force_login(ann)
    client.get("/t/lab/")

    def launch() -> Any:
        return client.post("/api/v1/jobs/", body, content_type="application/json")

    with ThreadPoolExecutor(1) as pool:
        with tenant_scope(tenant.id):
            members.remove_member(actor=owner, user_id=ann.id, jobs="cancel")
            answer = beside(launch, superuser, pool)
        refused = answer.result()
    assert (refused.status_code, refused.json()["code"]) == (403, "access_ended"), refused.content
    with tenant_scope(tenant.id):
        assert not Job.objects.filter(submitted_by=ann.id).exists(), "or nobody would have decided about it"


def test_nothing_is_shared_with_somebody_who_is_leaving(superuser: psycopg.Connection) -> None:
    tenant = factories.make_tenant("lab")
    owner, boss = factories.actor_for(tenant), Client()
    ann = factories.make_member(tenant, "engineer")
    with tenant_scope(tenant.id):
        dataset = Dataset.objects.create(name="numbers", created_by=owner.id, created_by_label=owner.label)
    boss.force_login(User.objects.get(id=owner.id))
    boss.get("/t/lab/")

    def share() -> Any:
        path = f"/api/v1/datasets/{dataset.id}/shares/"
        return boss.post(path, {"user": str(ann.id)}, content_type="application/json")

    with ThreadPoolExecutor(1) as pool:
        with tenant_scope(tenant.id):
            members.remove_member(actor=owner, user_id=ann.id)
            answer = beside(share, superuser, pool)
        assert answer.result().status_code == 404
    with tenant_scope(tenant.id):
        assert shares.shares_of("dataset", dataset.id) == [], "or it would be theirs again when they come back"


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
