"""SQL that counts what is reserved again, for the migrations that change what counts: organisation, projects, people."""

#: The owner sees the rows of tenants only while row security is not forced.
OPEN = "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"
CLOSED = "ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
#: A table whose references are still to be checked cannot be altered.
CHECKED = ["SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"]
TABLES = ("tenants_quota", "tenants_quotareservation")

COUNTED = """
INSERT INTO tenants_quota (id, tenant_id, resource, period, project_id, person, in_use, month)
SELECT gen_random_uuid(), tenant_id, resource, period, project, person, sum(amount), max(month) FROM (
    SELECT tenant_id, resource, period, NULL::uuid AS project, NULL::uuid AS person, amount, month
    FROM tenants_quotareservation
    UNION ALL SELECT tenant_id, resource, period, project_id, NULL, amount, month
    FROM tenants_quotareservation WHERE project_id IS NOT NULL
    UNION ALL SELECT tenant_id, resource, period, NULL, person, amount, month
    FROM tenants_quotareservation WHERE person IS NOT NULL) reserved
WHERE starts_with(resource, '{prefix}')
GROUP BY tenant_id, resource, period, project, person
ON CONFLICT (tenant_id, resource, period, project_id, person) DO UPDATE SET in_use = EXCLUDED.in_use, month = EXCLUDED.month
"""


def counted_again(*, prefix: str, given: list[str], reading: tuple[str, ...]) -> list[str]:
    """Return the statements that run `given` and count again what is reserved of the resources that begin so.

    The tables in `reading` are open meanwhile, too.
    """
    tables = (*TABLES, *reading)
    return [
        *(OPEN.format(table=table) for table in tables),
        *given,
        f"UPDATE tenants_quota SET in_use = 0 WHERE starts_with(resource, '{prefix}')",  # noqa: S608
        COUNTED.format(prefix=prefix),
        *CHECKED,
        *(CLOSED.format(table=table) for table in tables),
    ]
