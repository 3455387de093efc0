"""Django's cache in a PostgreSQL table, with JSON values: rate-limit counters, and figures for monitoring.

Several database roles read and write this table, so a value is only data; invalid JSON counts as missing.
"""

import json
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

READ = "SELECT value FROM {} WHERE cache_key = %s AND expires > clock_timestamp()"
WRITE = """
INSERT INTO {0} AS kept (cache_key, value, expires)
VALUES (%s, %s, coalesce(clock_timestamp() + %s * interval '1 second', 'infinity'))
ON CONFLICT (cache_key) DO UPDATE SET value = excluded.value, expires = excluded.expires
"""
ONLY_EXPIRED = "WHERE kept.expires <= clock_timestamp()"
TOUCH = (
    "UPDATE {} SET expires = coalesce(clock_timestamp() + %s * interval '1 second', 'infinity') "
    "WHERE cache_key = %s AND expires > clock_timestamp()"
)


class JsonCache(BaseCache):
    """A cache of JSON values. Cleanup removes expired rows, never valid ones."""

    def __init__(self, table: str, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        self.table = table

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return the value of a key, or `default`."""
        with connection.cursor() as cursor:
            cursor.execute(READ.format(self.table), [self.make_and_validate_key(key, version=version)])
            row = cursor.fetchone()
        try:
            return default if row is None else json.loads(row[0])
        except (ValueError, RecursionError):
            return default

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store a value; raises TypeError for values that JSON cannot represent."""
        self._write(WRITE, key, value, timeout, version)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store a value unless the key has one; return whether it was stored."""
        return self._write(WRITE + ONLY_EXPIRED, key, value, timeout, version)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Set a new time to live for a value; return whether there is one."""
        found = [self._seconds(timeout), self.make_and_validate_key(key, version=version)]
        return self._run(TOUCH, found)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove a value; return whether there was one."""
        return self._run("DELETE FROM {} WHERE cache_key = %s", [self.make_and_validate_key(key, version=version)])

    def clear(self) -> None:
        """Remove every value."""
        self._run("DELETE FROM {}", [])

    def _write(self, statement: str, key: Any, value: Any, timeout: Any, version: int | None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        return self._run(statement, [key, json.dumps(value, allow_nan=False), self._seconds(timeout)])

    def _run(self, statement: str, values: Iterable[Any]) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(statement.format(self.table), list(values))
            return bool(cursor.rowcount)

    def _seconds(self, timeout: Any) -> float | None:
        # BaseCache uses None for "forever"; zero or less expires at once.
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else float(seconds)
