"""Rights as rows: grants to people, groups and service accounts, in the whole organisation or in one project."""

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tenants.access.actor import Actor, InProject
from tenants.access.permissions import PERMISSIONS, PROJECT_PERMISSIONS, ROLE_PERMISSIONS, ROLES
from tenants.access.rights import rights_from
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.grants import grants, groups, queries, roles, service_accounts
from tenants.grants.grants import Holder
from tenants.identity import api_keys, members
from tenants.identity.authentication import actor_today
from tenants.identity.holders import LastOwner
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Grant, Membership, Tenant, User
from tenants.rights import held
from tests.support import factories
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def rights_in(tenant: Tenant, user: User) -> Actor:
    """Return the person as the next request would see them."""
    with tenant_scope(tenant.id):
        return actor_today(tenant.id, user.id)


def held_role(tenant: Tenant, name: str, permissions: list[str]) -> UUID:
    return roles.create_role(actor=factories.actor_for(tenant), name=name, permissions=permissions).id


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.sampled_from([None, *(str(UUID(int=n)) for n in range(3))]))))
def test_grants_only_add(given_ones: list[tuple[str, str | None]]) -> None:
    rows = [{"built_in": role, "role": None, "permissions": None, "project": where} for role, where in given_ones]
    rights = rights_from(rows)
    for role, where in given_ones:
        if where is None:
            assert ROLE_PERMISSIONS[role] <= rights.everywhere
        else:
            assert rights.in_projects[UUID(where)] >= ROLE_PERMISSIONS[role] & PROJECT_PERMISSIONS
    assert rights_from(rows[:-1]).everywhere <= rights.everywhere, "one more never takes anything away"
    assert set().union(*rights.in_projects.values()) <= PROJECT_PERMISSIONS


def test_a_permission_that_is_no_more_is_in_no_role() -> None:
    own = {"built_in": "", "role": "Old", "permissions": ["jobs.view", "jobs.long_gone"], "project": None}
    assert rights_from([own]).everywhere == {"jobs.view"}


def test_a_grant_in_a_project_reaches_that_project_alone() -> None:
    tenant = factories.make_tenant()
    user, project, other = (
        factories.make_member(tenant, "viewer"),
        factories.make_project(tenant),
        factories.default_project_id(tenant),
    )
    grants.give(
        actor=factories.actor_for(tenant), holder=Holder(user_id=user.id), role="engineer", project_id=project.id
    )
    actor = rights_in(tenant, user)
    assert actor.can("jobs.launch", InProject(project.id))
    assert not actor.can("jobs.launch", InProject(other))
    assert not actor.can("jobs.launch")
    assert actor.can_somewhere("jobs.launch")
    assert not actor.can_somewhere("usage.ingest"), "what cannot be limited to a project is not given with one"


def test_a_group_gives_what_it_holds_until_one_leaves_it() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    group = groups.create_group(actor=owner, name="Research")
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="engineer")
    assert not rights_in(tenant, user).can("jobs.launch")
    groups.add_member(actor=owner, group_id=group.id, user_id=user.id)
    assert rights_in(tenant, user).role == "engineer, viewer"
    assert rights_in(tenant, user).can("jobs.launch")
    groups.remove_member(actor=owner, group_id=group.id, user_id=user.id)
    assert not rights_in(tenant, user).can("jobs.launch")
    groups.add_member(actor=owner, group_id=group.id, user_id=user.id)
    groups.delete_group(actor=owner, group_id=group.id)
    assert not rights_in(tenant, user).can("jobs.launch")


def test_a_role_of_ones_own_changes_for_all_who_hold_it() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    role = held_role(tenant, "Launcher", ["jobs.launch"])
    grants.give(actor=owner, holder=Holder(user_id=user.id), role=role)
    assert rights_in(tenant, user).can("jobs.launch")
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.get(action=grants.GRANT_GIVEN).changes == {"grant": [None, {"role": "Launcher"}]}
    roles.change_role(actor=owner, role_id=role, permissions=["jobs.cancel"])
    assert (rights_in(tenant, user).can("jobs.launch"), rights_in(tenant, user).can("jobs.cancel")) == (False, True)
    with pytest.raises(roles.RoleInUse):
        roles.delete_role(actor=owner, role_id=role)


