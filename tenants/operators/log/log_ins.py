"""Refused log-ins become entries of the operator log: at most one for an account, or a client, in ten minutes.

The ops worker decides by the account if it exists, else by the client, so that a script in a loop does not fill the log and
the process that was asked shows nobody which accounts exist.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from django.core.cache import cache
from django.db import transaction

from tenants.audit.log_ins import ONCE_IN_S, PASSWORD, PROVIDER, SECOND_FACTOR
from tenants.isolation.sweeps import sweep
from tenants.models import RefusedLogIn, Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

REFUSED = "tenants.log_in.refused"
AT_ONCE = 500
#: Who acts in these entries: nobody is known yet, but on which side they tried.
ASKED = {
    RefusedLogIn.TENANTS: Operator(id=UUID(int=0), label="log-in of members"),
    RefusedLogIn.CONSOLE: Operator(id=UUID(int=0), label="log-in of operators"),
}
METHODS = {PASSWORD: "by password", SECOND_FACTOR: "by a second factor", PROVIDER: "by an identity provider"}


def enter() -> int:
    """Enter up to `AT_ONCE` refused log-ins that were noted (control role), oldest first; return how many entries were made."""
    entered = 0
    with sweep("refused log-ins") as each:
        for row_id in each.over(RefusedLogIn.objects.order_by("id").values_list("id", flat=True), AT_ONCE):
            with each(row=row_id):
                entered += _enter(row_id)
    return entered


def _enter(row_id: UUID) -> bool:
    """Remove a row and make its entry, each in its own transaction, which holds the head of the log only for a moment."""
    row = RefusedLogIn.objects.filter(id=row_id).first()
    if row is None:
        return False
    account = "operator" if row.side == RefusedLogIn.CONSOLE else "account"
    kind, target = (account, str(row.account)) if row.account else ("client", row.origin)
    with transaction.atomic():
        if not RefusedLogIn.objects.filter(id=row_id).delete()[0]:
            return False
        if not cache.add(f"log_in_refused:{row.side}:{kind}:{target}", 1, ONCE_IN_S):
            return False
        operator = replace(ASKED[row.side], request_id=row.request_id)
        record_act(operator, REFUSED, target=(kind, target, ""), reason=_reason(row), outcome="refused")
    return True


def _reason(row: RefusedLogIn) -> str:
    method = METHODS[row.method]
    if row.provider_of is not None:
        slug = Tenant.objects.filter(id=row.provider_of).values_list("slug", flat=True).first()
        method = f"{method} of {slug}"
    return f"{method}: {row.code.replace('_', ' ')}, at {row.at:%Y-%m-%d %H:%M:%S} UTC"
