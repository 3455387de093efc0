"""Forgetting a person: the key of their label is destroyed; their entries stay, under a pseudonym, and still verify."""

from __future__ import annotations

from dataclasses import dataclass

from tenants.access.actor import Actor
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
    """Pseudonyms that name nobody any more, and how many entries of version 1 have the address in their hashed text."""

    pseudonyms: tuple[str, ...]
    in_clear: int


@operation(FORGOTTEN)
def forget(*, actor: Actor, email: str) -> Forgotten:
    """Destroy the keys under which the tenant's log keeps a person's label and the origin of their requests.

    For the system alone, by a command: nobody in a tenant may remove anything from the log. Entries of version 1 keep what
    they say, because it is hashed; they are counted. Raises StillMember.
    """
    people = User.objects.filter(email__iexact=email, is_operator=False)
    accounts = list(people.values_list("id", flat=True))
    if Membership.objects.filter(user_id__in=accounts).exists():
        raise StillMember
    gone = erase([address(email), *(account(one) for one in accounts)])
    in_clear = AuditEntry.objects.filter(schema_version=1, actor_label__iexact=email).count()
    if gone:
        names = [pseudonym(one) for one in gone]
        record(FORGOTTEN, actor=actor, target=("person", names[0], ""), changes={"labels": [len(gone), 0]})
    else:
        unchanged("nobody of this address has a label")
    return Forgotten(tuple(pseudonym(one) for one in gone), in_clear)
