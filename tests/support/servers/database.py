"""Databases of a test session: one migrated template, a copy for each worker process, and the reset of a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from deploy.local.postgres import DATABASE, Cluster
from tests.support.servers import kept_data
from tests.support.servers.services import PASSWORDS, TEST_ROLE, Session

TEMPLATE = "exchequer_template"

# The product's login role cannot TRUNCATE, and rows made by migrations must survive a reset: so the superuser deletes
# with triggers off and copies those rows back. DELETE takes no lock that a leftover connection could block.
RESET = """
CREATE SCHEMA testkit;
CREATE FUNCTION testkit.tables() RETURNS TABLE (name name, columns text) LANGUAGE sql AS $tables$
    SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition GROUP BY c.relname
$tables$;
CREATE FUNCTION testkit.keep(label text) RETURNS void LANGUAGE plpgsql AS $keep$
DECLARE
    one record;
    filled boolean;
BEGIN
    EXECUTE format('CREATE SCHEMA %I', label);
    FOR one IN SELECT * FROM testkit.tables() LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one.name) INTO filled;
        IF filled THEN
            EXECUTE format('CREATE TABLE %I.%I AS SELECT %s FROM public.%I', label, one.name, one.columns, one.name);
        END IF;
    END LOOP;
END
$keep$;
CREATE FUNCTION testkit.lay(label text) RETURNS void LANGUAGE plpgsql SET session_replication_role = replica AS $lay$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM testkit.tables() LOOP
        EXECUTE format('DELETE FROM public.%I', one.name);
        IF to_regclass(format('%I.%I', label, one.name)) IS NOT NULL THEN
            EXECUTE format('INSERT INTO public.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %I.%I', one.name, one.columns, one.columns, label, one.name);
        END IF;
    END LOOP;
END
$lay$;
SELECT testkit.keep('migrated');
-- Asked after each test that committed: statements that are planned once in a connection and leave alone what nobody wrote to.
-- The connection has triggers off: a function that turns them off itself would throw all plans away.
DO $make$
DECLARE
    body text := '';
    one record;
BEGIN
    FOR one IN SELECT *, to_regclass(format('migrated.%I', name)) AS kept FROM testkit.tables() LOOP
        IF one.kept IS NULL THEN
            body := body || format('IF EXISTS (SELECT FROM public.%1$I) THEN DELETE FROM public.%1$I; END IF;', one.name);
        ELSE
            body := body || format(
                'IF EXISTS ((SELECT %2$s FROM public.%1$I EXCEPT ALL SELECT %2$s FROM migrated.%1$I) UNION ALL (SELECT %2$s FROM migrated.%1$I EXCEPT ALL SELECT %2$s FROM public.%1$I))'
                ' THEN DELETE FROM public.%1$I; INSERT INTO public.%1$I (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM migrated.%1$I; END IF;',
                one.name, one.columns);
        END IF;
    END LOOP;
    EXECUTE format('CREATE FUNCTION testkit.reset() RETURNS void LANGUAGE plpgsql AS %L', 'BEGIN ' || body || ' END');
END
$make$;
"""


def provide(session: Session, worker: str) -> str:
    """Make the database of one worker from the migrated template; return its name."""
    cluster = session.cluster
    session.once("postgres", lambda: _start(session))
    name = f"exchequer_{worker}"
    with session.lock("copy"), cluster.superuser("postgres") as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        copy_database(connection, name, TEMPLATE)
        cluster.grant(name)
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(TEST_ROLE))
        )
    point_django(cluster, name, TEST_ROLE)
    return name


def _start(session: Session) -> bool:
    """Start the server with roles and a migrated template: those of an earlier session, or new ones to keep for the next."""
    cluster = session.cluster
    cluster.folder.mkdir(exist_ok=True)
    restored = kept_data.restore(cluster.data)
    session.start_cluster()
    if not restored:
        session.make_roles()
        _make_template(cluster)
        session.stop_cluster()
        kept_data.keep(cluster.data)
        session.start_cluster()
    return restored


def _make_template(cluster: Cluster) -> None:
    with cluster.superuser("postgres") as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
        copy_database(connection, TEMPLATE, "template1")
    cluster.grant(TEMPLATE)
    with logged_in(cluster, TEMPLATE, "exchequer_owner"):
        call_command("migrate", verbosity=0, interactive=False)
    with cluster.superuser("postgres") as connection:  # what a started stack finds already migrated
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(DATABASE)))
        copy_database(connection, DATABASE, TEMPLATE)
    cluster.grant(DATABASE)
    with cluster.superuser(TEMPLATE) as connection:
        connection.execute(RESET)


def copy_database(connection: psycopg.Connection, name: str, template: str) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    connection.execute(statement)


def copy_kept(cluster: Cluster, label: str, source: str, target: str) -> None:
    """Copy what one worker has kept under a label into the database of another, and move its sequences as far."""
    with cluster.superuser(source) as giver, cluster.superuser(target) as taker, taker.transaction():
        taker.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(label)))
        kept = "SELECT name, columns FROM testkit.tables() WHERE to_regclass(format('%%I.%%I', %s::text, name)) IS NOT NULL"
        for name, columns in giver.execute(kept, [label]).fetchall():
            place = sql.Identifier(label, name)
            taker.execute(
                sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                    place, sql.SQL(columns), sql.Identifier("public", name)
                )
            )
            with (
                giver.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(place)) as rows,
                taker.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(place)) as into,
            ):
                for piece in rows:
                    into.write(piece)
        reached = "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_sequences WHERE last_value IS NOT NULL"
        for sequence, value in giver.execute(reached).fetchall():
            taker.execute(
                "SELECT setval(%s::regclass, greatest(%s, nextval(%s::regclass)))", [sequence, value, sequence]
            )


def point_django(cluster: Cluster, database: str, role: str) -> None:
    """Make every later connection of Django log in to `database` as `role`."""
    connections["default"].close()
    connections["default"].settings_dict.update(login(cluster, database, role))


class Reset:
    """Puts a database back to what its migrations made. One connection, since planning all its statements costs more than running them."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self._cluster, self._database = cluster, database
        self._admin: psycopg.Connection | None = None

    def __call__(self) -> None:
        """Reset, over a new connection where a test ended the one that was there."""
        try:
            self._run()
        except psycopg.OperationalError:
            self.close()
            self._run()

    def close(self) -> None:
        """End the connection."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _run(self) -> None:
        if self._admin is None:
            self._admin = self._cluster.superuser(self._database)
            self._admin.execute("SET session_replication_role = replica")
        self._admin.execute("SELECT testkit.reset()")


@contextmanager
def logged_in(cluster: Cluster, database: str, role: str) -> Iterator[None]:
    """Make Django use another login role for a while."""
    before = {key: connections["default"].settings_dict[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    point_django(cluster, database, role)
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"].settings_dict.update(before)


def login(cluster: Cluster, database: str, role: str) -> dict[str, Any]:
    """Return Django's settings of one login."""
    return {"NAME": database, "USER": role, "PASSWORD": PASSWORDS[role], "HOST": str(cluster.folder), "PORT": ""}
