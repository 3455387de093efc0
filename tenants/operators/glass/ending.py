"""Looks that end otherwise than by their operator: with what lets that operator in, and by their time.

The database shows such a look nothing from that moment (`exchequer_glass_tenant()`); this writes it down.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from tenants.access.actor import Actor
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.clock import now
from tenants.isolation.scoping import all_tenants
from tenants.isolation.sweeps import sweep
from tenants.models import BreakGlass, OperatorGrant, OperatorSession
from tenants.operators.glass.looks import ENDED, LOOKS, NotOpen, close, slug_of, target_of
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

MAY_LOOK = [role for role, allowed in OPERATOR_ROLES.items() if LOOKS in allowed]
BY_TIME, BY_ACCESS = "its time was over", "its operator was let in no more"


def end_all(*, operator_id: UUID, by: Operator, reason: str) -> int:
    """End the looks of an operator that wait or run, in all tenants; return how many.

    Called before the operator log is written to: each tenant's log is locked before it.
    """
    with transaction.atomic():
        with all_tenants("an operator looks inside several tenants"):
            found = list(_open_ones().filter(operator=operator_id).order_by("tenant_id", "id"))
        ended = []
        for look in found:
            with suppress(NotOpen):
                close(actor=Actor.system(look.tenant_id, "operator"), look_id=look.id, by=by.label, reason=reason)
                ended.append(look)
        for look in ended:
            record_act(by, ENDED, target=target_of(look, slug_of(look.tenant_id)), reason=reason)
    return len(ended)


def end_over() -> int:
    """Write down the end of the looks that are over (control role), once each; return how many."""
    with all_tenants("looks of every tenant end"):
        moment = now()
        let_in = OperatorSession.objects.filter(user_id__isnull=False).values("user_id")
        may_look = OperatorGrant.objects.filter(role__in=MAY_LOOK, user__is_active=True).values("user_id")
        over = Q(ends_at__lte=moment) | ~Q(operator__in=let_in) | ~Q(operator__in=may_look)
        found = list(_open_ones().filter(over, ends_at__isnull=False).order_by("id"))
    with sweep("looks that are over") as each:
        for look in each.over(found):
            timely = look.ends_at is not None and look.ends_at <= moment
            with each(tenant=look.tenant_id, look=look.id), suppress(NotOpen):
                close(
                    actor=Actor.system(look.tenant_id, "operator"),
                    look_id=look.id,
                    by="",
                    reason=BY_TIME if timely else BY_ACCESS,
                    at=look.ends_at if timely else None,
                )
    return len(found)


def _open_ones() -> QuerySet[BreakGlass]:
    return BreakGlass.objects.filter(ended_at=None)
