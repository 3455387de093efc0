"""What a change of grants would take from whom. Read before it is confirmed; nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from tenants.access.wording import allowed_words
from tenants.grants.queries import AccessRow, HolderAccess


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What one holder would lose: permissions by project, which no other grant gives there. Empty if others do."""

    id: UUID
    holder: str
    lost: tuple[tuple[str, frozenset[str]], ...]

    @property
    def words(self) -> str:
        """Return it as a sentence without the holder and the full stop."""
        if not self.lost:
            return "keeps all rights, by other grants"
        parts = [
            f"in {project or 'the whole organisation'}: {allowed_words(permissions)}"
            for project, permissions in self.lost
        ]
        return f"loses {'; '.join(parts)}"


def losses(holders: Iterable[HolderAccess], ends: Callable[[AccessRow], bool]) -> list[Loss]:
    """Return what each holder concerned would lose if the grants that `ends` names did not exist."""
    found = []
    for holder in holders:
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
        if ended:
            found.append(Loss(id=holder.id, holder=holder.holder, lost=tuple(sorted(lost.items()))))
    return found
