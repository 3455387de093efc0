"""Isolation in the database catalogue (trust T1, T2, A2, A8), independent of the code."""

import re
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tenants.audit import erasure
from tenants.checks import role_faults
from tests.architecture.inside import glass_faults
from tests.architecture.locks import UNLOCKED, console_faults, policy_faults, reference_faults, see_through_faults
from tests.architecture.nodes import node_faults
from tests.architecture.serving_nodes import serving_faults
from tests.support.servers.services import TEST_ROLE

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent.parent

TENANT_TABLES = """
SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relispartition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
  AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
"""
ROLES = ("exchequer_app", "exchequer_control", "exchequer_operator")


def tenant_table_faults(superuser: psycopg.Connection) -> list[str]:
    """Return the faults of tables with tenants' rows."""
    faults = []
    for oid, name, enabled, forced, partition in superuser.execute(TENANT_TABLES).fetchall():
        if not (enabled and forced):
            faults.append(f"{name}: row security is not enabled and forced")
        faults += policy_faults(superuser, oid, name, partition=partition)
        if not partition:
            faults += reference_faults(superuser, oid, name)
        indexed = superuser.execute(
            "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = %s AND a.attname = 'tenant_id'",
            [oid],
        ).fetchone()
        if indexed is None:
            faults.append(f"{name}: no index begins with tenant_id")
        nullable = superuser.execute(
            "SELECT 1 FROM pg_attribute WHERE attrelid = %s AND attname = 'tenant_id' AND NOT attnotnull", [oid]
        ).fetchone()
        if nullable is not None:
            faults.append(f"{name}: tenant_id may be empty")
        if partition:
            granted = [
                role
                for role in ROLES
                if superuser.execute(
                    "SELECT has_table_privilege(%s, %s::oid, 'SELECT, INSERT, UPDATE, DELETE')", [role, oid]
                ).fetchone()
                == (True,)
            ]
            faults += [f"{name}: {role} may reach the partition directly" for role in granted]
    return faults


#: The seller numbers the documents of all tenants in one series, and only the console's role writes a number.
SELLERS_NUMBERS = {"invoice_number_once", "credit_note_number_once"}


def foreign_key_faults(superuser: psycopg.Connection) -> list[str]:
    """Return references between tenants' tables without the tenant, and unique keys across tenants."""
    rows = superuser.execute(
        f"WITH t AS ({TENANT_TABLES}) "
        "SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint k JOIN t source ON source.oid = k.conrelid JOIN t target ON target.oid = k.confrelid "
        "WHERE k.contype = 'f' AND NOT EXISTS (SELECT 1 FROM unnest(k.conkey, k.confkey) AS pair (here, there) "
        "JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = here AND a.attname = 'tenant_id' "
        "JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = there AND b.attname = 'tenant_id')"
    ).fetchall()
    faults = [f"{table}: {name} does not carry the tenant" for table, name in rows]
    rows = superuser.execute(
        f"WITH t AS ({TENANT_TABLES}) SELECT i.indexrelid::regclass::text FROM pg_index i JOIN t ON t.oid = i.indrelid WHERE i.indisunique "
        "AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) AND a.attname IN ('tenant_id', 'id'))"
    ).fetchall()
    return faults + [f"{name}: unique over all tenants" for (name,) in rows if name not in SELLERS_NUMBERS]


def test_every_tenant_table_is_locked(superuser: psycopg.Connection) -> None:
    assert len(superuser.execute(TENANT_TABLES).fetchall()) >= 9
    assert tenant_table_faults(superuser) == []


def test_references_between_tenant_tables_carry_the_tenant(superuser: psycopg.Connection) -> None:
    assert foreign_key_faults(superuser) == []


