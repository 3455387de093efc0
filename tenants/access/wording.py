"""What permissions allow, in words: of a role, a grant or a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenants.access.permissions import ALONE, PERMISSIONS, WORDS

#: Where the words for a key do not fit a person, or name too little.
_OF_PEOPLE = {
    "tenant.view": "open the organisation",
    "jobs.cancel": "pause and cancel own jobs",
    "members.manage": "manage members, roles, groups and grants",
    "apikeys.manage": "manage API keys and service accounts",
}
_VERBS = {"view": "read", "manage": "manage"}


@dataclass(frozen=True, kw_only=True)
class NounPermissions:
    """The permissions on one kind of object, the weakest first."""

    title: str
    permissions: tuple[str, ...]


def permission_words(permission: str) -> str:
    """Return what one permission allows: "launch jobs"."""
    words = _OF_PEOPLE.get(permission) or ALONE.get(permission)
    if words is None:
        verb = _VERBS.get(permission.rpartition(".")[2])
        words = f"{verb} {WORDS[permission]}" if verb else WORDS[permission]
    return words


def allowed_words(permissions: Iterable[str]) -> str:
    """Return what permissions allow together, in a sentence without its full stop; unknown ones are left out."""
    given = PERMISSIONS & frozenset(permissions)
    if given == PERMISSIONS:
        return "Everything"
    own = [one for one in WORDS if one in given]
    acts = [permission_words(one) for one in own if not one.endswith((".view", ".manage"))]
    acts += [words for one, words in ALONE.items() if one in given]
    managed = [WORDS[one] for one in own if one.endswith(".manage")]
    seen = [WORDS[one] for one in own if one.endswith(".view")]
    clauses = [
        ", ".join(acts),
        f"manage {_listed(managed)}" if managed else "",
        f"read {_listed(seen)}" if seen else "",
    ]
    text = "; ".join(clause for clause in clauses if clause) or ("open the organisation" if given else "nothing")
    return text[:1].upper() + text[1:]


def by_noun() -> list[NounPermissions]:
    """Return all permissions, grouped by the object they are about."""
    nouns: dict[str, list[str]] = {}
    for permission in ("tenant.view", *WORDS, *ALONE):
        nouns.setdefault(permission.partition(".")[0], []).append(permission)
    return [
        NounPermissions(title=_title(noun), permissions=tuple(sorted(found, key=lambda one: not one.endswith(".view"))))
        for noun, found in sorted(nouns.items(), key=lambda item: (item[0] != "tenant", _title(item[0]).lower()))
    ]


def _title(noun: str) -> str:
    words = WORDS.get(f"{noun}.view") or WORDS.get(f"{noun}.manage") or "organisation"
    words = words.removeprefix("the ")
    return words[:1].upper() + words[1:]


def _listed(words: list[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
