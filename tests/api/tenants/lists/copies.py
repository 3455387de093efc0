"""Many rows of everything: copies of what a test made, without a line of code for each table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

#: What distinguishes the copies of a row, by the type of a column. `copy` is the number of the copy.
APART = {
    "text": "left({0}, 25) || '-' || copy",
    "varchar": "left({0}, 25) || '-' || copy",
    "int2": "{0} + copy * 1000",
    "int4": "{0} + copy * 1000",
    "int8": "{0} + copy * 1000",
    "date": "({0} - make_interval(months => copy * 100))::date",
    "timestamptz": "{0} + make_interval(hours => copy)",
    "bytea": "sha256({0} || copy::text::bytea)",
    "uuid": "md5({0}::text || copy)::uuid",
}
#: Columns that stay: they have a form of their own, or name what a list is of. So do texts of less than 30 characters.
STAY = ("tenant_id", "content_object_id", "person", "tag_key", "tag_value", "token")
TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
ORDER BY c.relname
"""
COLUMNS = """
SELECT a.attname, t.typname, EXISTS (
    SELECT FROM pg_constraint f WHERE f.conrelid = a.attrelid AND f.contype = 'f' AND a.attnum = ANY(f.conkey)),
  t.typname = 'varchar' AND a.atttypmod BETWEEN 0 AND 33
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum
"""
UNIQUE = r"""
SELECT array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
  AND (a.attnum = ANY(i.indkey) OR (0 = ANY(i.indkey) AND pg_get_indexdef(i.indexrelid) ~ ('\m' || a.attname || '\M')))
WHERE i.indisunique AND a.attnum > 0 AND i.indrelid = %s::regclass GROUP BY i.indexrelid
"""


def add_row(admin: psycopg.Connection[Any], table: str, **columns: Any) -> None:
    """Store a row as it is: no trigger runs, no foreign key is checked."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, ["id", *columns])),
        sql.SQL(", ").join(sql.Placeholder() * (len(columns) + 1)),
    )
    with admin.transaction():
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute(statement, [uuid4(), *columns.values()])


def copy_rows(admin: psycopg.Connection[Any], tenant_id: UUID, copies: int) -> None:
    """Store so many copies of each row of a tenant, and of its members' accounts, as `add_row` does.

    A copy refers to what its row refers to, or, where only one may refer to that, to its copy of the same number. Rows that
    allow no more are left as they are.
    """
    with admin.transaction():
        admin.execute("SET LOCAL session_replication_role = replica")
        members = f"id IN (SELECT user_id FROM tenants_membership WHERE tenant_id = '{tenant_id}')"
        _copy(admin, "tenants_user", members, copies)
        for (table,) in admin.execute(TABLES).fetchall():
            try:
                with admin.transaction():
                    _copy(admin, table, f"tenant_id = '{tenant_id}'", copies)
            except psycopg.errors.CheckViolation:
                continue


def copy_with(
    admin: psycopg.Connection[Any], table: str, row_id: UUID, parent: str, copies: int, apart: Iterable[str] = ("id",)
) -> None:
    """Store a copy of a row for each copy of its parent that `copy_rows` stored.

    `parent` is the column that names it; those of `apart` get ids that no other copy has.
    """
    own = {name: f"md5({name}::text || 'of' || copy)::uuid" for name in apart}
    with admin.transaction():
        admin.execute("SET LOCAL session_replication_role = replica")
        _insert(admin, table, {parent: APART["uuid"].format(parent), **own}, f"id = '{row_id}'", copies)


def _copy(admin: psycopg.Connection[Any], table: str, rows: str, copies: int) -> None:
    columns = {name: facts for name, *facts in admin.execute(COLUMNS, [table]).fetchall()}
    apart: set[str] = set()
    for (unique,) in admin.execute(UNIQUE, [table]).fetchall():
        known = [name for name in unique if name not in STAY and columns[name][0] in APART and not columns[name][2]]
        own = [name for name in known if not columns[name][1]]
        if not apart.intersection(known):
            others = [name for name in known if columns[name][0] == "uuid"]
            apart.update(sorted(own, key=lambda name: (name != "id", columns[name][0] == "uuid"))[:1] or others)
    _insert(admin, table, {name: APART[columns[name][0]].format(f'"{name}"') for name in apart}, rows, copies)


def _insert(admin: psycopg.Connection[Any], table: str, apart: dict[str, str], rows: str, copies: int) -> None:
    names = [name for name, *_ in admin.execute(COLUMNS, [table]).fetchall()]
    values = [apart.get(name, f'"{name}"') for name in names]
    listed = ", ".join(f'"{name}"' for name in names)
    statement = (
        f"INSERT INTO {table} ({listed}) SELECT {', '.join(values)} "
        f"FROM {table} CROSS JOIN generate_series(1, {copies}) copy WHERE {rows} ON CONFLICT DO NOTHING"
    )
    admin.execute(statement)  # type: ignore[arg-type]
