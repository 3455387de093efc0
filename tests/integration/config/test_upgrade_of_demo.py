"""A database of an earlier landing with the demo's data migrates, and each organisation's last invoice is what it was."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command

from tests.conftest import SESSION
from tests.integration.config import landing
from tests.support.servers.database import logged_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("upgrade")]
NAME = "exchequer_landing"


def test_every_last_invoice_of_the_demo_is_equal_to_the_cent_after_the_upgrade() -> None:
    with landing.restored(NAME):
        with logged_in(SESSION.cluster, NAME, "exchequer_owner"):
            call_command("migrate", verbosity=0, interactive=False)
        with logged_in(SESSION.cluster, NAME, "exchequer_app"):
            assert landing.last_invoices(NAME) == json.loads(landing.INVOICES.read_text())
        with logged_in(SESSION.cluster, NAME, "exchequer_control"):
            for command in ("verify_ledger", "reconcile"):
                call_command(command, stdout=StringIO(), dry_run=True)
            call_command("verify_audit", stdout=StringIO(), database_only=True)
