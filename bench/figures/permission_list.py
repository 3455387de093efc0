"""G-c1: the 25 newest of a million visible jobs, with all isolation on, against guardian and against bare SQL."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg

from bench.permission_rows import PAGE, calls_a_second, filled, guardian_list, shipped_list
from bench.rows import Options, Row, figure, interleaved


@figure("G-c1")
def permission_list(options: Options) -> Iterator[Row]:
    """Measure lists a second: as shipped (membership, grants, scope, row security), by guardian, and as bare SQL."""
    from django.db import connection

    world = filled(options)
    bare = psycopg.connect(options.environment("app")["DATABASE_URL"])

    def plain_sql() -> list[UUID]:
        with bare.transaction(), bare.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(world.tenant)])
            cursor.execute(
                "SELECT * FROM compute_job WHERE tenant_id = %s ORDER BY id DESC LIMIT %s", [world.tenant, PAGE]
            )
            return [row[0] for row in cursor.fetchall()]

    reads = {
        "shipped": shipped_list(world.of_one, world.tenant),
        "guardian": guardian_list(world.of_one, world.tenant),
        "bare SQL": plain_sql,
        "shipped, 50 tenants": shipped_list(world.of_many, world.tenant),
        "guardian, 50 tenants": guardian_list(world.of_many, world.tenant),
    }
    first, *others = [read() for read in reads.values()]
    if any(other != first for other in others):
        raise AssertionError("the lists differ")
    found = interleaved(options.rounds, {name: calls_a_second(options, read) for name, read in reads.items()})
    bare.close()
    connection.close()
    absolute = {f"{name} lists/s": value for name, value in found.items()}
    what = "25 newest of 1M jobs"
    yield Row("G-c1", what, found["shipped"] / found["guardian"], 25.0, "guardian, same locks", absolute)
    yield Row("G-c1", what, found["shipped"] / found["bare SQL"], 1 / 1.5, "bare SQL with row security")
    yield Row(
        "G-c1", f"{what}, a member of 50 tenants", found["shipped, 50 tenants"] / found["guardian, 50 tenants"], 130.0,
        "guardian, same locks",
    )  # fmt: skip
