"""That an operator has read the operator log, up to an entry: an entry of the log itself, as for organisations' logs."""

from __future__ import annotations

from tenants.audit.reviews import LogReview, checked
from tenants.models import OperatorHead
from tenants.operators.log import queries
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

REVIEWED = "tenants.operator_log.reviewed"
OPERATOR_LOG = "operator_log"


def review(*, operator: Operator, up_to: int, note: str) -> None:
    """Record that the operator has read the log up to an entry, and what they noted. Raises Invalid, OperatorLacks."""
    operator.require("log.review")
    given = checked(up_to, note, newest=newest(), last=last_review())
    record_act(operator, REVIEWED, target=(OPERATOR_LOG, up_to, f"up to entry {up_to}"), reason=given)


def last_review() -> LogReview | None:
    """Return the last record of a review."""
    rows = queries.acts(queries.ActFilter(action=REVIEWED, target_type=OPERATOR_LOG), limit=1)
    return LogReview(rows[0].operator_label, rows[0].at, int(rows[0].target_id), rows[0].reason) if rows else None


def newest() -> int:
    """Return the number of the newest entry."""
    return OperatorHead.objects.get().seq
