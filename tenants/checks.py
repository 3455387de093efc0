"""Refuse a process whose database role could see every tenant, at start and for each later connection."""

import json
from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.backends.signals import connection_created

from tenants.encryption import keys

#: Roles that the login can assume by SET ROLE count as its own: one injected statement is enough. A role that it may
#: only grant (ADMIN) counts too, since it can grant it to itself.
ROLE_FACTS = """
WITH asked AS (SELECT coalesce(%(role)s::name, session_user) AS name),
     mine AS (SELECT r.* FROM pg_roles r, asked a WHERE pg_has_role(a.name, r.oid, 'MEMBER')),
     plain AS (SELECT oid FROM pg_roles WHERE rolname = 'exchequer_app'
               UNION ALL SELECT oid FROM mine WHERE rolname IN ('exchequer_control', 'exchequer_operator')),
     relation AS (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm'))
SELECT (SELECT name FROM asked),
       bool_or(rolsuper), bool_or(rolbypassrls), bool_or(rolcreaterole), bool_or(rolreplication),
       bool_or(starts_with(rolname, 'pg_')),
       bool_or(rolcreatedb), bool_or(has_database_privilege(oid, current_database(), 'CREATE')),
       bool_or(has_schema_privilege(oid, 'public', 'CREATE')),
       EXISTS (SELECT FROM pg_shdepend d JOIN mine m ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = m.oid
               WHERE d.deptype = 'o' AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))),
       EXISTS (SELECT FROM relation t, mine m WHERE has_table_privilege(m.oid, t.oid, 'TRUNCATE')),
       EXISTS (SELECT FROM relation t, mine m WHERE has_table_privilege(m.oid, t.oid, 'TRIGGER, REFERENCES')),
       EXISTS (SELECT FROM relation t, mine m, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS act
               WHERE has_table_privilege(m.oid, t.oid, act)
                 AND NOT EXISTS (SELECT FROM plain p WHERE has_table_privilege(p.oid, t.oid, act))),
       bool_or(has_parameter_privilege(oid, 'session_replication_role', 'SET'))
         OR current_setting('session_replication_role') <> 'origin',
       bool_or(rolname = 'exchequer_control'), bool_or(rolname = 'exchequer_operator'), bool_or(rolname = 'exchequer_app')
FROM mine
"""
FAULTS = (
    "is a superuser and so sees every tenant",
    "bypasses row-level security",
    "may make roles",
    "may copy the whole database",
    "is a member of a role that PostgreSQL brings along, such as pg_read_all_data",
    "may make databases",
    "may make schemas",
    "may create tables",
    "owns tables or other parts of the database",
    "may empty tables",
    "may put triggers or references on tables",
    "has rights on tables that the plain roles have not",
    "may turn triggers off, or works without them",
)
#: Defaults as in `deploy/roles.sql`: a login of its own in a role's group inherits the role's rights and none of its
#: settings, and a role has none before that file is run again.
STATEMENTS = {"app": "30s", "control": "10min", "operator": "30s"}
WAITS = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "1min"}
LIMIT = """
SELECT set_config(s.name, chosen.value, false) FROM pg_settings s JOIN jsonb_each_text(%s::jsonb) AS chosen ON chosen.key = s.name
WHERE s.source = 'default'
"""
OF_CONTROL = "works as exchequer_control, which sees every tenant"
OF_OPERATORS = "works as exchequer_operator, the console's role"
OF_TENANTS = "works as exchequer_app, which sees a tenant's data"
HINT = "Set DATABASE_URL, DATABASE_CONTROL_URL and DATABASE_OPERATOR_URL to the plain roles of deploy/roles.sql."


class UnsafeRole(ImproperlyConfigured):
    """This process must not use the database with its login role."""


def role_faults(of: Any = None, *, one_tenant: bool = False) -> list[str]:
    """Return why a connection's role must not run the product; empty if it may. Raises `DatabaseError`.

    `one_tenant`: the process serves one tenant at a time, or operators; each has its own role, and the controller's is too
    strong for both.
    """
    name, found, also = _facts(of or connection, None)
    if one_tenant and FAULTS[0] not in found:
        other = OF_TENANTS if settings.EXCHEQUER.db_role == "operator" else OF_OPERATORS
        found += [fault for fault in (OF_CONTROL, other) if also[fault]]
    return [f"Database role {name!r} {fault}." for fault in found]


def faults_of(role: str) -> list[str]:
    """Return why a role of the database is too strong to run the product, as what it does. Raises `DatabaseError`."""
    return _facts(connection, role)[1]


def _facts(of: Any, role: str | None) -> tuple[str, list[str], dict[str, bool]]:
    """Return a role, the session's own unless named, what is wrong with it, and as which plain roles it works."""
    with of.cursor() as cursor:
        cursor.execute(ROLE_FACTS, {"role": role})
        name, *facts, control, operators, tenants = cursor.fetchone()
    found = [fault for fault, is_so in zip(FAULTS, facts, strict=True) if is_so]
    also = {OF_CONTROL: control, OF_OPERATORS: operators, OF_TENANTS: tenants}
    return name, [FAULTS[0]] if FAULTS[0] in found else found, also


@register(Tags.database)
def check_database_role(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[Error]:
    """Refuse run-time processes that log in as an owner or superuser (trust T1)."""
    if settings.EXCHEQUER.db_role == "owner" or not databases:
        return []
    return [Error(fault, hint=HINT, id="tenants.E001") for fault in role_faults()]


def refuse_wrong_master_key() -> None:
    """Exit with the reason if this process cannot use the master key that files are encrypted under.

    Processes that read or write stored files call this first; it passes while the database is unreachable.
    """
    try:
        found = keys.fault()
    except DatabaseError:
        return
    finally:
        connection.close()
    if found:
        raise SystemExit(f"Exchequer refuses to start. {found}")


def refuse_unsafe_role(*, one_tenant: bool = False) -> None:
    """Exit with the reason if this process's database role is too strong; every entry point calls this first.

    While the database is unreachable it cannot check; so each new connection is checked before its use, for the life of
    the process. It also gets the limits that its login lacks.
    """

    def check(*, connection: Any, **kwargs: Any) -> None:
        faults = role_faults(connection, one_tenant=one_tenant)
        if faults:
            connection.close()
            raise UnsafeRole(" ".join(faults))
        limit_waits(connection)

    connection_created.connect(check, weak=False, dispatch_uid="tenants.refuse_unsafe_role")
    try:
        connection.ensure_connection()
    except UnsafeRole as error:
        raise SystemExit(f"Exchequer refuses to start. {error} {HINT}") from None
    except DatabaseError:
        return
    finally:
        connection.close()


def limit_waits(of: Any) -> None:
    """Set timeouts for statements, lock waits and idle transactions of a connection, unless others are configured."""
    limits = WAITS | {"statement_timeout": STATEMENTS.get(settings.EXCHEQUER.db_role, "0")}
    with of.cursor() as cursor:
        cursor.execute(LIMIT, [json.dumps(limits)])
