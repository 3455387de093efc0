"""A mail server that accepts the connection and never responds: emails wait, everything else continues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.mail import EmailMessage
from django.db import connection
from django.test import Client, override_settings
from structlog.testing import capture_logs

from config.mail import mail_settings
from tenants import tasks
from tenants.events import external_work, outbox
from tenants.identity import account_forms
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage, Tenant
from tenants.notifications import smtp
from tests.integration.tenants.test_notifications import open_messages, raise_one
from tests.support import factories
from tests.support.pages import text_of
from tests.support.servers.smtp import MailServer, mail_server
from tests.support.waiting import wait_until


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A hanging server, and threads of this test alone."""
    for name, users in (("EXTERNAL_EVENTS", tasks), ("ACCOUNT_EMAILS", account_forms)):
        fresh = external_work.ThreadQueue(name.lower(), threads=2, most=100)
        monkeypatch.setattr(external_work, name, fresh)
        monkeypatch.setattr(users, name, fresh)
    with mail_server() as running, override_settings(**mail_settings(running.url, Path())):
        running.hangs = True
        yield running
        running.hangs = False
        wait_until(
            lambda: not external_work.EXTERNAL_EVENTS.known and not external_work.ACCOUNT_EMAILS.known,
            "what is done aside",
        )


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make deliveries use the role of the ops worker, in whatever thread."""
    deliver = outbox.deliver

    def run(message: UUID, tenant: UUID) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_control")
        try:
            return deliver(message, tenant)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SET ROLE exchequer_app")

    monkeypatch.setattr(outbox, "deliver", run)


def plain_messages(tenant: Tenant) -> list[UUID]:
    with tenant_scope(tenant.id):
        rows = OutboxMessage.objects.filter(delivered_at__isnull=True).exclude(topic="tenants.NotificationRaised")
        return list(rows.values_list("id", flat=True))


@pytest.mark.django_db(transaction=True)
def test_emails_block_no_thread_of_the_worker(server: MailServer, as_worker: None) -> None:
    tenant = factories.make_tenant()
    for _ in range(8):
        raise_one(tenant)
    emails = open_messages(tenant)
    assert len(emails) == 8
    began = time.monotonic()
    for message in [*emails, *emails]:
        tasks.deliver(str(message), str(tenant.id))
    for message in plain_messages(tenant):
        tasks.deliver(str(message), str(tenant.id))
    assert time.monotonic() - began < smtp.MOST_S / 4
    assert server.called.acquire(timeout=60), "one is being sent"
    assert plain_messages(tenant) == [], "other events are delivered meanwhile"
    assert len(open_messages(tenant)) == 8
    server.hangs = False
    wait_until(lambda: not open_messages(tenant), "the letters")
    assert len(server.taken) == 8, "each once, though each was asked for twice"


@pytest.mark.django_db(transaction=True)
def test_a_password_reset_does_not_wait_for_the_mail_server(server: MailServer) -> None:
    user = factories.make_member(factories.make_tenant(), "viewer")
    began = time.monotonic()
    for email in (user.email, "nobody@example.org"):
        assert Client().post("/accounts/password/reset/", {"email": email}).status_code == 302
    assert time.monotonic() - began < smtp.MOST_S / 4
    assert server.called.acquire(timeout=60)
    server.hangs = False
    wait_until(lambda: len(server.taken) == 1, "the letter")
    assert server.taken[0]["To"] == user.email


@pytest.mark.django_db(transaction=True)
def test_a_full_queue_refuses_a_password_reset_email(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_forms, "ACCOUNT_EMAILS", external_work.ThreadQueue("account-emails", threads=1, most=1))
    users = [factories.make_member(factories.make_tenant(), "viewer") for _ in range(2)]

    def ask(email: str) -> Any:
        return Client().post("/accounts/password/reset/", {"email": email})

    assert ask(users[0].email).status_code == 302
    assert server.called.acquire(timeout=60), "the first is being sent"
    assert ask(users[1].email).status_code == 302, "the second waits"
    with capture_logs() as logged:
        refused = [ask(email) for email in (users[0].email, "nobody@example.org")]
    assert [(one.status_code, one["Retry-After"]) for one in refused] == [(503, "60")] * 2
    for one in refused:
        assert "Ask for a link again in a minute." in text_of(one)
    assert [line["event"] for line in logged if line["event"] == "emails.full"] == ["emails.full"] * 2
    server.hangs = False
    wait_until(lambda: len(server.taken) == 2, "the emails")


@pytest.mark.parametrize("trickles", [False, True])
def test_an_smtp_session_times_out_however_slow_the_server(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, trickles: bool
) -> None:
    monkeypatch.setattr(smtp, "MOST_S", 1.0)
    server.trickles = trickles
    began = time.monotonic()
    with suppress(OSError):
        EmailMessage("x", "x", to=["a@example.org"]).send()
        raise AssertionError("it was sent")
    assert time.monotonic() - began < 14, "before the time of a single wait is over"
