"""Access ends with its origin: keys of keys, endpoint keys, invitations, reduced roles, departed members."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.test import Client

from compute.models import Job
from models_app.endpoints import endpoint_keys
from models_app.models import EndpointKey
from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.audit import queries as audit_queries
from tenants.clock import now
from tenants.errors import PermissionDenied
from tenants.identity import api_keys, invitations, members
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Invitation, Membership, Tenant, User
from tenants.web.pagination import encode_cursor
from tests.conftest import DemoClock
from tests.support import factories
from tests.support.endpoints import make_endpoint
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
ADMIN_SCOPES = sorted(
    ROLE_PERMISSIONS["viewer"] | {"apikeys.manage", "apikeys.view", "members.manage", "endpoints.manage"}
)


class Api:
    """The API with a key."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.client = Client(headers={"Authorization": f"Bearer {secret}"})

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self.client.generic(method, f"/api/v1/{path}", _json(body), content_type="application/json")

    def key(self, scopes: list[str], **fields: Any) -> tuple[Api, UUID]:
        """Create a key with this key."""
        answer = self("POST", "api-keys/", {"name": "k", "scopes": scopes, **fields})
        assert answer.status_code == 201, answer.content
        return Api(answer.json()["key"]), UUID(answer.json()["id"])

    def works(self) -> bool:
        return bool(self("GET", "me/").status_code == 200)


def _json(body: dict[str, Any] | None) -> str:
    return json.dumps(body) if body is not None else ""


@pytest.fixture
def tenant() -> Tenant:
    return factories.make_tenant()


@pytest.fixture
def owner(tenant: Tenant) -> Actor:
    return factories.actor_for(tenant)


def key_of(actor: Actor, scopes: list[str] | None = None, **fields: Any) -> tuple[Api, UUID]:
    made = api_keys.create_api_key(actor=actor, name="k", scopes=scopes or sorted(actor.permissions), **fields)
    return Api(made.secret), made.id


def answers(secret: str) -> bool:
    """Return whether the serving node would accept an endpoint key, which it checks once per batch."""
    return len(endpoint_keys.known([endpoint_keys.key_hash(secret)])) == 1


def endpoint_key(api: Api, endpoint_id: UUID) -> str:
    answer = api("POST", f"endpoints/{endpoint_id}/keys/", {"name": "shop"})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["key"])


def offered(token_of: UUID) -> bool:
    try:
        invitations.find(invitations.token_of(token_of))
    except invitations.InvitationGone:
        return False
    return True


def invite(api: Api, role: str = "viewer", email: str = "nora@example.org") -> UUID:
    answer = api("POST", "invitations/", {"email": email, "role": role})
    assert answer.status_code == 201, answer.content
    return UUID(answer.json()["id"])


