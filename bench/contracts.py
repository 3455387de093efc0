"""Tenants of the benchmarks and their contracts: this process has the role of the web, which makes neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from tenants.models import Tenant

ROOT = Path(__file__).resolve().parent.parent
OPEN = """
import sys, django; django.setup()
from uuid import UUID
from billing.provisioning import provision_defaults
provision_defaults(UUID(sys.argv[1]))
"""
MAKE = """
import sys, django; django.setup()
from tenants.operations import create_tenant
name, email = sys.argv[1:]
print(create_tenant(name=name, slug=name.lower(), email=email, password=None).id)
"""


def make_tenant(name: str, email: str) -> Tenant:
    """Make a tenant with its owner, as a command on the machine does."""
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Tenant

    environment = {**os.environ, "EXCHEQUER_DB_ROLE": "control"}
    command = [sys.executable, "-c", MAKE, name, email]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    tenant_id = UUID(done.stdout.split()[-1])
    with tenant_scope(tenant_id):
        return Tenant.objects.get(id=tenant_id)


def open_contract(tenant_id: UUID) -> None:
    """Give a tenant its meters and a contract with the standard price book, as the ops worker does."""
    environment = {**os.environ, "EXCHEQUER_DB_ROLE": "control"}
    subprocess.run([sys.executable, "-c", OPEN, str(tenant_id)], cwd=ROOT, env=environment, check=True)
