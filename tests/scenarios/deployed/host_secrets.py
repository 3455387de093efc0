"""The files of secrets that a host of the Compose file has."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from deploy.local.services import SeaweedFS
from tests.scenarios.deployed.networks import PLATFORM


def write_secrets(folder: Path, broker_url: str, store: SeaweedFS) -> None:
    """Write a file for each secret, by the name that the Compose file gives it."""
    urls = {
        f"database{'' if role == 'app' else f'_{role}'}_url": f"postgresql://exchequer_{role}:{secrets.token_hex(16)}@{PLATFORM}/exchequer"
        for role in ("app", "control", "owner", "operator")
    }
    kept = {name: secrets.token_hex(32) for name in ("secret_key", "operator_secret_key")}
    kept |= {name: base64.b64encode(secrets.token_bytes(32)).decode() for name in ("master_key", "audit_key")}
    kept |= urls | {
        "database_admin_url": f"postgresql://postgres:of-the-container@{PLATFORM}/exchequer",
        "broker_url": broker_url,
    }
    kept |= {
        "s3_access_key": store.access_key,
        "s3_secret_key": store.secret_key,
        "email_url": "smtp://127.0.0.1:9",
    }
    for name, value in kept.items():
        (folder / name).write_text(value)
