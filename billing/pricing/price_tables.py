"""Prices of published versions, cached in memory by version and meter: a version never changes."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping
from decimal import Decimal
from threading import Lock
from uuid import UUID

from django.db import connection

from billing.pg_arrays import parsed
from billing.rating.selection import PriceEntry, PriceTable
from tenants.isolation.scoping import current_tenant_id

LOAD = """
SELECT version_id, meter_id, id, dims, unit_amount FROM billing_price
WHERE tenant_id = %s AND version_id = ANY(%s::uuid[]) AND meter_id = ANY(%s::uuid[])
"""
MOST_TABLES = 4_096
MOST_ENTRIES = 100_000

_tables: OrderedDict[tuple[UUID, UUID], PriceTable] = OrderedDict()
_lock = Lock()


def tables_of(versions: Collection[UUID], meters: Mapping[str, UUID]) -> dict[UUID, dict[str, PriceTable]]:
    """Return the tables of these meters in these versions of the open scope's tenant, read at most once per process."""
    wanted = [(version, meter) for version in versions for meter in meters.values()]
    with _lock:
        found = {mark: _tables[mark] for mark in wanted if mark in _tables}
        for mark in found:
            _tables.move_to_end(mark)
    missing = [mark for mark in wanted if mark not in found]
    if missing:
        found |= _load(missing, {meter_id: key for key, meter_id in meters.items()})
    return {version: {key: found[version, meter] for key, meter in meters.items()} for version in versions}


def _load(missing: list[tuple[UUID, UUID]], keys: Mapping[UUID, str]) -> dict[tuple[UUID, UUID], PriceTable]:
    entries: dict[tuple[UUID, UUID], list[PriceEntry]] = defaultdict(list)
    with connection.cursor() as cursor:
        versions, meters = (list({mark[place] for mark in missing}) for place in (0, 1))
        cursor.execute(LOAD, [current_tenant_id(), versions, meters])
        for version, meter, price, dims, amount in cursor.fetchall():
            entries[version, meter].append(PriceEntry(price, keys[meter], parsed(dims), Decimal(amount)))
    loaded = {mark: PriceTable(entries.get(mark, ())) for mark in missing}
    with _lock:
        _tables.update(loaded)
        size = sum(table.size for table in _tables.values())
        while len(_tables) > MOST_TABLES or (size > MOST_ENTRIES and len(_tables) > len(loaded)):
            _, dropped = _tables.popitem(last=False)
            size -= dropped.size
    return loaded
