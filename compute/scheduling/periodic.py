"""Fire periodic tasks from the static table `CELERY_BEAT_SCHEDULE`, each tick once, whichever controller leads.

A tick is the row (schedule, time); its insert decides. Ticks missed while nobody led are not made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from celery.schedules import crontab, schedule
from django.db import connection

from compute.models import ScheduleTick
from tenants.clock import DatabaseNow, now


def tick_of(schedule_of: object, moment: datetime) -> datetime | None:
    """Return the tick of `moment`, None if none is due: an interval's start, or a crontab's minute."""
    when: Any = schedule_of  # celery's stubs do not know the fields of its schedules
    if isinstance(schedule_of, crontab):
        minute = moment.replace(second=0, microsecond=0)
        fields = (
            (minute.minute, when.minute), (minute.hour, when.hour), (minute.day, when.day_of_month),
            (minute.month, when.month_of_year), (minute.isoweekday() % 7, when.day_of_week),
        )  # fmt: skip
        return minute if all(value in allowed for value, allowed in fields) else None
    period = when.run_every if isinstance(schedule_of, schedule) else when
    seconds = period.total_seconds() if isinstance(period, timedelta) else float(period)
    epoch = moment.timestamp()
    return datetime.fromtimestamp(epoch - epoch % seconds, moment.tzinfo)


def fire(table: Mapping[str, Mapping[str, Any]], send: Callable[[Mapping[str, Any]], None]) -> int:
    """Send every entry whose tick has not been fired; return how many. A failed send removes its tick and raises."""
    fired, moment = 0, now()
    for name, entry in table.items():
        tick = tick_of(entry["schedule"], moment)
        if tick is None or not _first(name, tick):
            continue
        try:
            send(entry)
        except Exception:
            ScheduleTick.objects.filter(schedule=name, tick=tick).delete()
            raise
        fired += 1
    return fired


def forget(days: int = 7) -> None:
    """Remove ticks older than `days`."""
    ScheduleTick.objects.filter(tick__lt=DatabaseNow() - timedelta(days=days)).delete()


def _first(name: str, tick: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO compute_scheduletick (schedule, tick) VALUES (%s, %s) ON CONFLICT DO NOTHING", [name, tick]
        )
        return bool(cursor.rowcount == 1)
