"""One email about a platform event to one operator."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import F

from tenants.clock import DatabaseNow, now
from tenants.isolation import locks
from tenants.models import OperatorEmail, PlatformEvent, Tenant
from tenants.notifications import emails
from tenants.operators.platform_events import catalogue, choices
from tenants.operators.platform_events.spreading import console_url

FIRST_WAIT_S, LONGEST_WAIT_S = 30, 900
FOOT = "You receive this email because you are an operator of Exchequer. Choose your emails: {url}"


def send(email_id: UUID) -> None:
    """Send an email, unless it was sent or its operator no longer wants it (control role, no transaction open).

    Raises the SMTP client's errors; then the next attempt follows after a growing time.
    """
    with locks.alone(f"tenants.operator_email {email_id}") as mine:
        rows = OperatorEmail.objects.filter(id=email_id, sent_at=None, next_at__lte=DatabaseNow())
        row = rows.select_related("event", "user").first() if mine else None
        if row is None:
            return
        wait = min(FIRST_WAIT_S * 2 ** min(row.attempts, 10), LONGEST_WAIT_S)
        rows.update(attempts=F("attempts") + 1, next_at=now() + timedelta(seconds=wait))
        kind = catalogue.find(row.event.type)
        if kind is not None and any(one.wants(kind) for one in choices.readers(row.user_id)):
            subject, text = _written(kind, row.event)
            emails.send(row.user.email, subject, text, row.id)
        OperatorEmail.objects.filter(id=email_id).update(sent_at=DatabaseNow())


def _written(kind: catalogue.PlatformEventType, event: PlatformEvent) -> tuple[str, str]:
    """Return subject and text."""
    slug = Tenant.objects.filter(id=event.about).values_list("slug", flat=True).first() if event.about else None
    facts = ({"organisation": slug} if slug else {}) | event.data
    lines = [f"{name.replace('_', ' ').capitalize()}: {value}" for name, value in facts.items()]
    when = f"{event.created_at:%Y-%m-%d %H:%M} UTC"
    foot = FOOT.format(url=console_url("notifications/"))
    text = "\n".join([f"{kind.title}.", "", *lines, f"Time: {when}", "", console_url(event.path), "", "-- ", foot, ""])
    return f"[Exchequer operators] {kind.title}{f': {slug}' if slug else ''}", text
