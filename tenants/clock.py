"""The only source of time that is billed, leased or audited: the SQL function `exchequer_now()`; and the time zones."""

import zoneinfo
from datetime import datetime
from functools import cache
from typing import cast

from django.db import connection
from django.db.models import DateTimeField, Func


class DatabaseNow(Func):
    """`exchequer_now()` as an expression: for filters, annotations and `db_default`."""

    function = "exchequer_now"
    template = "%(function)s()"
    output_field = DateTimeField()

    def __init__(self) -> None:
        super().__init__()


def now() -> datetime:
    """Return the database's time, UTC, microseconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT exchequer_now()")
        (moment,) = cursor.fetchone()
    return cast(datetime, moment)


@cache
def timezones() -> frozenset[str]:
    """Return the names of the tz database. Python reads its folders at each question, for 20 ms.

    Without `localtime`, which is another zone on another machine, and `Factory`, which is none.
    """
    return frozenset(zoneinfo.available_timezones()) - {"Factory", "localtime"}