def test_a_grant_ends_by_itself() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    until = now() + timedelta(hours=1)
    grant = grants.give(actor=owner, holder=Holder(user_id=user.id), role="engineer", expires_at=until)
    assert rights_in(tenant, user).can("jobs.launch")
    with tenant_scope(tenant.id):
        Grant.objects.filter(id=grant.id).update(expires_at=now() - timedelta(seconds=1))
        assert user.id not in set(held.holding("jobs.launch").values_list("user_id", flat=True))
        assert held.rights_of_members()[Membership.objects.get(user=user).id].role == "viewer"
    assert not rights_in(tenant, user).can("jobs.launch")
    grants.give(actor=owner, holder=Holder(user_id=user.id), role="engineer")
    assert rights_in(tenant, user).can("jobs.launch")


def test_one_reading_of_rights_equals_the_other() -> None:
    """The database function of the door, and the statements that read all members at once."""
    tenant = factories.make_tenant()
    owner, project = factories.actor_for(tenant), factories.make_project(tenant)
    role, group = held_role(tenant, "Launcher", ["jobs.launch"]), groups.create_group(actor=owner, name="Team")
    people = [factories.make_member(tenant, role) for role in ("viewer", "engineer", "finance")]
    groups.add_member(actor=owner, group_id=group.id, user_id=people[0].id)
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="finance", project_id=project.id)
    grants.give(actor=owner, holder=Holder(group_id=group.id), role=role)
    grants.give(actor=owner, holder=Holder(user_id=people[2].id), role="admin", project_id=project.id)
    with tenant_scope(tenant.id):
        at_once = held.rights_of_members()
        assert {row: held.rights_of(membership_id=row) for row in at_once} == at_once
        assert len(at_once) == Membership.objects.count() >= 4
        for permission in sorted(PERMISSIONS):
            holders = set(held.holding(permission).values_list("id", flat=True))
            assert holders == {row for row, rights in at_once.items() if permission in rights.everywhere}, permission


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_nobody_grants_above_themselves(role: str) -> None:
    tenant = factories.make_tenant()
    allowed = ROLE_PERMISSIONS["engineer"] | {"members.manage", "apikeys.manage"}
    helper = held_role(tenant, "Helper", sorted(allowed))
    user, other = factories.make_member(tenant, "viewer"), factories.make_member(tenant, "viewer")
    grants.give(actor=factories.actor_for(tenant), holder=Holder(user_id=user.id), role=helper)
    actor = rights_in(tenant, user)
    group = groups.create_group(actor=actor, name="Theirs")
    account = service_accounts.create_service_account(actor=actor, name="theirs")
    for holder in (Holder(user_id=other.id), Holder(group_id=group.id), Holder(service_account_id=account.id)):
        if role == "owner" and holder.user_id is None:
            with pytest.raises(Invalid):
                grants.give(actor=actor, holder=holder, role=role)
            continue
        with pytest.raises(PermissionDenied):
            grants.give(actor=actor, holder=holder, role=role)
    with pytest.raises(PermissionDenied):
        roles.create_role(actor=actor, name="More", permissions=["invoices.manage"])
    with pytest.raises(PermissionDenied):
        roles.change_role(actor=actor, role_id=helper, permissions=[*sorted(allowed), "invoices.manage"])
    strong = groups.create_group(actor=factories.actor_for(tenant), name="Strong")
    given_one = grants.give(actor=factories.actor_for(tenant), holder=Holder(group_id=strong.id), role="finance")
    with pytest.raises(PermissionDenied):
        groups.add_member(actor=actor, group_id=strong.id, user_id=other.id)
    with pytest.raises(PermissionDenied):
        groups.delete_group(actor=actor, group_id=strong.id)
    with pytest.raises(PermissionDenied):
        grants.withdraw(actor=actor, grant_id=given_one.id)


