"""A tenant's standing: what its people and keys may still do while it is suspended, closing or closed.

A suspended tenant can read and pay, and manage its people; it starts nothing that costs. One that closes can read and
export until its date; then nobody enters it.
"""

from __future__ import annotations

from typing import Literal

Standing = Literal["active", "suspended", "closing", "closed"]
STANDINGS: tuple[Standing, ...] = ("active", "suspended", "closing", "closed")

#: What begins work or cost.
STARTS = frozenset({"jobs.launch", "endpoints.manage", "usage.ingest", "datasets.create", "models.manage"})
#: What changes anything beside one's own account.
CHANGES = STARTS | {
    "apikeys.manage",
    "approvals.answer",
    "approvals.request",
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

WORDS: dict[Standing, str] = {
    "active": "",
    "suspended": "This organisation is suspended: it can read, and starts nothing. Contact the operator of this installation.",
    "closing": "This organisation is being closed: it can read and export, and changes nothing.",
    "closed": "This organisation is closed.",
}
