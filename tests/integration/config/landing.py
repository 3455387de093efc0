"""A database of an earlier landing with the demo's data, small enough to keep: `write` makes it, `restored` brings it back.

To keep a later landing, check it out and run
`WRITE_LANDING=1 pytest tests/integration/config/test_demo.py -k killed_run`.
"""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client

from config.backup import database
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.conftest import SESSION
from tests.support import factories
from tests.support.servers.database import copy_database

WANTED = "WRITE_LANDING"
DUMP, INVOICES = (Path(__file__).with_name(name) for name in ("landing.dump.xz", "landing.json"))
#: Most of the rows, and no part of an invoice.
LEFT_OUT = (
    "compute_devicesample*",
    "compute_joblog*",
    "compute_jobmetric*",
    "models_app_feedback",
    "tenants_outboxmessage",
)


def admin_of(name: str) -> str:
    """Return the URL of a database's administrator."""
    return f"postgresql://postgres@/{name}?host={SESSION.cluster.folder}"


def write() -> None:
    """Keep the database of this worker, and what its last invoices come to."""
    name = str(connection.settings_dict["NAME"])
    command = [
        database._program("pg_dump"),
        "--format=custom",
        "--compress=0",
        "--schema=public",
        "--extension=btree_gist",
    ]
    command += [*(f"--exclude-table-data={table}" for table in LEFT_OUT), admin_of(name)]
    dump = subprocess.run(command, env={"PATH": os.defpath}, capture_output=True, check=True).stdout
    DUMP.write_bytes(lzma.compress(dump, preset=9 | lzma.PRESET_EXTREME))
    INVOICES.write_text(json.dumps(last_invoices(name), indent=1) + "\n")


@contextmanager
def restored(name: str) -> Iterator[None]:
    """Bring the kept database back under a name, for a while."""
    with SESSION.cluster.superuser("postgres") as admin, tempfile.NamedTemporaryFile() as file:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        with SESSION.lock("copy"):
            copy_database(admin, name, "template1")
        try:
            SESSION.cluster.grant(name)
            file.write(lzma.decompress(DUMP.read_bytes()))
            file.flush()
            database.restore(admin_of(name), Path(file.name))
            yield
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def last_invoices(name: str) -> dict[str, Any]:
    """Return what the last invoice of each organisation comes to, by the API of the database that Django uses."""
    with SESSION.cluster.superuser(name) as admin:
        tenants = admin.execute("SELECT id, slug FROM tenants_tenant ORDER BY slug").fetchall()
    return {slug: _last_invoice(tenant_id) for tenant_id, slug in tenants}


def _last_invoice(tenant_id: Any) -> dict[str, Any]:
    with tenant_scope(tenant_id):
        tenant = Tenant.objects.get(id=tenant_id)
    client = Client(headers={"Authorization": f"Bearer {factories.make_api_key(tenant)}"})
    last = max((row for row in rows(client, "/api/v1/invoices/") if row["number"]), key=lambda row: row["finalised_at"])
    lines = [row["amount"]["amount"] for row in rows(client, f"/api/v1/invoices/{last['id']}/lines/")]
    sums = {key: last[key] and last[key]["amount"] for key in ("subtotal", "tax", "total", "credited", "paid")}
    return {"number": last["number"], "state": last["state"], **sums, "lines": lines}


def rows(client: Client, url: str | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a list of the API, page after page."""
    while url:
        page = client.get(url).json()
        yield from page["results"]
        url = page["next"]
