"""System checks that refuse to start a process whose database role could see every tenant."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register
from django.db import DatabaseError, connection

ROLE_FACTS = """
SELECT r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
       has_schema_privilege(r.rolname, 'public', 'CREATE'),
       EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relowner = r.oid)
FROM pg_roles r WHERE r.rolname = current_user
"""


def role_faults() -> list[str]:
    """Return why the current role must not run the product; empty when all is well. Raises `DatabaseError`."""
    with connection.cursor() as cursor:
        cursor.execute(ROLE_FACTS)
        name, superuser, bypass, createrole, create, owns = cursor.fetchone()
    faults = {
        "is a superuser and so sees every tenant": superuser,
        "bypasses row-level security": bypass,
        "may make roles": createrole,
        "may create tables": create,
        "owns tables": owns,
    }
    return [f"Database role {name!r} {fault}." for fault, found in faults.items() if found]


@register(Tags.database)
def check_database_role(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[Error]:
    """Refuse run-time processes that log in as an owner or superuser (trust T1)."""
    if settings.EXCHEQUER.db_role == "owner" or not databases:
        return []
    return [
        Error(
            fault,
            hint="Set DATABASE_URL and DATABASE_CONTROL_URL to the plain roles of deploy/roles.sql.",
            id="tenants.E001",
        )
        for fault in role_faults()
    ]


def refuse_unsafe_role() -> None:
    """Exit with the reason when this process may not run with its database role; pass when the database is away."""
    try:
        faults = role_faults()
    except DatabaseError:
        return
    if faults:
        raise SystemExit("Exchequer refuses to start. " + " ".join(faults))
