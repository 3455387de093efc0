"""Who is notified of what came of a schedule's ticks."""

from __future__ import annotations

from django.db.models import Q

from models_app.models import Schedule
from tenants.notifications import notifications
from tenants.rights import held

PAUSED, REFUSED, MISSED = "schedule_paused", "schedule_refused", "schedule_missed"


def paused(row: Schedule) -> None:
    """Notify the person of a schedule that paused itself, and those who manage its project."""
    title, path = f"Schedule {row.name} paused itself", _path(row)
    body = f"{row.paused_reason} Resume it on its page: from then on it launches with your rights."
    if row.person is not None:
        notifications.notify_person(row.person, kind=PAUSED, title=title, body=body, path=path)
    others = held.opening(row.project_id) & ~Q(user_id=row.person)
    notifications.notify(permission="projects.manage", kind=PAUSED, title=title, body=body, path=path, only=others)


def refused(row: Schedule, reason: str) -> None:
    """Notify the person of a launch that was refused."""
    _person(row, REFUSED, f"Schedule {row.name} launched nothing", reason)


def missed(row: Schedule, count: int, *, launched: bool) -> None:
    """Notify the person of ticks that nothing launched."""
    times = "once" if count == 1 else f"{count} times"
    then = "The newest tick was launched late." if launched else "None of them is launched later."
    body = f"It was due {times} while Exchequer was not running. {then}"
    _person(row, MISSED, f"Schedule {row.name} was missed {times}", body)


def settle(row: Schedule) -> None:
    """Mark the notifications of a pause as read: somebody resumed it."""
    notifications.settle(kind=PAUSED, path=_path(row))


def _person(row: Schedule, kind: str, title: str, body: str) -> None:
    if row.person is not None:
        notifications.notify_person(row.person, kind=kind, title=title, body=body, path=_path(row))


def _path(row: Schedule) -> str:
    return f"schedules/{row.id}/"
