"""Resources of SCIM: how they are read from a body, and how they are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from tenants.models import ExternalGroup, ScimUser
from tenants.scim.attributes import GROUP, USER, parts
from tenants.scim.errors import InvalidValue
from tenants.scim.filters import Page
from tenants.scim.patches import Change, flag
from tenants.scim.users import Wanted

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
LONGEST, MOST_EMAILS = 255, 10
NAMES = {"givenname": "givenName", "familyname": "familyName", "formatted": "formatted"}


def base() -> str:
    """Return the address of SCIM, at the public address."""
    return f"{settings.EXCHEQUER.effective_public_url}/scim/v2"


def user(row: ScimUser) -> dict[str, Any]:
    """Return a person as the provider described them: nothing of the account, which is the person's own."""
    emails = row.attributes.get("emails") or [{"value": row.user_name, "type": "work", "primary": True}]
    found = {"schemas": [USER], "id": str(row.id), "userName": row.user_name, "active": row.active, "emails": emails}
    found |= {name: row.attributes[name] for name in ("name", "displayName") if row.attributes.get(name)}
    if row.external_id:
        found["externalId"] = row.external_id
    return {
        **found,
        "meta": {
            "resourceType": "User",
            "created": _moment(row.created_at),
            "lastModified": _moment(row.changed_at),
            "location": f"{base()}/Users/{row.id}",
        },
    }


def group(row: ExternalGroup, members: Sequence[tuple[UUID, str]] | None) -> dict[str, Any]:
    """Return a group; without `members` if they were not asked for."""
    found: dict[str, Any] = {"schemas": [GROUP], "id": str(row.group_id), "displayName": row.claim}
    if row.external_id:
        found["externalId"] = row.external_id
    if members is not None:
        found["members"] = [
            {"value": str(one), "display": name, "type": "User", "$ref": f"{base()}/Users/{one}"}
            for one, name in members
        ]
    location = f"{base()}/Groups/{row.group_id}"
    return {**found, "meta": {"resourceType": "Group", "created": _moment(row.created_at), "location": location}}


def listed(total: int, page: Page, resources: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a part of a list."""
    return {
        "schemas": [LIST],
        "totalResults": total,
        "startIndex": page.start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def wanted_user(body: Mapping[str, Any]) -> Wanted:
    """Read a person. What is not kept, roles and passwords included, is passed over. Raises InvalidValue."""
    given = {name.lower(): value for name, value in body.items()}
    attributes: dict[str, Any] = {}
    for name in ("displayname", "name", "emails"):
        if given.get(name) is not None:
            _set(attributes, name, given[name])
    return Wanted(
        user_name=text(given.get("username"), "userName"),
        external_id=text(given.get("externalid") or "", "externalId"),
        active=flag(given["active"]) if given.get("active") is not None else True,
        attributes=attributes,
    )


def patched_user(row: ScimUser, changes: Sequence[Change]) -> Wanted:
    """Return a person after the changes of a PATCH. What is not kept is passed over. Raises InvalidValue."""
    attributes = dict(row.attributes)
    user_name, external_id, active = row.user_name, row.external_id, row.active
    for change in changes:
        removed = change.op == "remove"
        if change.path == "username" and not removed:
            user_name = text(change.value, "userName")
        elif change.path == "externalid":
            external_id = "" if removed else text(change.value, "externalId")
        elif change.path == "active":
            active = False if removed else flag(change.value)
        else:
            _set(attributes, change.path, None if removed else change.value)
    return Wanted(user_name=user_name, external_id=external_id, active=active, attributes=attributes)


def text(value: Any, name: str) -> str:
    """Return a text of at most 255 characters. Raises InvalidValue."""
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise InvalidValue(f"{name}: use a text of at most {LONGEST} printable characters.")
    return value.strip()


def _set(attributes: dict[str, Any], path: str, value: Any) -> None:
    """Set or, with None, remove what is kept under a path."""
    name, wanted, part = parts(path)
    if name == "displayname":
        _put(attributes, "displayName", None if value is None else text(value, "displayName"))
    elif name == "name" and part in NAMES:
        names = dict(attributes.get("name") or {})
        _put(names, NAMES[part], None if value is None else text(value, path))
        _put(attributes, "name", names)
    elif name == "name" and not part:
        given = {key.lower(): one for key, one in value.items()} if isinstance(value, dict) else {}
        kept = {NAMES[key]: text(one, f"name.{key}") for key, one in given.items() if key in NAMES and one is not None}
        _put(attributes, "name", kept)
    elif name == "emails" and not wanted and not part:
        _put(attributes, "emails", _emails(value))
    elif name == "emails" and wanted and part == "value" and value is not None:
        _put(attributes, "emails", _emails([{"value": value, "type": "work", "primary": True}]))


def _put(into: dict[str, Any], name: str, value: Any) -> None:
    if value:
        into[name] = value
    else:
        into.pop(name, None)


def _emails(value: Any) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else [] if value is None else [value]
    if len(rows) > MOST_EMAILS or not all(isinstance(row, dict) for row in rows):
        raise InvalidValue(f"emails: use a list of at most {MOST_EMAILS} objects.")
    found = []
    for row in rows:
        kept: dict[str, Any] = {"value": text(row.get("value"), "emails.value")}
        if isinstance(row.get("type"), str):
            kept["type"] = text(row["type"], "emails.type")
        if row.get("primary") is not None:
            kept["primary"] = flag(row["primary"])
        found.append(kept)
    return found


def _moment(value: Any) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}"
