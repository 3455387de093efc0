"""PATCH (RFC 7644, 3.5.2) in the shapes that Okta and Entra ID send: with a path, or with an object as its value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tenants.scim.attributes import Resource, known
from tenants.scim.errors import InvalidPath, InvalidSyntax, InvalidValue, NoTarget

MOST_OPERATIONS = 200
LONGEST_PATH = 500
MEMBER = re.compile(r'members\[\s*value\s+eq\s+("(?:[^"\\]|\\.)*")\s*\]', re.IGNORECASE)


@dataclass(frozen=True)
class Change:
    """One change: add, replace or remove. `path` is an attribute in lower case, its schema left out."""

    op: str
    path: str
    value: Any


def changes(body: dict[str, Any], resource: Resource) -> Iterator[Change]:
    """Yield the changes of a PATCH, those of an object one by one.

    A path names an attribute of the resource; in an object without path unknown ones stay, for the reader to pass over.
    Raises InvalidSyntax, InvalidValue, InvalidPath, NoTarget.
    """
    operations = next((value for name, value in body.items() if name.lower() == "operations"), None)
    if not isinstance(operations, list) or not 1 <= len(operations) <= MOST_OPERATIONS:
        raise InvalidSyntax(f"Send 1 to {MOST_OPERATIONS} Operations.")
    for one in operations:
        if not isinstance(one, dict):
            raise InvalidSyntax
        op, path, value = str(one.get("op", "")).lower(), one.get("path"), one.get("value")
        if op not in ("add", "replace", "remove"):
            raise InvalidSyntax("op: use add, replace or remove.")
        if path is not None and not isinstance(path, str):
            raise InvalidSyntax("path: use a text.")
        if path and (len(path) > LONGEST_PATH or path.count("[") > 1 or path.count("[") != path.count("]")):
            raise InvalidPath
        if path:
            yield Change(op, known(path, resource), value)
        elif op == "remove":
            raise NoTarget
        elif isinstance(value, dict):
            yield from (Change(op, _plain(name), inner) for name, inner in value.items())
        else:
            raise InvalidValue("An operation without path has an object as its value.")


def member_of(path: str) -> str | None:
    """Return the member that a path such as `members[value eq "..."]` names; None for another path."""
    match = MEMBER.fullmatch(path)
    return None if match is None else str(json.loads(match[1]))


def values(value: Any) -> list[str]:
    """Return the ids in a list of members, or in one member. Raises InvalidValue."""
    rows = value if isinstance(value, list) else [value]
    found = [row.get("value") if isinstance(row, dict) else row for row in rows]
    if not all(isinstance(one, str) for one in found):
        raise InvalidValue("members: use a list of objects with a value, the id of a user.")
    return [str(one) for one in found]


def flag(value: Any) -> bool:
    """Return a boolean; Entra ID writes it as the text True or False. Raises InvalidValue."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InvalidValue("active: use true or false.")


def _plain(path: str) -> str:
    """Return a name without the URN of its schema; the value in a filter keeps its case."""
    head, bracket, rest = path.strip().partition("[")
    name = head.rpartition(":")[2] if head.lower().startswith("urn:") else head
    return f"{name.lower()}{bracket}{rest}"
