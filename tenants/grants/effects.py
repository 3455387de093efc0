"""What a change of grants would take from whom. Read before it is confirmed; nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from tenants.access.rights import Rights
from tenants.access.wording import allowed_words
from tenants.grants.queries import AccessRow, HolderAccess
from tenants.identity import provenance
from tenants.identity.provenance import Descendant
from tenants.models import Membership, Project
from tenants.projects.sight import named


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What one holder would lose: permissions by project, which no other grant gives there. Empty if others do.

    `unseen`: restricted projects that they no longer see into. `ends`: credentials of theirs that are revoked.
    """

    id: UUID
    holder: str
    lost: tuple[tuple[str, frozenset[str]], ...]
    unseen: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Return it as a sentence without the holder and the full stop."""
        parts = [
            f"in {project or 'the whole organisation'}: {allowed_words(permissions)}"
            for project, permissions in self.lost
        ]
        words = [f"loses {'; '.join(parts)}"] if parts else []
        if self.unseen:
            words.append(f"no longer sees what the restricted project {' or '.join(self.unseen)} holds")
        if self.ends:
            words.append(f"loses for ever the {'; the '.join(self.ends)}")
        return ", and ".join(words) or "keeps all rights, by other grants"


def losses(holders: Iterable[HolderAccess], ends: Callable[[AccessRow], bool]) -> list[Loss]:
    """Return what each holder concerned would lose if the grants that `ends` names did not exist."""
    found = []
    closed = dict(Project.objects.filter(named("id"), restricted=True).values_list("id", "name"))
    concerned = [holder for holder in holders if any(ends(reason) for reason in holder.reasons)]
    gone = _endings(concerned, ends)
    for holder in concerned:
        ended = [reason for reason in holder.reasons if ends(reason)]
        left = [reason for reason in holder.reasons if not ends(reason)]
        lost: dict[str, frozenset[str]] = {}
        for reason in ended:
            kept = {
                permission
                for other in left
                if other.grant.project_id in (None, reason.grant.project_id)
                for permission in other.permissions
            }
            beyond = frozenset(reason.permissions) - kept
            if beyond:
                lost[reason.project] = lost.get(reason.project, frozenset()) | beyond
        before, after = _rights(holder.reasons), _rights(left)
        unseen = sorted(name for row_id, name in closed.items() if before.sees(row_id) and not after.sees(row_id))
        found.append(
            Loss(
                id=holder.id,
                holder=holder.holder,
                lost=tuple(sorted(lost.items())),
                unseen=tuple(unseen),
                ends=tuple(f"{one.kind_words} {one.name}" for one in gone.get(holder.id, [])),
            )
        )
    return found


def _rights(reasons: Iterable[AccessRow]) -> Rights:
    everywhere: frozenset[str] = frozenset()
    there: dict[UUID, frozenset[str]] = {}
    for one in reasons:
        if one.grant.project_id is None:
            everywhere |= one.grant.permissions
        else:
            there[one.grant.project_id] = there.get(one.grant.project_id, frozenset()) | one.grant.permissions
    return Rights(everywhere, there, opened=frozenset(there))


def _endings(concerned: list[HolderAccess], ends: Callable[[AccessRow], bool]) -> dict[UUID, list[Descendant]]:
    """Return the credentials that end, by person and service account."""
    ids = [holder.id for holder in concerned]
    roots = dict(Membership.objects.filter(user_id__in=ids).values_list("user_id", "id"))
    rights = {}
    for holder in concerned:
        if holder.kind != "group":
            left = _rights(reason for reason in holder.reasons if not ends(reason))
            rights[roots.get(holder.id, holder.id)] = _rights(holder.reasons).common(left)
    found = provenance.endings(rights)
    return {one: found.get(roots.get(one, one), []) for one in ids}
