"""Members who choose it receive each signed checkpoint of the audit log, which then lies outside the installation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenants.audit import checkpoints
from tenants.notifications import notifications

SIGNED = "audit_checkpoint"


def notify_of(row_id: UUID, checkpoint: Mapping[str, Any]) -> None:
    """Notify those who may read the log and chose it; the body's first line is what `deploy/verify_audit.py` reads."""
    notifications.notify(
        permission="audit.view",
        kind=SIGNED,
        title=f"Checkpoint of the audit log at entry {checkpoint['seq']}",
        body=json.dumps(checkpoint, sort_keys=True)
        + "\n\nKeep the line above in a .jsonl file outside Exchequer: with it you can prove that the log was not rewritten since.",
        path="audit/",
    )


checkpoints.on_signed(notify_of)
