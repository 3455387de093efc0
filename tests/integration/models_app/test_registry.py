"""Stages of a model version: who moves it, who is notified, who approves, and limits of a served version."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client

from models_app import queries
from models_app.models import Endpoint, ModelVersion
from models_app.registry import registry
from models_app.registry.registry import NothingToApprove, VersionServes
from tenants.access.actor import Actor
from tenants.audit import queries as audit_queries
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import ApiKey, AuditEntry, Membership, Notification, OutboxMessage
from tests.api.models_app.test_model_versions import another_version
from tests.api.objects import one_of_everything
from tests.support.factories import actor_for, make_tenant
from tests.support.model_versions import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def version():
    """A tenant, and a newly registered version."""
    tenant = make_tenant()
    return tenant, another_version(tenant, one_of_everything(tenant)["version_id"])


def row(tenant, version_id) -> ModelVersion:
    with tenant_scope(tenant.id):
        return ModelVersion.objects.get(id=version_id)


def actions(tenant) -> list[str]:
    with tenant_scope(tenant.id):
        found = AuditEntry.objects.filter(action__startswith="models_app.model_version").order_by("seq")
        return [entry.action.rpartition(".")[2] for entry in found]


def test_an_engineer_moves_a_version_but_asks_for_production(version):
    tenant, version_id = version
    engineer, admin = actor_for(tenant, "engineer"), actor_for(tenant, "admin")
    registry.promote(actor=engineer, version_id=version_id, stage="staging")
    asked = registry.promote(actor=engineer, version_id=version_id, stage="production")
    assert registry.waits(asked)
    assert (asked.stage, asked.requested_by_label) == ("staging", engineer.label)
    registry.promote(actor=engineer, version_id=version_id, stage="production")
    with tenant_scope(tenant.id):
        told = Notification.objects.filter(kind="model.approval")
        roles = {note.user.email for note in told.select_related("user")}
        assert admin.label in roles
        assert engineer.label not in roles
        assert {note.path for note in told} == {f"models/versions/{version_id}/"}
        assert told.count() == len(roles)
        (waiting,) = queries.waiting_list(admin)
    assert waiting.id == version_id
    granted = registry.approve(actor=admin, version_id=version_id)
    assert (granted.stage, registry.waits(granted)) == ("production", False)
    kept = row(tenant, version_id)
    assert (kept.requested_by_label, kept.approved_by_label, kept.approved_by) == (
        engineer.label,
        admin.label,
        admin.id,
    )
    assert actions(tenant) == ["promoted", "requested", "promoted"]
    with tenant_scope(tenant.id):
        last = audit_queries.entries(audit_queries.EntryFilter(action="models_app.model_version.promoted"))[0]
        assert last.changes["requested_by"] == [None, engineer.label]
        assert last.changes["approved_by"] == [None, admin.label]
        assert queries.waiting_list(admin) == []


def into_production(tenant, version_id) -> ModelVersion:
    """Request production as an engineer and grant it as an admin."""
    registry.promote(actor=actor_for(tenant, "engineer"), version_id=version_id, stage="production")
    return registry.promote(actor=actor_for(tenant, "admin"), version_id=version_id, stage="production")


def key_of(creator, scopes=("models.manage", "models.approve", "apikeys.manage")):
    """Return an API key of a person, or of a key, as an actor."""
    made = api_keys.create_api_key(actor=creator, name="ci", scopes=list(scopes))
    return replace(creator, kind="api_key", id=made.id, label="ci", permissions=frozenset({*scopes, "tenant.view"}))


def test_no_requester_approves_their_own_request_by_any_key(version):
    tenant, version_id = version
    owner, other = actor_for(tenant, "owner"), actor_for(tenant, "owner")
    key = key_of(owner)
    below = key_of(key)
    faces = (owner, key, below, key_of(owner))
    for asker in faces:
        asked = registry.promote(actor=asker, version_id=version_id, stage="production")
        assert (asked.stage, registry.waits(asked)) == ("registered", True)
        for approver in faces:
            with pytest.raises(registry.SelfApproval):
                registry.approve(actor=approver, version_id=version_id)
            again = registry.promote(actor=approver, version_id=version_id, stage="production")
            assert again.stage == "registered"
        # Declined, archived and requested again with another credential of the same person, it is still one person.
        registry.decline(actor=asker, version_id=version_id)
        registry.promote(actor=asker, version_id=version_id, stage="archived")
        registry.promote(actor=asker, version_id=version_id, stage="registered")
    registry.promote(actor=below, version_id=version_id, stage="production")
    granted = registry.approve(actor=key_of(other), version_id=version_id)
    assert (granted.stage, granted.requested_by, granted.approved_by_label) == ("production", owner.id, "the key ci")


def test_the_key_of_the_installation_counts_as_its_owner(version):
    tenant, version_id = version
    owner = actor_for(tenant, "owner")
    system = Actor.system(tenant.id, "bootstrap")
    scopes = ["models.manage", "models.approve"]
    made = api_keys.create_api_key(
        actor=system, name="bootstrap", scopes=scopes, given=api_keys.Given(responsible_id=owner.id)
    )
    key = replace(owner, kind="api_key", id=made.id, label="bootstrap", permissions=frozenset(scopes))
    registry.promote(actor=key, version_id=version_id, stage="production")
    for approver in (key, owner):
        with pytest.raises(registry.SelfApproval):
            registry.approve(actor=approver, version_id=version_id)


def test_an_only_member_approves_alone_where_the_organisation_says_so():
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        only = Membership.objects.select_related("user").get()
    owner = Actor.member(tenant_id=tenant.id, user_id=only.user_id, email=only.user.email, role="owner")
    version_id = make_version(owner, stage="registered").id
    assert registry.promote(actor=owner, version_id=version_id, stage="production").stage == "registered"
    client = Client()
    client.force_login(only.user)
    client.get(f"/t/{tenant.slug}/")

    def allow():
        return client.patch("/api/v1/organisation/", {"self_approval": True}, content_type="application/json")

    assert allow().json()["self_approval"] is True
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.get(action="tenants.tenant.changed").changes == {"self_approval": [False, True]}
    assert registry.approve(actor=owner, version_id=version_id).stage == "production"
    actor_for(tenant, "viewer")
    later = make_version(owner, "later", stage="registered").id
    assert registry.promote(actor=owner, version_id=later, stage="production").stage == "registered"
    client.patch("/api/v1/organisation/", {"self_approval": False}, content_type="application/json")
    assert (allow().status_code, allow().json()["code"]) == (409, "not_alone")


@pytest.mark.parametrize("role", ["viewer", "finance"])
def test_other_roles_cannot_promote_a_version(version, role):
    tenant, version_id = version
    with pytest.raises(PermissionDenied):
        registry.promote(actor=actor_for(tenant, role), version_id=version_id, stage="staging")


def test_an_engineer_approves_nothing(version):
    tenant, version_id = version
    engineer = actor_for(tenant, "engineer")
    registry.promote(actor=engineer, version_id=version_id, stage="production")
    for act in (registry.approve, registry.decline):
        with pytest.raises(PermissionDenied):
            act(actor=engineer, version_id=version_id)
    assert row(tenant, version_id).stage == "registered"


def test_an_unrequested_approval_is_refused(version):
    tenant, version_id = version
    admin = actor_for(tenant, "admin")
    with pytest.raises(NothingToApprove):
        registry.approve(actor=admin, version_id=version_id)
    registry.promote(actor=actor_for(tenant, "engineer"), version_id=version_id, stage="production")
    declined = registry.decline(actor=admin, version_id=version_id)
    assert (declined.stage, declined.requested_at) == ("registered", None)
    with pytest.raises(NothingToApprove):
        registry.decline(actor=admin, version_id=version_id)
    assert actions(tenant) == ["requested", "declined"]


def told(tenant, email: str) -> list[Notification]:
    with tenant_scope(tenant.id):
        return list(Notification.objects.filter(user__email=email).order_by("id"))


def raised(tenant) -> int:
    with tenant_scope(tenant.id):
        return OutboxMessage.objects.filter(topic="tenants.NotificationRaised").count()


def test_the_requester_is_notified_and_the_approvers_notification_ends(version):
    tenant, version_id = version
    engineer, colleague = actor_for(tenant, "engineer"), actor_for(tenant, "engineer")
    admin, owner = actor_for(tenant, "admin"), actor_for(tenant, "owner")
    page = f"models/versions/{version_id}/"

    registry.promote(actor=engineer, version_id=version_id, stage="production")
    assert [note.read_at for note in told(tenant, owner.label)] == [None]
    before = raised(tenant)
    registry.decline(actor=admin, version_id=version_id, reason="  Trained on last year's table. ")
    assert all(note.read_at for note in told(tenant, owner.label))
    assert raised(tenant) == before + 1  # by email, too
    (no,) = told(tenant, engineer.label)
    assert (no.kind, no.title, no.path) == ("model.declined", "a model v2 was declined for production", page)
    assert no.body == f"{admin.label} declined; it stays in registered. Reason: Trained on last year's table."
    with tenant_scope(tenant.id):
        entry = AuditEntry.objects.get(action="models_app.model_version.declined")
        assert entry.reason == "Trained on last year's table."

    registry.promote(actor=colleague, version_id=version_id, stage="production")
    registry.promote(actor=admin, version_id=version_id, stage="production")
    (yes,) = told(tenant, colleague.label)
    assert (yes.kind, yes.title, yes.path) == ("model.approved", "a model v2 is in production", page)
    assert admin.label in yes.body
    assert yes.read_at is None
    assert len(told(tenant, engineer.label)) == 1
    assert all(note.read_at for note in told(tenant, owner.label))


def test_a_keys_request_is_decided_towards_its_creator_if_still_a_member(version):
    tenant, version_id = version
    admin, creator = actor_for(tenant, "admin"), actor_for(tenant, "engineer")
    with tenant_scope(tenant.id):
        key = ApiKey.objects.create(
            name="ci", prefix="exq_x", key_hash=b"x", scopes=["models.manage"], created_by=creator.label, created_by_id=creator.id
        )  # fmt: skip
    asker = replace(creator, kind="api_key", id=key.id, label="ci")
    registry.promote(actor=asker, version_id=version_id, stage="production")
    registry.decline(actor=admin, version_id=version_id)
    (no,) = told(tenant, creator.label)
    assert no.body.endswith("No reason was given.")
    registry.promote(actor=asker, version_id=version_id, stage="production")
    with tenant_scope(tenant.id):
        Membership.objects.filter(user_id=creator.id).delete()
    registry.approve(actor=admin, version_id=version_id)
    assert len(told(tenant, creator.label)) == 1


def test_archiving_ends_a_request_and_notifies_the_requester(version):
    tenant, version_id = version
    engineer, colleague = actor_for(tenant, "engineer"), actor_for(tenant, "engineer")
    owner = actor_for(tenant, "owner")
    registry.promote(actor=engineer, version_id=version_id, stage="production")
    registry.promote(actor=engineer, version_id=version_id, stage="archived")
    assert told(tenant, engineer.label) == []
    assert all(note.read_at for note in told(tenant, owner.label))
    registry.promote(actor=engineer, version_id=version_id, stage="staging")
    registry.promote(actor=engineer, version_id=version_id, stage="production")
    registry.promote(actor=colleague, version_id=version_id, stage="archived")
    (note,) = told(tenant, engineer.label)
    assert note.title == "a model v2 was archived"
    assert colleague.label in note.body


@pytest.mark.parametrize("reason", ["x" * 501, "nul\x00"])
def test_a_reason_that_cannot_be_kept_declines_nothing(version, reason):
    tenant, version_id = version
    registry.promote(actor=actor_for(tenant, "engineer"), version_id=version_id, stage="production")
    with pytest.raises(Invalid):
        registry.decline(actor=actor_for(tenant, "admin"), version_id=version_id, reason=reason)
    assert registry.waits(row(tenant, version_id))


def test_archiving_takes_a_request_back_and_leaving_production_its_approval(version):
    tenant, version_id = version
    engineer, admin = actor_for(tenant, "engineer"), actor_for(tenant, "admin")
    registry.promote(actor=engineer, version_id=version_id, stage="production")
    registry.promote(actor=engineer, version_id=version_id, stage="archived")
    with pytest.raises(NothingToApprove):
        registry.approve(actor=admin, version_id=version_id)
    into_production(tenant, version_id)
    registry.promote(actor=engineer, version_id=version_id, stage="staging")
    found = row(tenant, version_id)
    assert (found.stage, found.approved_by, found.approved_by_label, found.requested_by_label) == (
        "staging",
        None,
        "",
        "",
    )


@pytest.mark.parametrize("stage", ["archived", "staging", "registered"])
def test_a_version_that_answers_at_an_endpoint_stays_in_production(version, stage):
    tenant, version_id = version
    owner = actor_for(tenant, "owner")
    found = into_production(tenant, version_id)
    with tenant_scope(tenant.id):
        endpoint = Endpoint.objects.create(name="e", project_id=found.project_id, version=found, created_by_label="o")
    with pytest.raises(VersionServes):
        registry.promote(actor=owner, version_id=version_id, stage=stage)
    with tenant_scope(tenant.id):
        Endpoint.objects.filter(id=endpoint.id).update(state="undeployed")
    assert registry.promote(actor=owner, version_id=version_id, stage=stage).stage == stage


def test_an_unknown_stage_and_a_foreign_version_are_refused(version):
    tenant, version_id = version
    with pytest.raises(Invalid):
        registry.promote(actor=actor_for(tenant, "owner"), version_id=version_id, stage="gold")
    with pytest.raises(NotFound):
        registry.promote(actor=actor_for(make_tenant(), "owner"), version_id=version_id, stage="staging")