def test_who_manages_no_members_gives_nothing_not_even_what_they_have() -> None:
    tenant = factories.make_tenant()
    viewer, other = (rights_in(tenant, factories.make_member(tenant, "viewer")) for _ in range(2))
    with pytest.raises(PermissionDenied):
        grants.give(
            actor=viewer,
            holder=Holder(user_id=other.id),
            role="viewer",
            project_id=factories.default_project_id(tenant),
        )


def test_who_manages_no_members_makes_no_role_and_no_group_and_moves_nobody() -> None:
    tenant = factories.make_tenant()
    viewer = rights_in(tenant, factories.make_member(tenant, "viewer"))
    owner, other = factories.actor_for(tenant), factories.make_member(tenant, "viewer").id
    group = groups.create_group(actor=owner, name="Team").id
    role = roles.create_role(actor=owner, name="Watcher", permissions=["jobs.view"]).id
    with pytest.raises(PermissionDenied):
        roles.create_role(actor=viewer, name="Reader", permissions=["jobs.view"])
    with pytest.raises(PermissionDenied):
        roles.change_role(actor=viewer, role_id=role, name="Reader")
    with pytest.raises(PermissionDenied):
        roles.delete_role(actor=viewer, role_id=role)
    with pytest.raises(PermissionDenied):
        groups.create_group(actor=viewer, name="Others")
    with pytest.raises(PermissionDenied):
        groups.add_member(actor=viewer, group_id=group, user_id=other)
    groups.add_member(actor=owner, group_id=group, user_id=other)
    with pytest.raises(PermissionDenied):
        groups.remove_member(actor=viewer, group_id=group, user_id=other)
    with pytest.raises(PermissionDenied):
        groups.delete_group(actor=viewer, group_id=group)


def test_nobody_changes_their_own_rights_by_any_way() -> None:
    tenant = factories.make_tenant()
    admin = factories.make_member(tenant, "admin")
    actor, owner = rights_in(tenant, admin), factories.actor_for(tenant)
    group = groups.create_group(actor=owner, name="Team")
    with pytest.raises(PermissionDenied, match="your own rights"):
        grants.give(actor=actor, holder=Holder(user_id=admin.id), role="finance")
    with pytest.raises(PermissionDenied, match="your own rights"):
        groups.add_member(actor=actor, group_id=group.id, user_id=admin.id)
    groups.add_member(actor=owner, group_id=group.id, user_id=admin.id)
    with pytest.raises(PermissionDenied, match="your own rights"):
        grants.give(actor=actor, holder=Holder(group_id=group.id), role="engineer")
    with pytest.raises(PermissionDenied, match="your own rights"):
        groups.delete_group(actor=actor, group_id=group.id)
    key = api_keys.create_api_key(actor=actor, name="k", scopes=sorted(ROLE_PERMISSIONS["admin"]))
    by_key = Actor(kind="api_key", tenant_id=tenant.id, id=key.id, label="k", permissions=actor.permissions)
    with pytest.raises(PermissionDenied, match="your own rights"):
        grants.give(actor=by_key, holder=Holder(user_id=admin.id), role="finance")


def test_the_last_owner_keeps_the_grant() -> None:
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        first = held.owners().exclude(membership__user_id=actor.id).get()
        own = held.owners().get(membership__user_id=actor.id)
    grants.withdraw(actor=actor, grant_id=first.id)
    with pytest.raises(PermissionDenied):
        grants.withdraw(actor=actor, grant_id=own.id)
    with pytest.raises(LastOwner):
        grants.withdraw(actor=Actor.system(tenant.id, "command"), grant_id=own.id)


