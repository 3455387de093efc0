"""Prices of published versions, cached in memory by version and meter: a version never changes."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Collection
from decimal import Decimal
from threading import Lock
from uuid import UUID

from django.db import connection

from billing.pg_arrays import parsed
from billing.rating.selection import PriceEntry, PriceTable

LOAD = """
SELECT version_id, meter, id, dims, unit_amount, list_amount FROM billing_price
WHERE version_id = ANY(%s::uuid[]) AND meter = ANY(%s::text[])
"""
MOST_TABLES = 4_096
MOST_ENTRIES = 100_000

_tables: OrderedDict[tuple[UUID, str], PriceTable] = OrderedDict()
_lock = Lock()


def tables_of(versions: Collection[UUID], meters: Collection[str]) -> dict[UUID, dict[str, PriceTable]]:
    """Return the tables of the meters with these keys in these versions, read at most once per process."""
    wanted = [(version, meter) for version in versions for meter in meters]
    with _lock:
        found = {mark: _tables[mark] for mark in wanted if mark in _tables}
        for mark in found:
            _tables.move_to_end(mark)
    missing = [mark for mark in wanted if mark not in found]
    if missing:
        found |= _load(missing)
    return {version: {meter: found[version, meter] for meter in meters} for version in versions}


def _load(missing: list[tuple[UUID, str]]) -> dict[tuple[UUID, str], PriceTable]:
    entries: dict[tuple[UUID, str], list[PriceEntry]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(LOAD, [list({version for version, _ in missing}), list({meter for _, meter in missing})])
        for version, meter, price, dims, amount, listed in cursor.fetchall():
            entries[version, meter].append(PriceEntry(price, meter, parsed(dims), Decimal(amount), listed))
    loaded = {mark: PriceTable(entries.get(mark, ())) for mark in missing}
    with _lock:
        _tables.update(loaded)
        size = sum(table.size for table in _tables.values())
        while len(_tables) > MOST_TABLES or (size > MOST_ENTRIES and len(_tables) > len(loaded)):
            _, dropped = _tables.popitem(last=False)
            size -= dropped.size
    return loaded
