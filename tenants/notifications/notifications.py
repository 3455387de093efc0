"""Notifications: a row each, an email through the outbox, a bell with the unread ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from tenants.access.actor import Actor
from tenants.clock import DatabaseNow
from tenants.errors import NotFound
from tenants.events import events
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Membership, Notification, Tenant
from tenants.notifications import topics
from tenants.rights import held

#: The bell's maximum: "99+".
MOST_COUNTED = 100
EVERYBODY = Q()


@dataclass(frozen=True)
class NotificationRow:
    """One notification of a member. `path` is a page of the tenant, such as `models/`, or empty."""

    id: UUID
    kind: str
    title: str
    body: str
    path: str
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True)
class NotificationEmail:
    """Data of a notification's email."""

    to: str
    tenant: str
    slug: str
    title: str
    body: str
    path: str


def notify(*, permission: str, kind: str, title: str, body: str = "", path: str = "", only: Q = EVERYBODY) -> int:
    """Notify the members of the open scope with `permission` in the whole tenant who meet a condition; return how many.

    Each in the ways that they chose for the topic of `kind` (`topics`).
    `path` is the page that shows it, relative to the tenant's pages: `models/`, `endpoints/<id>/`. The email follows
    after the surrounding transaction has committed.
    """
    return _raise(held.holding(permission).filter(only), kind, title, body, path)


def notify_person(user_id: UUID, *, kind: str, title: str, body: str = "", path: str = "") -> bool:
    """Notify one person, as `notify` does; return False if they are not (or no longer) a member of the open scope."""
    return _raise(Membership.objects.filter(user_id=user_id), kind, title, body, path) > 0


def settle(*, kind: str, path: str) -> int:
    """Mark everybody's notifications about a matter as read after somebody dealt with it; return how many were unread."""
    rows = Notification.objects.filter(kind=kind, path=path, read_at__isnull=True)
    return rows.update(read_at=DatabaseNow())


def unread(user_id: UUID) -> int:
    """Return the number of a member's unread notifications, counted up to MOST_COUNTED."""
    return Notification.objects.filter(user_id=user_id, read_at__isnull=True, bell=True)[:MOST_COUNTED].count()


def notifications(
    user_id: UUID, *, only_unread: bool = False, before: UUID | None = None, limit: int = 50
) -> list[NotificationRow]:
    """Return up to `limit` + 1 notifications of a member, newest first, older than `before`."""
    rows: QuerySet[Notification] = Notification.objects.filter(user_id=user_id, bell=True).order_by("-id")
    if only_unread:
        rows = rows.filter(read_at__isnull=True)
    if before is not None:
        rows = rows.filter(id__lt=before)
    names: Sequence[str] = list(NotificationRow.__dataclass_fields__)
    return [NotificationRow(*row) for row in rows.values_list(*names)[: limit + 1]]


def mark_read(actor: Actor, notification_id: UUID) -> NotificationRow:
    """Mark one of the actor's own notifications as read and return it. Raises NotFound for another person's."""
    row = Notification.objects.filter(id=notification_id, user_id=_person(actor)).first()
    if row is None:
        raise NotFound
    Notification.objects.filter(id=row.id, read_at__isnull=True).update(read_at=DatabaseNow())
    return NotificationRow(row.id, row.kind, row.title, row.body, row.path, row.created_at, row.read_at)


def mark_all_read(actor: Actor) -> int:
    """Mark all of the actor's own notifications as read; return how many were unread."""
    return Notification.objects.filter(user_id=_person(actor), read_at__isnull=True).update(read_at=DatabaseNow())


def email_of(tenant_id: UUID, notification_id: UUID) -> NotificationEmail | None:
    """Return the data of a notification's email; None once it was read, or its person is no longer a member."""
    with tenant_scope(tenant_id):
        row = Notification.objects.select_related("user").filter(id=notification_id, read_at__isnull=True).first()
        if row is None or not Membership.objects.filter(user_id=row.user_id).exists():
            return None
        name, slug = Tenant.objects.values_list("name", "slug").get(id=tenant_id)
        return NotificationEmail(row.user.email, name, slug, row.title, row.body, row.path or "notifications/")


def _raise(members: QuerySet[Membership], kind: str, title: str, body: str, path: str) -> int:
    if path.startswith("/") or ":" in path.partition("?")[0]:
        raise ValueError(f"{path!r} is not relative to the tenant's pages")
    people = list(members.filter(user__is_active=True).values_list("user_id", flat=True))
    ways = topics.ways_of(people, kind)
    rows = Notification.objects.bulk_create(
        Notification(user_id=person, kind=kind, title=title[:200], body=body, path=path, bell=way.bell)
        for person, way in ways.items()
        if way != topics.OFF
    )
    tenant_id, due = current_tenant_id(), list[events.Event]()
    for row in rows:
        if ways[row.user_id].email:
            due.append(events.NotificationRaised(tenant_id=tenant_id, notification_id=row.id))
        if ways[row.user_id].webhook:
            event = events.NotificationForWebhooks(tenant_id=tenant_id, user_id=row.user_id, kind=kind, path=path)
            due.append(event)
    if due:
        events.publish_all(due)
    return len(rows)


def _person(actor: Actor) -> UUID:
    if actor.kind != "user" or actor.id is None:
        raise NotFound
    return actor.id
