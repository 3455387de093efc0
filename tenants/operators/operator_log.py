"""The operator log: what operators did, in a hash chain of the platform, which the database only appends to."""

from __future__ import annotations

from typing import Any, Literal

import structlog
from django.db import connection, transaction

from tenants.audit.chain import PLATFORM, VERSION, link, plain
from tenants.errors import Invalid
from tenants.isolation.scoping import scope_open
from tenants.models import OperatorAct
from tenants.operators.operator import Operator

LONGEST_REASON = 400
log = structlog.get_logger(__name__)


def record_act(
    operator: Operator,
    action: str,
    *,
    target: tuple[str, Any, str],
    reason: str = "",
    outcome: Literal["done", "refused", "failed"] = "done",
) -> None:
    """Append an operator's action to the platform's chain in the transaction of its effect, and log it.

    `target` is (type, id, label). The head is locked until the transaction ends, and after every head of a tenant's log:
    so it is an error to call this while the scope of a tenant is open.
    """
    if scope_open():
        raise RuntimeError("The operator log is written after a tenant's: close its scope first.")
    kind, target_id, label = target
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT seq, hash, exchequer_now() FROM tenants_operatorhead FOR NO KEY UPDATE")
        seq, head, at = cursor.fetchone()
        row = {
            "seq": seq + 1,
            "at": at,
            "operator": operator.id,
            "operator_label": operator.label,
            "action": str(action),
            "target_type": kind,
            "target_id": str(target_id),
            "target_label": plain(label)[:254],
            "reason": plain(reason),
            "ip": operator.ip[:45],
            "request_id": operator.request_id,
            "schema_version": VERSION,
            "credential": f"operator_key:{operator.key_id}" if operator.key_id else "",
            "outcome": outcome,
        }
        digest = link(bytes(head), row, PLATFORM)
        OperatorAct.objects.create(**row, prev_hash=bytes(head), hash=digest)
        cursor.execute("UPDATE tenants_operatorhead SET seq = %s, hash = %s", [seq + 1, digest])
    log.info("operator.acted", action=action, operator=operator.label, target=str(target_id), reason=reason)


def check_reason(text: str) -> str:
    """Return a reason of 3 to 400 characters; raise `Invalid` otherwise."""
    reason = " ".join(text.split())
    if not 3 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise Invalid(fields={"reason": [f"Say why, in 3 to {LONGEST_REASON} characters."]})
    return reason
