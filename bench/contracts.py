"""Contracts of the benchmarks' tenants: this process has the role of the web, which opens none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

ROOT = Path(__file__).resolve().parent.parent
OPEN = """
import sys, django; django.setup()
from uuid import UUID
from billing.provisioning import provision_defaults
provision_defaults(UUID(sys.argv[1]))
"""


def open_contract(tenant_id: UUID) -> None:
    """Give a tenant its meters and a contract with the standard price book, as the ops worker does."""
    environment = {**os.environ, "EXCHEQUER_DB_ROLE": "control"}
    subprocess.run([sys.executable, "-c", OPEN, str(tenant_id)], cwd=ROOT, env=environment, check=True)