@pytest.mark.parametrize("more", [{"ends": True}, {"project": True}, {"holder": "group"}, {"holder": "account"}])
def test_only_a_person_owns_an_organisation_as_a_whole_and_without_an_end(more: dict[str, Any]) -> None:
    tenant = factories.make_tenant()
    owner, project = factories.actor_for(tenant), factories.make_project(tenant)
    holders = {
        "group": Holder(group_id=groups.create_group(actor=owner, name="g").id),
        "account": Holder(service_account_id=service_accounts.create_service_account(actor=owner, name="a").id),
    }
    holder = holders.get(more.get("holder", ""), Holder(user_id=factories.make_member(tenant, "viewer").id))
    where, until = (project.id if more.get("project") else None), (now() + timedelta(1) if more.get("ends") else None)
    with pytest.raises(Invalid):
        grants.give(actor=owner, holder=holder, role="owner", project_id=where, expires_at=until)
    with tenant_scope(tenant.id), pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.create(
            **holder.columns(), built_in="owner", project_id=where, expires_at=until
        )  # the table refuses it too


def test_names_are_taken_once_and_holders_are_those_of_the_tenant() -> None:
    tenant, foreign = factories.make_tenant(), factories.make_tenant()
    owner, stranger = factories.actor_for(tenant), factories.make_member(foreign, "viewer")
    user = factories.make_member(tenant, "viewer")
    groups.create_group(actor=owner, name="Team")
    with pytest.raises(Conflict):
        groups.create_group(actor=owner, name="team")
    held_role(tenant, "Launcher", ["jobs.launch"])
    with pytest.raises(Conflict):
        held_role(tenant, "LAUNCHER", ["jobs.launch"])
    with pytest.raises(Invalid):
        held_role(tenant, "Owner", ["jobs.launch"])
    with pytest.raises(Invalid):
        held_role(tenant, "Empty", ["jobs.fly"])
    with pytest.raises(NotFound):
        grants.give(actor=owner, holder=Holder(user_id=stranger.id), role="viewer")
    with pytest.raises(NotFound):
        grants.give(
            actor=owner,
            holder=Holder(user_id=user.id),
            role="engineer",
            project_id=factories.default_project_id(foreign),
        )
    with pytest.raises(Invalid):
        grants.give(actor=owner, holder=Holder(), role="viewer")
    grants.give(actor=owner, holder=Holder(user_id=user.id), role="finance")
    with pytest.raises(grants.AlreadyGranted):
        grants.give(actor=owner, holder=Holder(user_id=user.id), role="finance")


def test_credentials_follow_rights_that_are_lost_and_not_those_that_return() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    group = groups.create_group(actor=owner, name="Keys")
    given_one = grants.give(actor=owner, holder=Holder(group_id=group.id), role="admin")
    groups.add_member(actor=owner, group_id=group.id, user_id=user.id)
    key = api_keys.create_api_key(actor=rights_in(tenant, user), name="k", scopes=["jobs.launch", "jobs.view"])
    grants.withdraw(actor=owner, grant_id=given_one.id)
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get(id=key.id).scopes == ["jobs.view", "tenant.view"]
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="admin")
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get(id=key.id).scopes == ["jobs.view", "tenant.view"]


def test_a_grant_that_expired_gives_nothing_back_when_the_role_rises() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    until = now() + timedelta(hours=1)
    given_one = grants.give(actor=owner, holder=Holder(user_id=user.id), role="admin", expires_at=until)
    key = api_keys.create_api_key(actor=rights_in(tenant, user), name="k", scopes=["jobs.launch", "jobs.view"])
    with tenant_scope(tenant.id):
        Grant.objects.filter(id=given_one.id).update(expires_at=now() - timedelta(seconds=1))
    members.change_role(actor=owner, user_id=user.id, role="engineer")
    with tenant_scope(tenant.id):
        assert ApiKey.objects.get(id=key.id).scopes == ["jobs.view", "tenant.view"]


