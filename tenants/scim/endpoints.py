"""Users and groups of SCIM."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.errors import NotFound
from tenants.models import ExternalGroup, ScimUser
from tenants.parsing import uuid_in
from tenants.scim import attributes, filters, groups, patches, shapes, users
from tenants.scim.errors import InvalidPath, InvalidValue
from tenants.scim.views import ScimView

USER_FILTERS = frozenset({"username", "externalid", "id", "emails.value", "emails"})
GROUP_FILTERS = frozenset({"displayname", "externalid", "id"})


class Users(ScimView):
    """People whom the provider made known."""

    def get(self, request: Request) -> Response:
        """List them, or those that fit one filter."""
        page = filters.page(request._request.GET)
        rows = ScimUser.objects.filter(_users_like(filters.equal(request._request.GET, USER_FILTERS))).order_by("id")
        found = [shapes.user(row) for row in rows[page.rows]]
        return Response(shapes.listed(rows.count(), page, found))

    def post(self, request: Request) -> Response:
        """Make a person known, and a member if active."""
        row = users.provision(actor=self.actor, provider=self.provider, wanted=shapes.wanted_user(self.data()))
        found = shapes.user(row)
        return Response(found, status=201, headers={"Location": found["meta"]["location"]})


class User(ScimView):
    """One person."""

    takes_away = frozenset({"PUT", "PATCH", "DELETE"})

    def get(self, request: Request, resource_id: str) -> Response:
        """Return them."""
        row = ScimUser.objects.filter(id=_id(resource_id)).first()
        if row is None:
            raise NotFound
        return Response(shapes.user(row))

    def put(self, request: Request, resource_id: str) -> Response:
        """Replace their description."""
        return self._change(_id(resource_id), shapes.wanted_user(self.data()))

    def patch(self, request: Request, resource_id: str) -> Response:
        """Change some of it."""
        scim_id = _id(resource_id)
        wanted = shapes.patched_user(users.locked(scim_id), list(patches.changes(self.data(), attributes.OF_USERS)))
        return self._change(scim_id, wanted)

    def delete(self, request: Request, resource_id: str) -> Response:
        """End the membership, and forget the person's description."""
        users.delete(actor=self.actor, scim_id=_id(resource_id))
        return Response(status=204)

    def _change(self, scim_id: UUID, wanted: users.Wanted) -> Response:
        row = users.change(actor=self.actor, provider=self.provider, scim_id=scim_id, wanted=wanted)
        return Response(shapes.user(row))


class Groups(ScimView):
    """Groups that the provider fills."""

    def get(self, request: Request) -> Response:
        """List them, or those that fit one filter."""
        query = request._request.GET
        page = filters.page(query)
        total, rows = groups.search(self.provider, _groups_like(filters.equal(query, GROUP_FILTERS)), page.rows)
        bare = "members" in query.get("excludedAttributes", "")
        known = {} if bare else groups.members_of(rows)
        found = [shapes.group(row, None if bare else known.get(row.group_id, [])) for row in rows]
        return Response(shapes.listed(total, page, found))

    def post(self, request: Request) -> Response:
        """Make a group without rights, and fill it."""
        given = {name.lower(): value for name, value in self.data().items()}
        row = groups.create(
            actor=self.actor,
            provider=self.provider,
            name=shapes.text(given.get("displayname"), "displayName"),
            external_id=shapes.text(given.get("externalid") or "", "externalId"),
        )
        groups.fill(actor=self.actor, provider=self.provider, row=row, wanted=_ids(given.get("members") or []))
        found = _shown(row)
        return Response(found, status=201, headers={"Location": found["meta"]["location"]})


class Group(ScimView):
    """One group."""

    def get(self, request: Request, resource_id: str) -> Response:
        """Return it."""
        row = groups.find(self.provider, resource_id)
        if "members" in request._request.GET.get("excludedAttributes", ""):
            return Response(shapes.group(row, None))
        return Response(_shown(row))

    def put(self, request: Request, resource_id: str) -> Response:
        """Replace its description and all of its members."""
        row = groups.find(self.provider, resource_id)
        given = {name.lower(): value for name, value in self.data().items()}
        name = shapes.text(given.get("displayname"), "displayName")
        external_id = shapes.text(given.get("externalid") or "", "externalId")
        groups.describe(actor=self.actor, row=row, name=name, external_id=external_id)
        groups.fill(actor=self.actor, provider=self.provider, row=row, wanted=_ids(given.get("members") or []))
        return Response(_shown(row))

    def patch(self, request: Request, resource_id: str) -> Response:
        """Change its name, its id at the provider, or its members."""
        row = groups.find(self.provider, resource_id)
        for change in patches.changes(self.data(), attributes.OF_GROUPS):
            self._apply(row, change)
        return Response(_shown(row))

    def delete(self, request: Request, resource_id: str) -> Response:
        """Empty it; without grants it is deleted."""
        row = groups.find(self.provider, resource_id)
        groups.delete(actor=self.actor, provider=self.provider, row=row)
        return Response(status=204)

    def _apply(self, row: ExternalGroup, change: patches.Change) -> None:
        common: dict[str, Any] = {"actor": self.actor, "provider": self.provider, "row": row}
        one = patches.member_of(change.path)
        if change.path == "displayname" and change.op != "remove":
            name = shapes.text(change.value, "displayName")
            groups.describe(actor=self.actor, row=row, name=name, external_id=row.external_id)
        elif change.path == "externalid":
            external_id = "" if change.op == "remove" else shapes.text(change.value, "externalId")
            groups.describe(actor=self.actor, row=row, name=row.claim, external_id=external_id)
        elif one is not None and change.op == "remove":
            groups.change(**common, added=(), removed=_ids([one]))
        elif change.path == "members" and change.op == "add":
            groups.change(**common, added=_ids(change.value), removed=())
        elif change.path == "members" and change.op == "remove" and change.value:
            groups.change(**common, added=(), removed=_ids(change.value))
        elif change.path == "members":
            groups.fill(**common, wanted=_ids(change.value or []) if change.op == "replace" else ())
        elif change.path.startswith("members"):
            raise InvalidPath('path: use members, or to remove one members[value eq "..."], the id of a user.')


def _shown(row: ExternalGroup) -> dict[str, Any]:
    return shapes.group(row, groups.members_of([row]).get(row.group_id, []))


def _id(text: str) -> UUID:
    """Return the id in a path. Raises NotFound."""
    found = uuid_in(text)
    if found is None:
        raise NotFound
    return found


def _ids(value: Any) -> list[UUID]:
    found = [uuid_in(text) for text in patches.values(value)]
    if None in found:
        raise InvalidValue("members: use the ids of users.")
    return [one for one in found if one is not None]


def _users_like(wanted: tuple[str, str] | None) -> Q:
    if wanted is None:
        return Q()
    name, value = wanted
    if name == "id":
        return Q(id=uuid_in(value) or UUID(int=0))
    return Q(external_id=value) if name == "externalid" else Q(user_name__iexact=value)


def _groups_like(wanted: tuple[str, str] | None) -> Q:
    if wanted is None:
        return Q()
    name, value = wanted
    if name == "id":
        return Q(group_id=uuid_in(value) or UUID(int=0))
    return Q(external_id=value) if name == "externalid" else Q(claim__iexact=value)
