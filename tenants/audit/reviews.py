"""That somebody has read the log, up to an entry: a record that auditors ask for. It is an entry of the log itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tenants.access.actor import Actor
from tenants.audit import queries
from tenants.audit.record import AuditAction, operation, record
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.models import AuditHead

REVIEWED = AuditAction("tenants.audit_log.reviewed")
AUDIT_LOG = "audit_log"
SHORTEST_NOTE, LONGEST_NOTE = 3, 400


@dataclass(frozen=True)
class LogReview:
    """The last record of a review: who read the log, when, up to which entry, and what they noted."""

    label: str
    at: datetime
    up_to: int
    note: str


@operation(REVIEWED)
def review(*, actor: Actor, up_to: int, note: str) -> None:
    """Record that the actor has read the log up to an entry, and what they noted. Raises Invalid, PermissionDenied."""
    actor.require("audit.review")
    last = last_review()
    given = checked(up_to, note, newest=newest(), last=last)
    record(
        REVIEWED,
        actor=actor,
        target=(AUDIT_LOG, current_tenant_id(), f"up to entry {up_to}"),
        changes={"reviewed_to": [last and last.up_to, up_to]},
        reason=given,
    )


def last_review() -> LogReview | None:
    """Return the last record of a review of the open scope's log."""
    only = queries.EntryFilter(action=REVIEWED, target_type=AUDIT_LOG, target_id=str(current_tenant_id()))
    rows = queries.entries(only, limit=1)
    return (
        LogReview(rows[0].actor_label, rows[0].occurred_at, rows[0].changes["reviewed_to"][1], rows[0].reason)
        if rows
        else None
    )


def newest() -> int:
    """Return the number of the newest entry of the open scope's log."""
    return AuditHead.objects.values_list("seq", flat=True).first() or 0


def checked(up_to: int, note: str, *, newest: int, last: LogReview | None) -> str:
    """Return the note of a review, of this log or of the operator log, in one line. Raises Invalid."""
    text, faults = " ".join(note.split()), {}
    if not SHORTEST_NOTE <= len(text) <= LONGEST_NOTE or not text.isprintable():
        faults["note"] = [f"Note what you found, in {SHORTEST_NOTE} to {LONGEST_NOTE} characters."]
    if not 1 <= up_to <= newest:
        faults["up_to"] = [f"Use the number of an entry, from 1 to {newest}."]
    elif last and up_to < last.up_to:
        faults["up_to"] = [f"The log is already reviewed up to entry {last.up_to}."]
    if faults:
        raise Invalid(fields=faults)
    return text
