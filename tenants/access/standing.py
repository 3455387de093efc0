"""A tenant's standing: what its people and keys may still do while it is suspended, closing or closed.

A suspended tenant can read and pay, manage its people, and report usage that has happened; it starts nothing that costs.
One that closes can read and export until its date, and take rights away; then nobody enters it.
"""

from __future__ import annotations

from typing import Literal

Standing = Literal["active", "suspended", "closing", "closed"]


class TakesAway(str):
    """A permission asked for what only takes rights away: no standing withholds it. Leaked keys and leavers wait for nobody."""

    __slots__ = ()


class Begins(str):
    """A permission asked for what begins work, where others of its acts do not: only an active tenant has it."""

    __slots__ = ()


STANDINGS: tuple[Standing, ...] = ("active", "suspended", "closing", "closed")

#: What begins work or cost.
STARTS = frozenset({"jobs.launch", "endpoints.manage", "datasets.create", "models.manage"})
#: What changes anything beside one's own account.
CHANGES = STARTS | {
    "apikeys.manage",
    "approvals.answer",
    "approvals.request",
    "audit.review",
    "budgets.manage",
    "datasets.share",
    "endpoints.feedback",
    "identity.manage",
    "invoices.manage",
    "members.manage",
    "meters.manage",
    "models.approve",
    "projects.manage",
    "quotas.manage",
    "tenant.manage",
    "usage.ingest",
    "webhooks.manage",
}
WITHHELD: dict[Standing, frozenset[str]] = {
    "active": frozenset(),
    "suspended": STARTS,
    "closing": CHANGES,
    "closed": CHANGES,
}
#: In these no operation of a person or a key runs, whatever permission it needs, but those that change nothing of the
#: tenant's (`AuditAction(..., while_closing=True)`).
CHANGE_NOTHING: frozenset[Standing] = frozenset({"closing", "closed"})


def withholds(standing: Standing, permission: str) -> bool:
    """Return whether a standing withholds a permission from everybody but the system."""
    if isinstance(permission, Begins):
        return standing != "active"
    return permission in WITHHELD[standing] and not isinstance(permission, TakesAway)


WORDS: dict[Standing, str] = {
    "active": "",
    "suspended": "This organisation is suspended: it can read, and starts nothing. Contact the operator of this installation.",
    "closing": "This organisation is being closed: it can read, export and take rights away, and changes nothing else.",
    "closed": "This organisation is closed.",
}
