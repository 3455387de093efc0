"""Refused requests in the audit log: who tried to change what their rights do not allow.

One entry for each actor and permission in ten minutes, so that a script in a loop does not fill the log.
"""

from django.core.cache import cache

from tenants.access.actor import Actor
from tenants.audit.record import AuditAction, operation, record
from tenants.errors import PermissionDenied

REFUSED = AuditAction("tenants.request.refused", while_closing=True)
ONCE_IN_S = 600


def note(actor: Actor, error: PermissionDenied, request: str) -> None:
    """Record that an actor's request was refused; `request` is method and route: "POST /api/v1/jobs/"."""
    permission = str(error.extra.get("permission", ""))
    if cache.add(f"refused:{actor.tenant_id}:{actor.kind}:{actor.id}:{permission}", 1, ONCE_IN_S):
        _refused(actor=actor, error_code=error.code, permission=permission, request=request)


@operation(REFUSED)
def _refused(*, actor: Actor, error_code: str, permission: str, request: str) -> None:
    record(
        REFUSED,
        actor=actor,
        target=("request", "", request[:254]),
        reason=f"the permission {permission} is missing" if permission else "",
        outcome="refused",
        error_code=error_code,
    )
