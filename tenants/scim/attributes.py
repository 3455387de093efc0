"""Which attributes a path of a PATCH may name: those that are kept, and those that are knowingly passed over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tenants.scim.errors import InvalidPath

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
SCHEMAS = frozenset(one.lower() for one in (USER, ENTERPRISE, GROUP))
PATH = re.compile(r'(?:(urn:[^\["]+):)?([\w$-]+)(\[.*\])?(?:\.([\w$-]+))?', re.IGNORECASE | re.DOTALL)
COMMON = frozenset({"id", "meta", "schemas"})
#: What the schemas of a user have and nobody keeps here (RFC 7643, 4.1 and 4.3). Providers send it by default, and would
#: stop provisioning at a refusal. Nothing here uses it: rights come from groups, passwords stay with the provider.
PASSED_OVER = COMMON | {
    "nickname",
    "profileurl",
    "title",
    "usertype",
    "preferredlanguage",
    "locale",
    "timezone",
    "password",
    "phonenumbers",
    "ims",
    "photos",
    "addresses",
    "groups",
    "entitlements",
    "roles",
    "x509certificates",
    "employeenumber",
    "costcenter",
    "organization",
    "division",
    "department",
    "manager",
}
NO_PARTS: frozenset[str] = frozenset()
NAMES = frozenset({"formatted", "familyname", "givenname", "middlename", "honorificprefix", "honorificsuffix"})
EMAILS = frozenset({"value", "display", "type", "primary"})


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind of resource: its kept attributes in lower case, each with its parts, and those that are passed over."""

    kept: Mapping[str, frozenset[str]]
    passed_over: frozenset[str]
    words: str


OF_USERS = Resource(
    kept={
        "username": NO_PARTS,
        "externalid": NO_PARTS,
        "active": NO_PARTS,
        "displayname": NO_PARTS,
        "name": NAMES,
        "emails": EMAILS,
    },
    passed_over=PASSED_OVER,
    words="userName, externalId, active, displayName, name, emails",
)
OF_GROUPS = Resource(
    kept={"displayname": NO_PARTS, "externalid": NO_PARTS, "members": NO_PARTS},
    passed_over=COMMON,
    words="displayName, externalId, members",
)


def known(path: str, resource: Resource) -> str:
    """Return a path in lower case without its schema; the filter keeps its case. Raises InvalidPath for an unknown one."""
    match = PATH.fullmatch(path.strip())
    if match is None:
        raise InvalidPath
    schema, name, wanted, part = match.groups()
    name, part = name.lower(), (part or "").lower()
    is_known = name in resource.passed_over or (name in resource.kept and (not part or part in resource.kept[name]))
    if path.strip().lower() != ENTERPRISE.lower() and (not is_known or (schema and schema.lower() not in SCHEMAS)):
        raise InvalidPath(f"path: {path[:100]} names no attribute here. Map only {resource.words}.")
    return f"{name}{wanted or ''}{'.' if part else ''}{part}"


def parts(path: str) -> tuple[str, str, str]:
    """Return the attribute, its filter in brackets, and the part of it that a path names; each but the first may be empty."""
    match = PATH.fullmatch(path)
    return (path, "", "") if match is None else (match[2], match[3] or "", match[4] or "")