CARELESS = """
CREATE TABLE careless (id uuid PRIMARY KEY, tenant_id uuid, name text UNIQUE, job_id uuid REFERENCES tenants_project (id), owner_id uuid);
CREATE TABLE open_wide (tenant_id uuid NOT NULL, id uuid, parent uuid, crossed_id uuid, PRIMARY KEY (tenant_id, id), UNIQUE (id, tenant_id));
ALTER TABLE open_wide ADD FOREIGN KEY (crossed_id, tenant_id) REFERENCES open_wide (tenant_id, id);
ALTER TABLE open_wide ENABLE ROW LEVEL SECURITY;
ALTER TABLE open_wide FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON open_wide TO exchequer_app, exchequer_control USING (true) WITH CHECK (true);
CREATE TABLE half_open (LIKE open_wide INCLUDING ALL);
ALTER TABLE half_open ENABLE ROW LEVEL SECURITY;
ALTER TABLE half_open FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_rows ON half_open TO exchequer_app, exchequer_control
    USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)) WITH CHECK (true);
CREATE POLICY control_rows ON half_open TO PUBLIC USING (true) WITH CHECK (true);
"""
CAUGHT = (
    "careless: row security is not enabled and forced",
    "careless: no index begins",
    "careless: tenant_id may be empty",
    "careless: careless_job_id_fkey does not carry the tenant",
    "careless_name_key: unique over all tenants",
    "careless: owner_id references nothing",
    "careless: policy ('tenant_rows', '*', ('exchequer_app', 'exchequer_control'),",
    "open_wide: policy ('tenant_rows', '*', ('exchequer_app', 'exchequer_control'), 'true', 'true') is not among",
    "open_wide: open_wide_crossed_id_tenant_id_fkey does not carry the tenant",
    "half_open: crossed_id references nothing",
    "half_open: policy ('control_rows', '*', ('public',), 'true', 'true') is not among",
    "'true') is not among those it may have",
)


@pytest.mark.django_db(transaction=True)
def test_a_careless_migration_is_caught(superuser: psycopg.Connection) -> None:
    superuser.execute(CARELESS)
    try:
        found = "\n".join(tenant_table_faults(superuser) + foreign_key_faults(superuser))
    finally:
        superuser.execute("DROP TABLE careless, open_wide, half_open")
    assert [fault for fault in CAUGHT if fault not in found] == []


def test_tables_that_no_policy_locks_are_known(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
        "AND NOT (relrowsecurity AND relforcerowsecurity) "
        "AND has_table_privilege('exchequer_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE')"
    ).fetchall()
    assert {name for (name,) in rows} - UNLOCKED == set()


ACCOUNTS = """
SELECT p.polname, p.polrelid::regclass::text, ARRAY(SELECT r::regrole::text FROM unnest(p.polroles) r ORDER BY 1),
       pg_get_expr(p.polqual, p.polrelid)
FROM pg_policy p
WHERE p.polrelid IN ('tenants_user'::regclass, 'mfa_authenticator'::regclass, 'tenants_ratelimit'::regclass) ORDER BY 2, 1
"""
OWN_SIDE = "(EXISTS ( SELECT\n   FROM tenants_user u\n  WHERE (u.id = mfa_authenticator.user_id)))"


MEMBERS = (
    "((NOT is_operator) AND (EXISTS ( SELECT\n   FROM tenants_membership m\n  WHERE (m.user_id = tenants_user.id))))"
)


def test_each_side_sees_its_own_accounts(superuser: psycopg.Connection) -> None:
    assert superuser.execute(ACCOUNTS).fetchall() == [
        ("control_rows", "mfa_authenticator", ["exchequer_control"], "true"),
        ("own_side", "mfa_authenticator", ["exchequer_app", "exchequer_operator"], OWN_SIDE),
        ("control_rows", "tenants_ratelimit", ["exchequer_control"], "true"),
        ("operators", "tenants_ratelimit", ["exchequer_operator"], "starts_with((cache_key)::text, 'operator:'::text)"),
        ("people", "tenants_ratelimit", ["exchequer_app"], "(NOT starts_with((cache_key)::text, 'operator:'::text))"),
        ("control_rows", "tenants_user", ["exchequer_control"], "true"),
        ("glass_rows", "tenants_user", ["exchequer_glass"], MEMBERS),
        ("lookup_rows", "tenants_user", ["exchequer_owner"], "true"),
        ("node_rows", "tenants_user", ["exchequer_node"], MEMBERS),
        ("operators", "tenants_user", ["exchequer_operator"], "is_operator"),
        ("people", "tenants_user", ["exchequer_app"], "(NOT is_operator)"),
    ]


