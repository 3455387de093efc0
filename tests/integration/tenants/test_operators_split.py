"""An upgrade of an installation whose operators were members too."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg import sql

from tests.conftest import SESSION

ROOT = Path(__file__).resolve().parents[3]


def manage(database: str, *words: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    env |= {"EXCHEQUER_DB_ROLE": "owner", "DATABASE_OWNER_URL": SESSION.cluster.url("exchequer_owner", database)}
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout


@pytest.mark.nightly
def test_operators_of_before_are_split(django_db_setup: object) -> None:
    name = f"upgrade_{uuid4().hex[:8]}"
    with SESSION.cluster.superuser() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    SESSION.cluster.grant(name)
    try:
        manage(name, "migrate", "tenants", "0012", "--no-input")
        with SESSION.cluster.superuser(name) as admin:
            admin.execute("SET session_replication_role = replica")
            tenant = uuid4()
            admin.execute(
                "INSERT INTO tenants_tenant (id, name, slug, timezone, currency, self_approval) VALUES (%s,'x','x','UTC','EUR',false)",
                [tenant],
            )
            both, alone, gone = uuid4(), uuid4(), uuid4()
            for one, active in ((both, True), (alone, True), (gone, False)):
                admin.execute(
                    "INSERT INTO tenants_user (id, email, password, name, theme, single_keys, is_operator, is_active, is_superuser) VALUES (%s,%s,'hash','n','auto',true,true,%s,false)",
                    [one, f"{one}@x.example", active],
                )
                admin.execute(
                    "INSERT INTO tenants_session (session_key, session_data, expire_date, user_id, tenant_slug, ip, user_agent) VALUES (%s,'d',now()+interval '1 day',%s,'','','')",
                    [one.hex, one],
                )
            admin.execute(
                "INSERT INTO tenants_membership (id, tenant_id, user_id) VALUES (gen_random_uuid(), %s, %s)",
                [tenant, both],
            )
        manage(name, "migrate", "--no-input")
        with SESSION.cluster.superuser(name) as admin:
            rows = admin.execute(
                "SELECT email, is_operator, is_active, (SELECT count(*) FROM tenants_operatorgrant g WHERE g.user_id = u.id), (SELECT count(*) FROM tenants_session s WHERE s.user_id = u.id) FROM tenants_user u ORDER BY 1,2"
            ).fetchall()
            assert len(rows) == 4
    finally:
        with SESSION.cluster.superuser() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
