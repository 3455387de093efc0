"""G-c4: what row security adds to a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg

from bench.permission_rows import PAGE, calls_a_second, filled
from bench.rows import Options, Row, figure, interleaved

CALLS = 300


@figure("G-c4")
def row_security(options: Options) -> Iterator[Row]:
    """Measure one statement under row security and without it: same connection, same columns, same condition."""
    world = filled(options)
    statement = "SELECT * FROM compute_job WHERE tenant_id = %s ORDER BY id DESC LIMIT %s"
    link = psycopg.connect(options.environment("app")["DATABASE_URL"])

    def read() -> list[tuple[object, ...]]:
        with link.transaction(), link.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(world.tenant)])
            cursor.execute(statement, [world.tenant, PAGE])
            return cursor.fetchall()

    measure = calls_a_second(options, read, CALLS)

    def with_security(switch: str) -> Callable[[], float]:
        def side() -> float:
            options.superuser(f"ALTER TABLE compute_job {switch} ROW LEVEL SECURITY")
            read()
            return measure()

        return side

    if len(read()) != PAGE:
        raise AssertionError("the list is not full")
    found = interleaved(options.rounds, {"on": with_security("ENABLE"), "off": with_security("DISABLE")})
    options.superuser("ALTER TABLE compute_job ENABLE ROW LEVEL SECURITY")
    link.close()
    absolute = {f"{name} lists/s": value for name, value in found.items()}
    yield Row(
        "G-c4", "25 newest of 1M jobs, row security", found["on"] / found["off"], 1 / 1.15, "without it", absolute
    )