BOOKS = """
SELECT p.polrelid::regclass::text, p.polname, p.polcmd::text, ARRAY(SELECT r::regrole::text FROM unnest(p.polroles) r ORDER BY 1),
       pg_get_expr(p.polqual, p.polrelid)
FROM pg_policy p WHERE p.polrelid = ANY (ARRAY['billing_pricebook', 'billing_priceversion', 'billing_price']::regclass[])
  AND p.polname = 'contract_rows' ORDER BY 1
"""


def test_a_tenant_reads_the_price_books_of_its_contracts_and_writes_none(superuser: psycopg.Connection) -> None:
    named = "SELECT c.book_id FROM billing_contract c WHERE (c.tenant_id = ( SELECT (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid AS \"nullif\"))"
    visible = {
        "billing_price": "(version_id IN ( SELECT v.id FROM billing_priceversion v))",
        "billing_pricebook": f"(id IN ( {named}))",
        "billing_priceversion": f"(book_id IN ( {named}))",
    }
    for table, name, command, roles, condition in superuser.execute(BOOKS).fetchall():
        assert (name, command, roles) == ("contract_rows", "r", ["exchequer_app"])
        assert " ".join(condition.split()) == visible.pop(table)
    assert visible == {}
    written = superuser.execute(
        "SELECT t FROM unnest(ARRAY['billing_contract', 'billing_pricebook', 'billing_priceversion', 'billing_price']) t "
        "WHERE has_table_privilege('exchequer_app', t, 'INSERT, UPDATE, DELETE')"
    ).fetchall()
    assert written == []


def test_the_console_has_the_listed_rights_and_no_others(superuser: psycopg.Connection) -> None:
    assert console_faults(superuser) == []


def test_a_look_inside_reads_the_listed_tables_and_writes_none(superuser: psycopg.Connection) -> None:
    assert glass_faults(superuser) == []


def test_a_node_has_the_listed_rights_and_no_others(superuser: psycopg.Connection) -> None:
    assert node_faults(superuser) == []


def test_a_serving_node_has_the_listed_rights_and_no_others(superuser: psycopg.Connection) -> None:
    assert serving_faults(superuser) == []


def tables_of(page: str) -> list[str]:
    """Return the tables in the second column of a page."""
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("| ")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_how_long_the_rows_of_every_table_stay_is_written_down(superuser: psycopg.Connection) -> None:
    named = tables_of((ROOT / "docs/retention.md").read_text())
    rows = superuser.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    ).fetchall()
    assert sorted(named) == sorted(name for (name,) in rows), "docs/retention.md names each table, once"


def test_every_task_that_removes_by_age_is_scheduled() -> None:
    page = (ROOT / "docs/retention.md").read_text()
    named = set(re.findall(r"`((?:tenants|billing|compute|models_app)\.[a-z_]+)`", page))
    assert named, "the page names tasks"
    assert named - {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} == set()


def test_nothing_else_sees_through_the_locks(superuser: psycopg.Connection) -> None:
    assert see_through_faults(superuser) == []


