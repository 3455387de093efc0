"""Webhooks and emails of the operators: pages, what is shown once, who reads the secrets, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from tenants.encryption import platform_secrets
from tenants.models import OperatorAct, PlatformDelivery, PlatformWebhook
from tests.support.pages import text_of
from tests.support.selling import Console, role

pytestmark = pytest.mark.django_db(transaction=True)
Role = Callable[[], AbstractContextManager[None]]
API = "/api/operator/v1/webhooks/"
GIVEN = {
    "name": "on-call",
    "url": "https://hooks.example/x",
    "format": "exchequer",
    "types": ["node.lost", "approval.requested"],
}
TABLES = (
    "tenants_operatoremail",
    "tenants_operatoremailchoice",
    "tenants_platformdelivery",
    "tenants_platformevent",
    "tenants_platformkey",
    "tenants_platformwebhook",
)


@pytest.fixture
def admin(seller: Any, as_control: Role) -> Console:
    with as_control():
        platform_secrets.provide()
    return seller("platform_admin")  # type: ignore[no-any-return]


def only(model: Any) -> Any:
    with role("exchequer_operator"):
        return model.objects.get()


def test_a_webhook_is_created_tested_rotated_changed_and_deleted_in_the_console(admin: Console) -> None:
    assert "No webhook yet" in text_of(admin.get("/webhooks/"))
    assert "Webhooks" in text_of(admin.get("/"))
    shown = text_of(admin.post("/webhooks/", GIVEN))
    secret = re.search(r"whsec_[\w-]+", shown)
    assert secret is not None and "shown only once" in shown
    again = admin.post("/webhooks/", GIVEN)
    assert (again.status_code, "A webhook with this name exists" in text_of(again)) == (422, True)
    row = only(PlatformWebhook)
    place = f"/webhooks/{row.id}/"
    assert "on-call" in text_of(admin.get("/webhooks/"))
    assert "A test event is on its way" in text_of(admin.post(f"{place}test/", follow=True))
    delivery = only(PlatformDelivery)
    page = text_of(admin.get(place))
    assert "Test event" in page and "Waiting" in page and "hooks.example" in page and "hooks.example/x" not in page
    refused = admin.post(f"{place}deliveries/{delivery.id}/replay/", follow=True)
    assert "still waits for its next attempt" in text_of(refused)
    rotated = re.search(r"whsec_[\w-]+", text_of(admin.post(f"{place}secret/")))
    assert rotated is not None and rotated[0] != secret[0]
    before = bytes(only(PlatformWebhook).url)
    changed = admin.post(f"{place}change/", {**GIVEN, "name": "night", "url": "", "types": ["node.lost"]}, follow=True)
    assert "Webhook night saved" in text_of(changed) and "Disabled" in text_of(changed)
    assert bytes(only(PlatformWebhook).url) == before, "the address stays unless another is given"
    wrong = admin.post(f"{place}change/", {**GIVEN, "url": "http://hooks.example/"})
    assert (wrong.status_code, "https" in text_of(wrong)) == (422, True)
    assert "Webhook night deleted" in text_of(admin.post(f"{place}delete/", follow=True))
    with role("exchequer_operator"):
        assert (PlatformWebhook.objects.count(), PlatformDelivery.objects.count()) == (0, 0)
        acts = list(OperatorAct.objects.filter(target_type="platform_webhook").order_by("seq"))
    assert [one.action.removeprefix("tenants.platform_webhook.") for one in acts] == [
        "created",
        "tested",
        "secret_rotated",
        "changed",
        "deleted",
    ]
    said = " ".join(f"{one.target_label} {one.reason}" for one in acts)
    assert "whsec_" not in said and "hooks.example/x" not in said


def test_the_database_keeps_addresses_and_secrets_from_the_tenants_process_and_from_the_console(
    admin: Console, superuser: psycopg.Connection, as_control: Role
) -> None:
    made = admin.post(API, GIVEN, content_type="application/json").json()
    (url, secret) = superuser.execute("SELECT url, secret FROM tenants_platformwebhook").fetchone() or ("", "")
    assert b"hooks.example" not in bytes(url) and made["secret"].encode() not in bytes(secret)
    for table in TABLES:
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(f"SELECT FROM {table}")
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            for reader in ("exchequer_app", "exchequer_glass"):
                asked = superuser.execute("SELECT has_any_column_privilege(%s, %s, 'SELECT')", [reader, table])
                assert asked.fetchone() == (False,)
                asked = superuser.execute("SELECT has_table_privilege(%s, %s, %s)", [reader, table, privilege])
                assert asked.fetchone() == (False,)
    # The console has the public half alone.
    with role("exchequer_operator"), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        connection.cursor().execute("SELECT wrapped FROM tenants_platformkey")
    with as_control():
        assert platform_secrets.unseal(f"webhook url {made['id']}", bytes(url)) == GIVEN["url"]
        assert platform_secrets.unseal(f"webhook secret {made['id']}", bytes(secret)) == made["secret"]


def test_a_repeated_request_shows_no_secret_and_faults_are_named(admin: Console) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = admin.post(API, GIVEN, content_type="application/json", headers=headers)
    again = admin.post(API, GIVEN, content_type="application/json", headers=headers)
    assert (first.status_code, again.status_code, again.json()["secret"]) == (201, 201, None)
    assert first.json()["id"] == again.json()["id"]
    wrong = {"name": "", "url": "https://10.0.0.1/", "types": ["no.such"], "format": "xml"}
    refused = admin.post(API, {**GIVEN, "types": ["job.failed"]}, content_type="application/json")
    assert refused.json()["fields"] == {
        "types": ["There is no event type job.failed. GET /api/operator/v1/webhooks/types/ lists them."]
    }
    assert admin.post(API, wrong, content_type="application/json").status_code == 400
    types = {one["name"] for one in admin.get(f"{API}types/").json()["results"]}
    assert types == {
        "approval.requested",
        "audit.checkpoint_failed",
        "device.cordoned",
        "invoice.approval_waits",
        "invoice.disputed",
        "invoice.mail_refused",
        "look.asked",
        "look.began",
        "node.lost",
        "organisation.erased",
        "organisation.exported",
        "organisation.standing_changed",
        "payment.dispute_lost",
        "payment.disputed",
        "payment.needs_person",
        "reconciliation.difference",
        "webhook.failing",
    }


def test_before_the_ops_worker_made_the_platform_key_nothing_is_stored(seller: Any) -> None:
    refused = seller("platform_admin").post(API, GIVEN, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (503, "no_platform_key")
    with role("exchequer_operator"):
        assert PlatformWebhook.objects.count() == 0


@pytest.mark.parametrize("who", ["platform_finance", "platform_support"])
def test_only_administrators_have_webhooks_and_everybody_chooses_emails(who: str, admin: Console, seller: Any) -> None:
    made = admin.post(API, GIVEN, content_type="application/json").json()
    other = seller(who)
    assert 'href="/webhooks/"' not in other.get("/").content.decode()
    for path in ("/webhooks/", f"/webhooks/{made['id']}/"):
        assert other.get(path).status_code == 403
    for act in ("change", "secret", "test", "delete"):
        assert other.post(f"/webhooks/{made['id']}/{act}/").status_code == 403
    page = text_of(other.get("/notifications/"))
    assert "A host was lost" in page and "A webhook of the platform" not in page
    assert "Saved." in text_of(other.post("/notifications/", {"node.lost": "on"}, follow=True))
    rows = other.get("/api/operator/v1/notifications/").json()["results"]
    assert [one["type"] for one in rows if one["wanted"]] == ["node.lost"]