def test_the_keys_of_a_service_account_outlive_their_creator_and_end_with_the_account() -> None:
    tenant = factories.make_tenant()
    owner, admin = factories.actor_for(tenant), factories.make_member(tenant, "admin")
    account = service_accounts.create_service_account(actor=owner, name="nightly")
    grants.give(actor=owner, holder=Holder(service_account_id=account.id), role="engineer")
    with pytest.raises(Invalid, match="lacks"):
        api_keys.create_api_key(actor=owner, name="too much", scopes=["invoices.view"], service_account_id=account.id)
    key = api_keys.create_api_key(
        actor=rights_in(tenant, admin), name="k", scopes=["jobs.view", "jobs.launch"], service_account_id=account.id
    )
    members.remove_member(actor=owner, user_id=admin.id)
    client, bearer = Client(), {"Authorization": f"Bearer {key.secret}"}
    assert client.get("/api/v1/me/", headers=bearer).json()["scopes"] == ["jobs.launch", "jobs.view", "tenant.view"]
    with tenant_scope(tenant.id):
        grant = Grant.objects.get(service_account=account)
    grants.give(actor=owner, holder=Holder(service_account_id=account.id), role="viewer")
    grants.withdraw(actor=owner, grant_id=grant.id)
    assert client.get("/api/v1/me/", headers=bearer).json()["scopes"] == ["jobs.view", "tenant.view"]
    revoked = service_accounts.disable_service_account(actor=owner, service_account_id=account.id)
    assert revoked["apikey"] == [str(key.id)]
    assert client.get("/api/v1/me/", headers=bearer).status_code == 401


def test_who_may_do_what_is_listed_with_its_reason() -> None:
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer", "nora@example.org")
    group, project = groups.create_group(actor=owner, name="Research"), factories.make_project(tenant, "vision")
    groups.add_member(actor=owner, group_id=group.id, user_id=user.id)
    grants.give(actor=owner, holder=Holder(group_id=group.id), role="engineer", project_id=project.id)
    with tenant_scope(tenant.id):
        rows = [row for row in queries.access() if row.holder == user.email]
    assert [(row.role, row.project, row.because) for row in rows] == [
        ("viewer", "", "granted"),
        ("engineer", "A project", f"member of the group Research, granted by {owner.label}"),
    ]
    assert set(rows[1].permissions) == ROLE_PERMISSIONS["engineer"] & PROJECT_PERMISSIONS


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_withdraw_each_other_leave_one() -> None:
    tenant = factories.make_tenant()
    barrier, refused = threading.Barrier(2), []

    def withdraw(actor: Actor, grant_id: UUID) -> None:
        barrier.wait()
        try:
            grants.withdraw(actor=actor, grant_id=grant_id)
        except (LastOwner, NotFound, PermissionDenied) as error:
            refused.append(error)
        finally:
            connection.close()

    for number in range(1, 21):
        with tenant_scope(tenant.id):
            first = held.owners().select_related("membership__user").get()
        assert first.membership is not None
        one = Actor.member(tenant_id=tenant.id, user_id=first.membership.user_id, email="a", role="owner")
        two = factories.actor_for(tenant, "owner")
        with tenant_scope(tenant.id):
            second = held.owners().get(membership__user_id=two.id)
        threads = [threading.Thread(target=withdraw, args=args) for args in ((one, second.id), (two, first.id))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        with tenant_scope(tenant.id):
            assert held.owners().count() == 1
        assert len(refused) == number


@pytest.mark.django_db(transaction=True)
def test_a_key_made_while_the_grant_behind_it_is_withdrawn_is_not_made(superuser: psycopg.Connection) -> None:
    """The creator waits for the membership's lock, and then reads the rights of after."""
    tenant = factories.make_tenant()
    owner, user = factories.actor_for(tenant), factories.make_member(tenant, "viewer")
    given_one = grants.give(actor=owner, holder=Holder(user_id=user.id), role="admin")
    actor = rights_in(tenant, user)
    outcome: list[object] = []

    def create() -> None:
        try:
            outcome.append(api_keys.create_api_key(actor=actor, name="k", scopes=["jobs.launch"]))
        except PermissionDenied as error:
            outcome.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=create)
    with tenant_scope(tenant.id):
        grants.withdraw(actor=owner, grant_id=given_one.id)
        thread.start()
        wait_until(lambda: superuser.execute(WAITS).fetchone() != (0,), "a key that waits for the membership")
    thread.join()
    assert isinstance(outcome[0], PermissionDenied)
