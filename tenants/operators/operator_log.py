"""The operator log: what operators did, which the database only appends to."""

from __future__ import annotations

from typing import Any

import structlog

from tenants.audit.chain import plain
from tenants.errors import Invalid
from tenants.models import OperatorAct
from tenants.operators.operator import Operator

LONGEST_REASON = 400
log = structlog.get_logger(__name__)


def record_act(operator: Operator, action: str, *, target: tuple[str, Any, str], reason: str = "") -> None:
    """Record an operator's action in the transaction of its effect, and log it. `target` is (type, id, label)."""
    kind, target_id, label = target
    OperatorAct.objects.create(
        operator=operator.id,
        operator_label=operator.label,
        action=action,
        target_type=kind,
        target_id=str(target_id),
        target_label=plain(label)[:254],
        reason=plain(reason),
        ip=operator.ip[:45],
        request_id=operator.request_id,
    )
    log.info("operator.acted", action=action, operator=operator.label, target=str(target_id), reason=reason)


def check_reason(text: str) -> str:
    """Return a reason of 3 to 400 characters; raise `Invalid` otherwise."""
    reason = " ".join(text.split())
    if not 3 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise Invalid(fields={"reason": [f"Say why, in 3 to {LONGEST_REASON} characters."]})
    return reason
