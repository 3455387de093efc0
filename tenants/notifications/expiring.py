"""Keys and tokens that expire soon: their creators are notified before programs are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tenants.identity import provenance
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Membership, Notification, Tenant
from tenants.notifications import notifications

KIND = "credential_expires"
#: Warned of first, and once more.
BEFORE = (timedelta(days=7), timedelta(days=1))


def warn() -> int:
    """Notify of the credentials of every tenant that expire within a week, and again within a day (control role).

    Each time once. Returns how many warnings were made.
    """
    warned = 0
    with sweep("keys that expire") as each:
        for tenant_id in each.over(
            Tenant.objects.exclude(standing="closed").order_by("id").values_list("id", flat=True)
        ):
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                warned += sum(
                    _warn(kind, row, within) for within in BEFORE for kind, row in provenance.expiring(within)
                )
    return warned


def _warn(kind: provenance.Kind, row: Any, within: timedelta) -> bool:
    """Notify the creator, or those who manage keys where no member is; return False if they were notified before."""
    path = f"{kind.page(row)}#{row.pk}-{within.days}"
    if Notification.objects.filter(kind=KIND, path=path).exists():
        return False
    words = provenance.WORDS.get(kind.name, kind.name)
    said: dict[str, Any] = {
        "kind": KIND,
        "title": f"The {words} {kind.label(row)} expires in {within.days} day{'' if within.days == 1 else 's'}",
        "body": f"It ends on {row.expires_at:%d %B %Y at %H:%M} UTC; programs that use it are refused from then on. Make a new one before.",
        "path": path,
    }
    person = Membership.objects.filter(id=row.membership_id).values_list("user_id", flat=True).first()
    if person is None or not notifications.notify_person(person, **said):
        notifications.notify(permission="apikeys.manage", **said)
    return True
