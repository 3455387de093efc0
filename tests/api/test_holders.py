"""The matrix once more, by how a role is held: through a group, as a role of the tenant's own, by a key of its scopes (T74).

Also every callback of the Dash pages, by role, for a removed member and with ids of another tenant (P2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from dash._utils import split_callback_id
from django.test import Client

from dashboards import registry
from tenants.access.permissions import ROLE_PERMISSIONS, ROLES
from tenants.grants import grants, groups, roles
from tenants.grants.grants import Holder
from tenants.identity import members
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, Tenant, User
from tests.api.objects import missing, one_of_everything
from tests.api.test_matrix import API, EVERYONE, PAGES, REFUSED, call, client_for, path_of
from tests.support import factories

pytestmark = pytest.mark.django_db
WAYS = ("group", "own role", "key")


def holders(tenant: Tenant) -> dict[tuple[str, str], Client]:
    """Return a client for each role and each way of holding it."""
    owner, found = factories.actor_for(tenant), {}
    for number, role in enumerate(ROLES):
        permissions = sorted(ROLE_PERMISSIONS[role])
        own = roles.create_role(actor=owner, name=f"Set {number}", permissions=permissions)
        group = groups.create_group(actor=owner, name=f"Team {number}")
        # Only a person is an owner: the group gets the role with the same permissions.
        given = own.id if role == "owner" else role
        grants.give(actor=owner, holder=Holder(group_id=group.id), role=given)
        in_group, by_own = newcomer(tenant), newcomer(tenant)
        groups.add_member(actor=owner, group_id=group.id, user_id=in_group.id)
        grants.give(actor=owner, holder=Holder(user_id=by_own.id), role=own.id)
        found["group", role], found["own role", role] = session_of(in_group), session_of(by_own)
        bearer = {"Authorization": f"Bearer {factories.make_api_key(tenant, permissions)}"}
        found["key", role] = Client(raise_request_exception=False, headers=bearer)
    return found


def newcomer(tenant: Tenant) -> User:
    """Return a member without any grant."""
    user = factories.make_user()
    with tenant_scope(tenant.id):
        Membership.objects.create(user=user)
    return user


def session_of(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user)
    client.get("/api/v1/me/")
    return client


def at_the_edge(allowed: frozenset[str]) -> Iterator[str]:
    """Yield the role with the fewest permissions that is allowed, and the one with the most that is not."""
    ranked = sorted(ROLES, key=lambda role: len(ROLE_PERMISSIONS[role]))
    yield from [role for role in ranked if role in allowed][:1]
    yield from [role for role in ranked if role not in allowed][-1:]


def test_a_role_opens_the_same_however_it_is_held() -> None:
    tenant, ids = factories.make_tenant("ours"), missing()
    clients, faults, asked = holders(tenant), [], 0
    for route, methods in API.items():
        for method, allowed in methods.items():
            for role in at_the_edge(allowed):
                for way in WAYS:
                    answer = call(clients[way, role], method, path_of("/api/v1/", route, ids))
                    asked += 1
                    if (answer.status_code in REFUSED) != (role not in allowed) or answer.status_code in (405, 500):
                        faults.append((way, role, method, route, answer.status_code))
    for number, (route, allowed) in enumerate(PAGES.items()):
        for role in at_the_edge(allowed):
            client = clients[WAYS[number % 2], role]
            statuses = [call(client, method, path_of("/t/ours/", route, ids)).status_code for method in ("GET", "POST")]
            asked += 2
            opened = any(status not in (*REFUSED, 405) for status in statuses)
            if opened != (role in allowed) or 500 in statuses:
                faults.append((WAYS[number % 2], role, "page", route, statuses))
    assert faults == []
    assert asked > 1_200


#: Every callback of a Dash page, by its first output.
CALLBACKS = {
    ("spend", "url.search"): EVERYONE,
    ("spend", "tiles.children"): EVERYONE,
    ("health", "url.search"): EVERYONE,
    ("health", "endpoint.options"): EVERYONE,
}


def first_output(callback: dict[str, Any]) -> str:
    return str(callback["output"]).strip(".").split("...")[0].partition("@")[0]


def called(callback: dict[str, Any], search: str) -> dict[str, Any]:
    """Return the body of a call with a query string, and nothing else chosen."""
    values = {"url": search, "tick": 0}
    return {
        "output": callback["output"],
        "outputs": split_callback_id(callback["output"]),  # type: ignore[no-untyped-call]
        "inputs": [slot | {"value": values.get(slot["id"])} for slot in callback["inputs"]],
        "state": [slot | {"value": None} for slot in callback["state"]],
        "changedPropIds": ["url.search"],
    }


def without_ids(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", text)


def test_each_callback_answers_the_roles_that_the_table_names_and_shows_nothing_of_others() -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    own, foreign, nothing = one_of_everything(ours), one_of_everything(theirs), missing()
    owner, leaver = factories.actor_for(ours), factories.make_member(ours, "engineer")
    people: dict[str, Client] = {role: client_for(ours, role) for role in ROLES}
    found = {
        (page, first_output(callback)): callback
        for page in registry.PAGES
        for callback in people["owner"].get(f"/t/ours/dash/{page}/_dash-dependencies").json()
    }
    assert found.keys() == CALLBACKS.keys(), "a callback that the table does not know, or a row without one"

    def ask(client: Client, at: tuple[str, str], ids: dict[str, UUID] = nothing) -> tuple[int, str]:
        search = f"?range=30d&endpoint={ids['endpoint_id']}&project={ids['project_id']}&job={ids['job_id']}"
        where = f"/t/ours/dash/{at[0]}/_dash-update-component"
        answer = client.post(where, json.dumps(called(found[at], search)), content_type="application/json")
        return answer.status_code, answer.content.decode()

    gone, tab = session_of(leaver), session_of(leaver)
    assert {ask(tab, at)[0] for at in found} == {200}
    members.remove_member(actor=owner, user_id=leaver.id)
    strangers = {"removed": tab, "removed, another tab": gone, "of another tenant": client_for(theirs, "owner")}
    strangers["nobody"] = Client()
    for at, allowed in CALLBACKS.items():
        needed = registry.PAGES[at[0]]
        lacking = roles.create_role(
            actor=owner,
            name=f"Set {needed} {at[1]}".replace(".", " "),
            permissions=sorted(ROLE_PERMISSIONS["owner"] - {needed}),
        )
        person = newcomer(ours)
        grants.give(actor=owner, holder=Holder(user_id=person.id), role=lacking.id)
        assert ask(session_of(person), at)[0] == 403, at
        assert {role for role, client in people.items() if ask(client, at)[0] == 200} == allowed, at
        assert {who: ask(client, at)[0] for who, client in strangers.items()} == {
            "removed": 404, "removed, another tab": 404, "of another tenant": 404, "nobody": 401,
        }, at  # fmt: skip
        as_foreign, as_missing = ask(people["owner"], at, foreign), ask(people["owner"], at)
        assert without_ids(as_foreign[1]) == without_ids(as_missing[1]), at
        assert as_foreign[0] == 200
        assert not [
            name
            for name, one in foreign.items()
            if str(one) in as_foreign[1] and name not in ("endpoint_id", "book_id")
        ]
    assert str(own["endpoint_id"]) in ask(people["owner"], ("health", "endpoint.options"), own)[1]
