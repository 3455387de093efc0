"""Forgetting a person: the key of their label is destroyed; their entries stay, under a pseudonym, and still verify."""

from __future__ import annotations

from dataclasses import dataclass

from tenants.access.actor import Actor
from tenants.audit import erasure
from tenants.audit.pseudonyms import pseudonym
from tenants.audit.record import AuditAction, operation, record, unchanged
from tenants.audit.subjects import account, address, erase
from tenants.errors import Conflict
from tenants.models import AuditEntry, Membership, User

FORGOTTEN = AuditAction("tenants.person.forgotten")


class StillMember(Conflict):
    """This person is still a member of the organisation. Remove them first."""

    code = "still_member"


@dataclass(frozen=True)
class Forgotten:
    """What was done: pseudonyms that name nobody any more, rows that lost the address, whether the account was closed.

    `in_clear`: how many entries of version 1 have the address in their hashed text.
    """

    pseudonyms: tuple[str, ...]
    in_clear: int
    rows: int
    account_closed: bool


@operation(FORGOTTEN)
def forget(*, actor: Actor, email: str) -> Forgotten:
    """Destroy the keys under which the tenant's log keeps a person's label and the origin of their requests, and remove
    their address and name from its rows. An account that no organisation has as a member is closed.

    For the system alone, by a command: nobody in a tenant may remove anything from the log. Entries of version 1 keep what
    they say, because it is hashed; they are counted. Raises StillMember.
    """
    people = list(User.objects.filter(email__iexact=email, is_operator=False))
    accounts = [one.id for one in people]
    if Membership.objects.filter(user_id__in=accounts).exists():
        raise StillMember
    gone = erase([address(email), *(account(one) for one in accounts)])
    in_clear = AuditEntry.objects.filter(schema_version=1, actor_label__iexact=email).count()
    rows = erasure.erase_rows(email, people)
    closed = [one for one in people if erasure.close_account(one)]
    names = tuple(pseudonym(one) for one in gone)
    if names or rows or closed:
        changes = {"labels": [len(gone), 0]} | ({"rows": [rows, 0]} if rows else {})
        record(FORGOTTEN, actor=actor, target=("person", names[0] if names else "", ""), changes=changes)
    else:
        unchanged("nothing names a person of this address")
    return Forgotten(names, in_clear, rows, bool(closed))
