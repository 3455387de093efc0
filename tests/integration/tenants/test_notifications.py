"""Notifications reach the members whose role is concerned, in the bell and by email, whatever the mail server does."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import override_settings

from config.mail import mail_settings
from tenants.access.actor import Actor
from tenants.errors import NotFound
from tenants.events import outbox
from tenants.events.events import NotificationRaised
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, Notification, OutboxMessage, Tenant, User
from tenants.notifications import emails, file_backend, notifications
from tests.support import factories
from tests.support.servers.smtp import MailServer, mail_server

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]
Deliver = Callable[[UUID, Tenant], bool]


def raise_one(tenant: Tenant, **more: str) -> int:
    given = {"permission": "models.approve", "kind": "promotion", "title": "Please approve digits v3", **more}
    with tenant_scope(tenant.id):
        return notifications.notify(**given)


def open_messages(tenant: Tenant) -> list[UUID]:
    with tenant_scope(tenant.id):
        rows = OutboxMessage.objects.filter(topic="tenants.NotificationRaised", delivered_at__isnull=True)
        return list(rows.order_by("id").values_list("id", flat=True))


@pytest.fixture
def ops(as_control: Control) -> Deliver:
    """Deliver a message as the ops worker does."""

    def deliver(message: UUID, tenant: Tenant) -> bool:
        with as_control():
            return outbox.deliver(message, tenant.id)

    return deliver


def through(server: MailServer) -> Any:
    return override_settings(**mail_settings(server.url, Path()))


def test_only_members_whose_role_is_concerned_are_notified() -> None:
    tenant, other = factories.make_tenant(owner="olga@example.org"), factories.make_tenant()
    people = {role: factories.make_member(tenant, role) for role in ("admin", "engineer", "viewer")}
    factories.make_member(other, "admin")
    assert raise_one(tenant) == 2
    with tenant_scope(tenant.id):
        told = set(Notification.objects.values_list("user__email", flat=True))
        assert told == {"olga@example.org", people["admin"].email}
        assert notifications.unread(people["admin"].id) == 1
        assert notifications.unread(people["viewer"].id) == 0
    with tenant_scope(other.id):
        assert Notification.objects.count() == 0


def test_marking_notifications_read_affects_only_oneself() -> None:
    tenant = factories.make_tenant()
    one, two = (factories.actor_for(tenant, "admin") for _ in range(2))
    raise_one(tenant)
    raise_one(tenant, title="Again")
    with tenant_scope(tenant.id):
        assert one.id is not None
        assert two.id is not None
        mine = notifications.notifications(one.id)
        assert [row.title for row in mine] == ["Again", "Please approve digits v3"]
        with pytest.raises(NotFound):
            notifications.mark_read(two, mine[0].id)
        notifications.mark_read(one, mine[0].id)
        assert [row.id for row in notifications.notifications(one.id, only_unread=True)] == [mine[1].id]
        assert notifications.mark_all_read(one) == 1
        assert (notifications.unread(one.id), notifications.unread(two.id)) == (0, 2)


@pytest.mark.parametrize("path", ["/t/other/", "https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_a_notification_leads_to_the_tenants_own_pages_only(path: str) -> None:
    with pytest.raises(ValueError, match="relative"):
        raise_one(factories.make_tenant(), path=path)


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_was_refused_is_sent_at_the_next_delivery_once(ops: Deliver) -> None:
    tenant = factories.make_tenant("vision", owner="olga@example.org")
    raise_one(tenant, body="Asked for by Emil.", path="models/")
    (message,) = open_messages(tenant)
    with mail_server() as server, through(server):
        server.refusals = {"RCPT": ["451 come back later"], "DATA": ["452 no room"]}
        for _ in range(2):
            with pytest.raises(outbox.DeliveryFailed):
                ops(message, tenant)
            assert open_messages(tenant) == [message]
        assert server.taken == []
        with tenant_scope(tenant.id):
            assert "452" in OutboxMessage.objects.get(id=message).last_error
        assert ops(message, tenant)
        assert not ops(message, tenant)
        (email,) = server.taken
    assert email["To"] == "olga@example.org"
    assert email["From"] == "Exchequer <noreply@exchequer.example>"
    assert email["Subject"] == "[Vision] Please approve digits v3"
    text = email.get_content()
    assert "Asked for by Emil." in text
    assert "http://127.0.0.1:8000/t/vision/models/" in text


@pytest.mark.django_db(transaction=True)
def test_of_many_concurrent_wake_ups_one_is_sent(ops: Deliver) -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    raise_one(tenant)
    (message,) = open_messages(tenant)
    start, answers = threading.Barrier(8), []

    def deliver() -> None:
        try:
            start.wait(60)
            answers.append(ops(message, tenant))
        finally:
            connection.close()

    with mail_server() as server, through(server):
        threads = [threading.Thread(target=deliver) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(server.taken) == 1
    assert sorted(answers) == [False] * 7 + [True]


@pytest.mark.django_db(transaction=True)
def test_a_mail_whose_receipt_was_lost_comes_again_under_the_same_number(ops: Deliver) -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    raise_one(tenant)
    (message,) = open_messages(tenant)
    with mail_server() as server, through(server):
        server.hang_up_after_taking = True
        with pytest.raises(outbox.DeliveryFailed):
            ops(message, tenant)
        server.hang_up_after_taking = False
        assert ops(message, tenant)
        assert len({email["Message-ID"] for email in server.taken}) == 1
        assert len(server.taken) == 2


@pytest.mark.django_db(transaction=True)
def test_a_permanently_refused_address_is_not_retried(ops: Deliver) -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    raise_one(tenant)
    (message,) = open_messages(tenant)
    with mail_server() as server, through(server):
        server.refusals = {"RCPT": ["550 no such person"]}
        assert ops(message, tenant)
        assert server.taken == []
    assert open_messages(tenant) == []


@pytest.mark.django_db(transaction=True)
def test_read_notifications_and_former_members_get_no_email(ops: Deliver) -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    leaver = factories.make_member(tenant, "admin")
    raise_one(tenant)
    with tenant_scope(tenant.id):
        olga = User.objects.get(email="olga@example.org")
        notifications.mark_all_read(Actor.member(tenant_id=tenant.id, user_id=olga.id, email=olga.email, role="owner"))
        Membership.objects.filter(user=leaver).delete()
    with mail_server() as server, through(server):
        for message in open_messages(tenant):
            assert ops(message, tenant)
        assert server.taken == []


@pytest.mark.django_db(transaction=True)
def test_draining_in_process_leaves_email_to_the_ops_worker(as_control: Control) -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    raise_one(tenant)
    with as_control():
        assert outbox.drain(tenant.id) > 0
    assert len(open_messages(tenant)) == 1


@pytest.mark.django_db(transaction=True)
def test_without_a_server_each_email_is_one_file(ops: Deliver, tmp_path: Path) -> None:
    tenant = factories.make_tenant(owner="olga@example.org")
    raise_one(tenant)
    (message,) = open_messages(tenant)
    with tenant_scope(tenant.id):
        notification = Notification.objects.get().id
    with override_settings(**mail_settings(f"file://{tmp_path}/out", tmp_path)):
        assert ops(message, tenant)
        emails.mail_notification(NotificationRaised(tenant_id=tenant.id, notification_id=notification))
        (email,) = file_backend.stored_emails()
        assert (email.to, "approve digits" in email.subject) == ("olga@example.org", True)
        assert file_backend.written_to_files()
        assert [file.suffix for file in (tmp_path / "out").iterdir()] == [".eml"]