def test_what_descends_from_a_key_ends_with_it_three_levels_deep(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    other, _ = key_of(owner)
    root, root_id = key_of(owner)
    child, _ = root.key(ADMIN_SCOPES)
    grandchild, grandchild_id = child.key(ADMIN_SCOPES)
    leaf, _ = grandchild.key(["members.view"])
    secrets = [endpoint_key(api, endpoint.id) for api in (root, grandchild)]
    offers = [invite(root), invite(grandchild, email="otto@example.org")]
    assert all(answers(secret) for secret in secrets)
    with tenant_scope(tenant.id):
        stored = ApiKey.objects.get(id=grandchild_id)
        assert (stored.created_by_id, stored.parent_key_id is not None) == (owner.id, True)
    page = Client()
    page.force_login(User.objects.get(id=owner.id))
    assert "7 credentials that it created are revoked too" in text_of(page.get(f"/t/{tenant.slug}/api-keys/"))
    assert other("DELETE", f"api-keys/{root_id}/").status_code == 204
    assert [api.works() for api in (root, child, grandchild, leaf, other)] == [False] * 4 + [True]
    assert not any(answers(secret) for secret in secrets)
    assert not any(offered(one) for one in offers)
    with tenant_scope(tenant.id):
        ended = AuditEntry.objects.filter(action__endswith=".revoked").values_list("target_type", flat=True)
        assert sorted(ended) == ["apikey"] * 4 + ["endpointkey"] * 2 + ["invitation"] * 2


def test_a_chain_of_keys_has_a_maximum_length(tenant: Tenant, owner: Actor) -> None:
    api, first_id = key_of(owner)
    for _ in range(9):
        api, _ = api.key(ADMIN_SCOPES)
    refused = api("POST", "api-keys/", {"name": "k", "scopes": ["members.view"]})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    assert "last of 10" in text_of(refused)
    with tenant_scope(tenant.id):
        ids = [first_id, *(uuid7() for _ in range(600))]
        ApiKey.objects.bulk_create(
            ApiKey(
                id=own,
                parent_key_id=above,
                name="k",
                prefix=own.hex[:8],
                key_hash=own.bytes * 2,
                scopes=["tenant.view"],
            )
            for above, own in pairwise(ids)
        )
    page = Client()
    page.force_login(User.objects.get(id=owner.id))
    said = page.get(f"/t/{tenant.slug}/api-keys/?cursor={encode_cursor(600)}")
    assert said.status_code == 200
    assert "609 credentials that it created are revoked too" in text_of(said).replace(",", "")


def test_a_key_with_an_end_makes_nothing_that_lives_longer(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    end = (now() + timedelta(hours=1)).replace(microsecond=0)
    parent, _ = key_of(owner, expires_at=end)
    for late in (None, end + timedelta(seconds=1)):
        body = {"name": "k", "scopes": ["jobs.view"], "expires_at": late.isoformat() if late else None}
        refused = parent("POST", "api-keys/", body)
        assert (refused.status_code, list(refused.json()["fields"])) == (400, ["expires_at"])
    child, _ = parent.key(["apikeys.manage", "jobs.view"], expires_at=end.isoformat())
    assert child.works()
    endpoint_key(parent, endpoint.id)
    offer = invite(parent)
    (shown,) = parent("GET", f"endpoints/{endpoint.id}/keys/").json()["results"]
    assert datetime.fromisoformat(shown["expires_at"]) == end
    with tenant_scope(tenant.id):
        assert Invitation.objects.get(id=offer).expires_at == end


def test_an_endpoint_key_ends_when_the_key_that_made_it_expires(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    parent, parent_id = key_of(owner, expires_at=now() + timedelta(hours=1))
    shop = endpoint_key(parent, endpoint.id)
    assert answers(shop)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    with tenant_scope(tenant.id):
        ApiKey.objects.filter(id=parent_id).update(expires_at=past)
    assert not answers(shop)


def test_a_credential_beyond_ones_own_permissions_cannot_be_revoked(tenant: Tenant, owner: Actor) -> None:
    strong, strong_id = key_of(owner)
    weak, weak_id = key_of(owner, ["apikeys.manage", "members.manage", "members.view"])
    admin, _ = key_of(factories.actor_for(tenant, "admin"))
    for api in (weak, admin):
        assert api("DELETE", f"api-keys/{strong_id}/").status_code == 403
    assert strong.works()
    page = Client()
    page.force_login(factories.make_member(tenant, "admin"))
    shown = text_of(page.get(f"/t/{tenant.slug}/api-keys/"))
    assert (f"revoke-{strong_id}" in shown, f"revoke-{weak_id}" in shown) == (False, True)
    assert page.post(f"/t/{tenant.slug}/api-keys/{strong_id}/revoke/").status_code == 403
    offer = invite(strong, "owner")
    assert admin("DELETE", f"invitations/{offer}/").status_code == 403
    # Inviting the same address again revokes the earlier invitation, which needs the permission to revoke it.
    assert admin("POST", "members/", {"email": "nora@example.org", "role": "viewer"}).status_code == 403
    assert offered(offer)
    assert strong("DELETE", f"api-keys/{weak_id}/").status_code == 204


def test_the_key_that_the_installation_made_ends_with_all_that_it_made(tenant: Tenant, owner: Actor) -> None:
    system = Actor.system(tenant.id, "bootstrap")
    made = api_keys.create_api_key(
        actor=system, name="bootstrap", scopes=sorted(PERMISSIONS), given=api_keys.Given(responsible_id=owner.id)
    )
    root = Api(made.secret)
    offer, (child, _) = invite(root, "owner"), root.key(["jobs.view"])
    assert offered(offer)
    other, _ = key_of(owner)
    assert other("DELETE", f"api-keys/{made.id}/").status_code == 204
    assert (offered(offer), child.works()) == (False, False)


def test_removing_a_member_revokes_and_lists_every_credential(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    api, _ = key_of(owner)
    leaver = factories.actor_for(tenant, "admin")
    own, _ = key_of(leaver)
    child, _ = own.key(ADMIN_SCOPES)
    shop = endpoint_key(child, endpoint.id)
    mine = endpoint_keys.create(actor=leaver, endpoint_id=endpoint.id, name="mine").secret
    offer = invite(own)
    assert answers(shop)
    path = f"members/{leaver.id}/"
    shown = api("GET", f"{path}departure/").json()
    kinds = sorted(one["kind"] for one in shown["credentials"])
    assert kinds == ["apikey", "apikey", "endpointkey", "endpointkey", "invitation"]
    used = {one["name"].split()[0]: one["last_used_at"] for one in shown["credentials"] if one["kind"] == "endpointkey"}
    assert (used["shop"] is not None, used["mine"]) == (True, None)
    gone = api("DELETE", path)
    assert (gone.status_code, gone.json()["credentials"]) == (200, shown["credentials"])
    assert (own.works(), child.works(), answers(shop), answers(mine), offered(offer)) == (False,) * 5
    # Returning restores nothing.
    with tenant_scope(tenant.id):
        members.add_member(actor=owner, email=leaver.label, role="admin")
    assert (own.works(), child.works(), answers(shop), offered(offer)) == (False,) * 4


def test_an_owner_adopts_the_endpoint_keys_of_a_leaver(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    leaver = factories.actor_for(tenant, "engineer")
    secret = endpoint_keys.create(actor=leaver, endpoint_id=endpoint.id, name="shop").secret
    admin, _ = key_of(factories.actor_for(tenant, "admin"))
    assert admin("DELETE", f"members/{leaver.id}/?endpoint_keys=adopt").status_code == 403
    assert answers(secret)
    client = Client()
    client.force_login(User.objects.get(id=owner.id))
    client.get(f"/t/{tenant.slug}/")
    gone = client.delete(f"/api/v1/members/{leaver.id}/?endpoint_keys=adopt")
    assert (gone.status_code, len(gone.json()["adopted"])) == (200, 1)
    assert answers(secret)
    with tenant_scope(tenant.id):
        (entry,) = audit_queries.entries(audit_queries.EntryFilter(action="models_app.endpoint_key.adopted"))
        assert entry.actor_label == owner.label
    second = factories.actor_for(tenant)
    later, _ = key_of(second)
    assert admin("POST", f"members/{owner.id}/adopt/").status_code == 403
    assert later("POST", f"members/{owner.id}/adopt/").json()["adopted"] == gone.json()["adopted"]
    members.remove_member(actor=second, user_id=owner.id)  # type: ignore[arg-type]
    assert answers(secret)
    members.remove_member(actor=factories.actor_for(tenant), user_id=second.id)  # type: ignore[arg-type]
    assert not answers(secret), "it descends from the one who adopted it last"


def job_of(tenant: Tenant, submitter: UUID, state: str) -> UUID:
    """Create a similar job under another submitter."""
    with tenant_scope(tenant.id):
        job = Job.objects.create(
            name="j", kind="train", project_id=factories.default_project_id(tenant), spec={}, device_class="cpu",
            tier="on_demand", max_seconds=60, submitted_by=submitter, submitted_by_label="leaver", state=state,
            unit_amount=Decimal(0), currency="EUR", cause="user" if state == "paused" else "",
        )  # fmt: skip
        return job.id


def test_the_page_and_the_api_say_what_goes_on_and_settle_it(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    client = Client()
    client.force_login(User.objects.get(id=owner.id))
    client.get(f"/t/{tenant.slug}/")
    heir, viewer = factories.actor_for(tenant, "engineer"), factories.actor_for(tenant, "viewer")

    def leaver() -> tuple[Actor, list[UUID]]:
        person = factories.actor_for(tenant, "admin")
        _, key_id = key_of(person)
        endpoint_keys.create(actor=person, endpoint_id=endpoint.id, name="shop")
        ids = [job_of(tenant, person.id, state) for state in ("running", "queued", "succeeded")]  # type: ignore[arg-type]
        return person, [*ids, job_of(tenant, key_id, "queued")]

    def jobs(ids: list[UUID]) -> list[tuple[str, str]]:
        with tenant_scope(tenant.id):
            found = {row.id: (row.state, row.submitted_by_label) for row in Job.objects.filter(id__in=ids)}
            return [found[one] for one in ids]

    first, ids = leaver()
    page = text_of(client.get(f"/t/{tenant.slug}/members/", {"remove": str(first.id)}))
    assert "1 running, 2 queued jobs of " in page
    links = [f"/t/{tenant.slug}/jobs/{one}/" for one in ids]
    assert [link in page for link in links] == [True, True, False, True], "each open job is named"
    assert page.index(links[0]) < page.index(links[1])
    assert "shop of churn" in page
    assert "Adopt them" in page
    assert (
        "btn-outline-danger" in page,
        "btn-danger" in text_of(client.get(f"/t/{tenant.slug}/members/")),
    ) == (
        False,
        False,
    )
    api, _ = key_of(owner, ["members.manage", *ROLE_PERMISSIONS["admin"]])
    assert api("GET", f"members/{first.id}/departure/").json()["jobs"] == {"running": 1, "queued": 2, "paused": 0}
    for wrong in ("burn", str(first.id), str(viewer.id), str(UUID(int=1))):
        assert api("DELETE", f"members/{first.id}/?jobs={wrong}").status_code == 400
    form = {"jobs": str(heir.id), "endpoint_keys": "adopt"}
    assert client.post(f"/t/{tenant.slug}/members/{first.id}/remove/", form).status_code == 302
    assert jobs(ids) == [
        ("running", heir.label),
        ("queued", heir.label),
        ("succeeded", "leaver"),
        ("queued", heir.label),
    ]
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="compute.job.handed_over").count() == 3

    second, ids = leaver()
    weak, _ = key_of(owner, ["members.manage", *(ROLE_PERMISSIONS["admin"] - {"jobs.cancel_any"})])
    assert weak("DELETE", f"members/{second.id}/?jobs=cancel").status_code == 403
    gone = api("DELETE", f"members/{second.id}/?jobs=cancel")
    assert (gone.status_code, gone.json()["jobs"]["queued"]) == (200, 2)
    assert [state for state, _ in jobs(ids)] == ["cancelled", "cancelled", "succeeded", "cancelled"]


def test_a_reduced_role_permanently_revokes_what_exceeds_it(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    admin = factories.actor_for(tenant, "admin")
    own, own_id = key_of(admin)
    useless, _ = key_of(admin, ["apikeys.view"])
    child, _ = own.key(ADMIN_SCOPES)
    shop, offer = endpoint_key(child, endpoint.id), invite(own)
    members.change_role(actor=owner, user_id=admin.id, role="viewer")  # type: ignore[arg-type]
    members.change_role(actor=owner, user_id=admin.id, role="admin")  # type: ignore[arg-type]
    assert (useless.works(), answers(shop), offered(offer)) == (False, False, False)
    for api in (own, child):
        assert api("GET", "members/").status_code == 200
        assert api("GET", "api-keys/").status_code == 403
    with tenant_scope(tenant.id):
        assert "members.manage" not in ApiKey.objects.get(id=own_id).scopes
        assert AuditEntry.objects.filter(action="tenants.api_key.narrowed").count() == 2


def test_a_raised_role_does_not_restore_revoked_scopes(tenant: Tenant, owner: Actor) -> None:
    person = factories.actor_for(tenant, "viewer")
    admin = factories.actor_for(tenant, "admin")
    made, key_id = key_of(admin, ADMIN_SCOPES)
    with tenant_scope(tenant.id):  # as an older key whose creator had become a viewer meanwhile
        theirs = Membership.objects.get(user_id=person.id)
        ApiKey.objects.filter(id=key_id).update(membership_id=theirs.id, created_by_id=person.id)
    assert made("GET", "api-keys/").status_code == 403
    members.change_role(actor=owner, user_id=person.id, role="admin")  # type: ignore[arg-type]
    assert made("GET", "api-keys/").status_code == 403
    assert made("GET", "members/").status_code == 200


def test_an_account_that_is_closed_takes_its_keys_along(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    api, _ = key_of(owner)
    secret = endpoint_key(api, endpoint.id)
    User.objects.filter(id=owner.id).update(is_active=False)
    assert (api.works(), answers(secret)) == (False, False)


def test_a_member_removed_during_the_request_creates_nothing(tenant: Tenant, owner: Actor) -> None:
    endpoint = make_endpoint(tenant)
    leaver = factories.actor_for(tenant, "admin")
    made = api_keys.create_api_key(actor=leaver, name="k", scopes=sorted(leaver.permissions))
    by_key = Actor(
        kind="api_key", tenant_id=tenant.id, id=made.id, label="k", role="key", permissions=leaver.permissions
    )
    members.remove_member(actor=owner, user_id=leaver.id)  # type: ignore[arg-type]
    for actor in (leaver, by_key):
        with pytest.raises(PermissionDenied):
            api_keys.create_api_key(actor=actor, name="late", scopes=["jobs.view"])
        with pytest.raises(PermissionDenied):
            endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="late")
        with pytest.raises(PermissionDenied):
            invitations.invite(actor=actor, email="late@example.org", role="viewer")


@pytest.mark.django_db(transaction=True)
def test_migrated_credentials_get_their_provenance(superuser: psycopg.Connection) -> None:
    """Rows from before `parent_key_id`; the superuser bypasses row security as the migration does."""
    tenant, leaver = factories.make_tenant(), uuid4()
    owner = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        root = api_keys.create_api_key(
            actor=owner, name="root", scopes=["apikeys.manage"], expires_at=now() + timedelta(hours=1)
        )
        parent = Actor(
            kind="api_key", tenant_id=tenant.id, id=root.id, label="root", permissions=frozenset(owner.permissions)
        )
        child = api_keys.create_api_key(
            actor=parent, name="child", scopes=["tenant.view"], expires_at=now() + timedelta(minutes=30)
        )
        lost = api_keys.create_api_key(actor=owner, name="lost", scopes=["tenant.view"])
        endpoint_id = make_endpoint(tenant).id
        made = {by: endpoint_keys.create(actor=owner, endpoint_id=endpoint_id, name="e").id for by in ("kept", "left")}
    superuser.execute("UPDATE tenants_apikey SET parent_key_id = NULL, membership_id = NULL")
    superuser.execute("UPDATE tenants_apikey SET expires_at = NULL WHERE id = %s", [child.id])
    superuser.execute("UPDATE tenants_apikey SET created_by_id = %s WHERE id = %s", [leaver, lost.id])
    superuser.execute("UPDATE models_app_endpointkey SET membership_id = NULL, created_by = %s", [owner.id])
    superuser.execute("UPDATE models_app_endpointkey SET created_by = %s WHERE id = %s", [leaver, made["left"]])
    for module in ("tenants.migrations.0005_credentials_descend", "models_app.migrations.0008_endpoint_keys_descend"):
        # Roles were a column of the membership then; today an owner holds a grant.
        owners = "EXISTS (SELECT FROM tenants_grant g WHERE g.membership_id = m.id AND g.built_in = 'owner')"
        superuser.execute(import_module(module).DESCENT.replace("m.role = 'owner'", owners))
    with tenant_scope(tenant.id):
        found = {row.id: row for row in ApiKey.objects.all()}
        assert (found[child.id].parent_key_id, found[child.id].expires_at) == (root.id, found[root.id].expires_at)
        assert {found[key.id].membership_id for key in (root, child)} == {Membership.objects.get(user_id=owner.id).id}
        assert [found[key.id].revoked_at is None for key in (root, child, lost)] == [True, True, False]
        good = dict(EndpointKey.objects.filter(revoked_at=None).values_list("id", "membership_id"))
        assert good == {made["kept"]: found[root.id].membership_id}


def test_a_rotated_key_works_beside_its_successor_for_the_overlap(owner: Actor, demo_clock: DemoClock) -> None:
    manager, _ = key_of(owner)
    old, old_id = manager.key(ADMIN_SCOPES, expires_at=(now() + timedelta(days=90)).isoformat())
    child, _ = old.key(["jobs.view"], expires_at=(now() + timedelta(days=80)).isoformat())
    answer = manager("POST", f"api-keys/{old_id}/rotate/", {"overlap_hours": 2})
    assert answer.status_code == 201, answer.content
    new = Api(answer.json()["key"])
    listed = {row["id"]: row for row in manager("GET", "api-keys/").json()["results"]}
    before, after = listed[str(old_id)], listed[answer.json()["id"]]
    assert (after["name"], after["scopes"]) == (before["name"], before["scopes"])
    assert old.works() and new.works() and child.works()
    with tenant_scope(owner.tenant_id):
        entered = AuditEntry.objects.get(action="tenants.api_key.rotated").changes
        assert (entered["replaced_by"][1], entered["descendants"][1]) == (answer.json()["id"], 1)
    demo_clock.advance(timedelta(hours=3))
    assert [api.works() for api in (old, child, new)] == [False, False, True]
    demo_clock.advance(timedelta(days=88))
    assert new.works()
    demo_clock.advance(timedelta(days=2))
    assert not new.works(), "it lives as long as the old one was made for"
    assert manager("POST", f"api-keys/{old_id}/rotate/", {}).status_code == 409


def test_nobody_rotates_a_key_with_more_than_their_own_permissions(owner: Actor) -> None:
    _, beyond = key_of(owner)
    lesser, _ = key_of(owner, ADMIN_SCOPES)
    refused = lesser("POST", f"api-keys/{beyond}/rotate/", {})
    assert refused.status_code == 403
    assert "permissions that you do not have" in refused.json()["title"]
    assert lesser("POST", f"api-keys/{uuid4()}/rotate/", {}).status_code == 404
    assert lesser("POST", f"api-keys/{beyond}/rotate/", {"overlap_hours": 100_000}).status_code == 400


def test_no_key_lives_on_in_a_successor_that_it_made_of_another(owner: Actor, demo_clock: DemoClock) -> None:
    other, other_id = key_of(owner, ADMIN_SCOPES)
    short, _ = key_of(owner, expires_at=now() + timedelta(hours=1))
    refused = short("POST", f"api-keys/{other_id}/rotate/", {})
    assert (refused.status_code, "only itself and keys that descend from it" in refused.json()["title"]) == (403, True)
    assert other.works()
    with tenant_scope(owner.tenant_id):
        assert ApiKey.objects.get(id=other_id).replaced_by is None