SEEN_THROUGH = """
CREATE VIEW all_members AS SELECT * FROM tenants_membership;
CREATE MATERIALIZED VIEW copied AS SELECT 1 AS one;
CREATE FUNCTION exchequer_api_keys(start uuid) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM tenants_apikey';
ALTER FUNCTION exchequer_memberships(uuid) RESET search_path;
ALTER FUNCTION exchequer_invitation(bytea) SET search_path = pg_temp, public;
ALTER FUNCTION exchequer_tenant_for(uuid, text) OWNER TO postgres;
GRANT EXECUTE ON FUNCTION exchequer_api_keys(text) TO PUBLIC;
GRANT SELECT ON tenants_apikey TO PUBLIC;
CREATE POLICY theirs ON tenants_project TO exchequer_owner USING (true);
ALTER TABLE tenants_quota NO FORCE ROW LEVEL SECURITY;
ALTER POLICY tenant_rows ON tenants_membership WITH CHECK (true);
"""
SEEN = (
    "all_members: a view that reads as its owner",
    "copied: a copy or foreign table",
    "exchequer_api_keys(uuid) runs as its owner and is not known",
    "exchequer_memberships(uuid): its search_path is open",
    "exchequer_invitation(bytea): its search_path is open",
    "exchequer_tenant_for(uuid,text): it runs as postgres",
    "exchequer_api_keys(text): everybody may call it",
    "tenants_apikey: public has rights on it",
    "tenants_project: policy ('theirs', '*', ('exchequer_owner',), 'true', None) is not among",
    "tenants_quota: row security is not enabled and forced",
    "tenants_membership: policy ('tenant_rows', '*', ('exchequer_app', 'exchequer_control', 'exchequer_operator'),",
)


def test_what_sees_through_the_locks_is_caught(superuser: psycopg.Connection) -> None:
    with superuser.transaction(force_rollback=True):
        superuser.execute(SEEN_THROUGH)
        found = "\n".join(see_through_faults(superuser) + tenant_table_faults(superuser))
    assert [fault for fault in SEEN if fault not in found] == []


def test_the_audit_log_references_no_live_table(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND conrelid = 'tenants_auditentry'::regclass"
    ).fetchall()
    assert {target for (target,) in rows} == {"tenants_tenant"}


def test_run_time_roles_are_plain(superuser: psycopg.Connection) -> None:
    facts = superuser.execute(
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = ANY (%s)",
        [list(ROLES)],
    ).fetchall()
    assert sorted(facts) == [(role, False, False, False, False) for role in ROLES]
    owned = superuser.execute(
        "SELECT count(*) FROM pg_class WHERE relowner IN (SELECT oid FROM pg_roles WHERE rolname = ANY (%s))",
        [list(ROLES)],
    ).fetchone()
    assert owned == (0,)
    truncate = superuser.execute(
        f"WITH t AS ({TENANT_TABLES}) SELECT t.relname FROM t, unnest(%s::text[]) AS role WHERE has_table_privilege(role, t.oid, 'TRUNCATE, REFERENCES, TRIGGER')",
        [list(ROLES)],
    ).fetchall()
    assert truncate == []


def test_run_time_roles_make_no_large_objects(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT role, p.oid::regprocedure::text FROM pg_proc p, unnest(%s::text[]) AS role "
        "WHERE p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import') "
        "AND has_function_privilege(role, p.oid, 'EXECUTE')",
        [list(ROLES)],
    ).fetchall()
    assert rows == []


LABELS = """
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped)
  AND (a.attname LIKE '%\\_label' OR a.attname LIKE '%\\_by') AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)
"""


def test_erasure_knows_every_label_of_a_person(superuser: psycopg.Connection) -> None:
    known = {(table._meta.db_table, name) for table in erasure.searched() for name in erasure.labels(table)}
    found = {(table, name) for table, name in superuser.execute(LABELS).fetchall() if table not in erasure.kept()}
    assert found >= {("compute_job", "submitted_by_label"), ("billing_hold", "placed_by")}
    assert found - known == set(), "a label that survives its tenant: see tenants/audit/erasure.py"


@pytest.mark.django_db(transaction=True)
def test_a_process_with_too_strong_a_role_is_refused(superuser: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("exchequer_app",)
    assert role_faults() == []
    # A role of this test alone: the product's own are shared by every database of the server.
    superuser.execute("CREATE ROLE exchequer_strong NOLOGIN BYPASSRLS")
    try:
        superuser.execute(f"GRANT exchequer_strong TO {TEST_ROLE}")
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_strong")
        assert any("bypasses" in fault for fault in role_faults())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_app")
        superuser.execute("DROP ROLE exchequer_strong")
