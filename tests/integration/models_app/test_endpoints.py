"""Deploying, rolling over, undeploying, and the keys of endpoints, against the real database."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from compute.allocations import allocations
from compute.devices.base import Found
from compute.fleet import nodes
from compute.scheduling import slots
from models_app.endpoints import deployments, endpoint_keys, endpoints, slot_events
from models_app.endpoints.deployments import EndpointMoved, EndpointNameTaken, VersionNotApproved
from models_app.models import Endpoint, EndpointKey
from tenants import quotas
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, IdempotencyKey, OutboxMessage, Tenant
from tests.support import factories
from tests.support.endpoints import make_endpoint, make_version

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]


def actions(tenant: Tenant, start: str = "models_app.endpoint") -> list[str]:
    with tenant_scope(tenant.id):
        rows = AuditEntry.objects.filter(action__startswith=start).order_by("seq")
        return list(rows.values_list("action", flat=True))


def row(tenant: Tenant, endpoint_id: uuid.UUID) -> endpoints.EndpointRow:
    with tenant_scope(tenant.id):
        return endpoints.endpoint_detail(factories.actor_for(tenant), endpoint_id)


def slots_in_use(tenant: Tenant) -> int:
    with tenant_scope(tenant.id):
        return sum(use.in_use for use in quotas.usage() if use.resource == allocations.QUOTA)


def serving_node(name: str = "serving.a", number: int = 2) -> nodes.Registered:
    found = [Found(f"slot-{i}", "cpu", "serving", f"Serving slot {i} of {name}", i, 0) for i in range(number)]
    return nodes.register(name=name, hostname="h", boot=uuid.uuid4(), found=found, missing_layers=[], serves=True)


def logged_in(tenant: Tenant, role: str = "engineer") -> Client:
    client = Client()
    client.force_login(factories.make_member(tenant, role))
    client.get("/api/v1/me/")
    return client


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers)


def test_a_version_in_production_is_deployed_and_waits_for_a_slot() -> None:
    tenant = factories.make_tenant()
    version = make_version(tenant, "leavers")
    endpoint = deployments.deploy(actor=factories.actor_for(tenant, "engineer"), name="churn", version_id=version.id)
    seen = row(tenant, endpoint.id)
    assert (seen.state, seen.answers, seen.generation, seen.message) == (
        "deploying",
        False,
        1,
        allocations.WAITING_REASON,
    )
    assert (seen.version_label, seen.project, seen.predict_path) == (
        "leavers v1",
        "default",
        "/v1/models/churn:predict",
    )
    assert slots_in_use(tenant) == 1
    assert actions(tenant) == ["models_app.endpoint.deployed"]
    assert actions(tenant, "compute.slot") == ["compute.slot.requested"]
    with tenant_scope(tenant.id):
        assert OutboxMessage.objects.filter(topic="models_app.EndpointDeployed").count() == 1


@pytest.mark.parametrize("stage", ["registered", "staging", "archived"])
def test_an_unapproved_version_is_not_deployed(stage: str) -> None:
    tenant = factories.make_tenant()
    version = make_version(tenant, stage=stage)
    with pytest.raises(VersionNotApproved) as refused:
        make_endpoint(tenant, version=version)
    assert (refused.value.code, refused.value.status) == ("version_not_approved", 409)
    assert refused.value.extra["stage"] == stage
    with tenant_scope(tenant.id):
        assert Endpoint.objects.count() == 0
    assert slots_in_use(tenant) == 0


@pytest.mark.parametrize("name", ["", "Churn", "-churn", "churn_1", "ch urn", "a" * 64, "chürn", "churn\n", "a/b"])
def test_a_name_that_no_address_can_carry_is_refused(name: str) -> None:
    tenant = factories.make_tenant()
    version = make_version(tenant)
    with pytest.raises(Invalid) as refused:
        make_endpoint(tenant, name=name, version=version)
    assert list(refused.value.fields) == ["name"]


@pytest.mark.parametrize("name", ["a", "0", "a" * 63, "churn-2", "churn-"])
def test_a_valid_name_is_accepted(name: str) -> None:
    assert make_endpoint(factories.make_tenant(), name=name).name == name


def test_every_wrong_field_is_named_at_once() -> None:
    tenant = factories.make_tenant()
    with pytest.raises(Invalid) as refused:
        deployments.deploy(
            actor=factories.actor_for(tenant), name="X", version_id=uuid.uuid4(), project_id=uuid.uuid4(), slo_ms=5
        )
    assert sorted(refused.value.fields) == ["name", "project", "slo_ms"]


def test_only_those_who_may_deploy() -> None:
    tenant = factories.make_tenant()
    version = make_version(tenant)
    for role in ("viewer", "finance"):
        with pytest.raises(PermissionDenied):
            deployments.deploy(actor=factories.actor_for(tenant, role), name="churn", version_id=version.id)


def test_an_endpoint_rolls_over_and_goes_on_answering() -> None:
    tenant, actor = (made := factories.make_tenant()), factories.actor_for(made)
    first, second = make_version(tenant, "old"), make_version(tenant, "new", artefact_key="there")
    endpoint = make_endpoint(tenant, version=first)
    assert deployments.report(tenant_id=tenant.id, endpoint_id=endpoint.id, generation=1, state="ready")
    again = deployments.deploy(actor=actor, name="churn", version_id=second.id)
    assert again.id == endpoint.id
    seen = row(tenant, endpoint.id)
    assert (seen.state, seen.version_label, seen.generation) == ("ready", "new v1", 2)
    order = deployments.load_order(tenant.id, endpoint.id)
    assert (order.version_id, order.generation, order.version_label, order.number) == (second.id, 2, "new v1", 1)
    assert order.weights.key == "there"
    assert (order.wanted, order.baseline, order.slo_ms) == (True, second.baseline, 2000)
    assert slots_in_use(tenant) == 1
    deployments.deploy(actor=actor, name="churn", version_id=second.id)
    assert row(tenant, endpoint.id).generation == 2, "the same version again changes nothing"
    assert actions(tenant) == [
        "models_app.endpoint.deployed",
        "models_app.endpoint.reported",
        "models_app.endpoint.deployed",
    ]
    deployments.deploy(actor=actor, name="churn", version_id=second.id, slo_ms=500)
    assert (row(tenant, endpoint.id).generation, row(tenant, endpoint.id).slo_ms) == (3, 500)


def test_a_report_counts_for_the_wanted_generation_only() -> None:
    tenant = factories.make_tenant()
    endpoint = make_endpoint(tenant)
    say = {"tenant_id": tenant.id, "endpoint_id": endpoint.id}
    assert deployments.report(**say, generation=2, state="ready") is False
    assert deployments.report(**say, generation=1, state="failed", message="The weights are damaged.") is True
    assert (row(tenant, endpoint.id).state, row(tenant, endpoint.id).message) == ("failed", "The weights are damaged.")
    assert deployments.report(**say, generation=1, state="failed", message="The weights are damaged.") is True
    assert actions(tenant).count("models_app.endpoint.reported") == 1
    with tenant_scope(tenant.id):
        version_id = Endpoint.objects.get().version_id
    deployments.deploy(actor=factories.actor_for(tenant), name="churn", version_id=version_id)
    assert (row(tenant, endpoint.id).state, row(tenant, endpoint.id).generation) == ("deploying", 2), "tried again"
    deployments.undeploy(actor=factories.actor_for(tenant), endpoint_id=endpoint.id)
    assert deployments.report(**say, generation=2, state="ready") is False
    with pytest.raises(ValueError, match="ready or failed"):
        deployments.report(**say, generation=2, state="undeployed")


def test_undeploying_gives_everything_back_and_frees_the_name() -> None:
    tenant, actor = (made := factories.make_tenant()), factories.actor_for(made)
    endpoint = make_endpoint(tenant)
    key = endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="shop")
    deployments.undeploy(actor=actor, endpoint_id=endpoint.id)
    deployments.undeploy(actor=actor, endpoint_id=endpoint.id)
    assert endpoint_keys.known([endpoint_keys.key_hash(key.secret)]) == []
    assert slots_in_use(tenant) == 0
    assert actions(tenant, "models_app.endpoint.undeployed") == ["models_app.endpoint.undeployed"]
    assert actions(tenant, "compute.slot") == ["compute.slot.requested", "compute.slot.released"]
    assert deployments.load_order(tenant.id, endpoint.id).wanted is False
    assert make_endpoint(tenant, version=make_version(tenant)).id != endpoint.id
    assert row(tenant, endpoint.id).live is False
    with pytest.raises(endpoint_keys.EndpointIsUndeployed):
        endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="late")


def test_without_quota_nothing_is_deployed() -> None:
    tenant, actor = (made := factories.make_tenant()), factories.actor_for(made)
    with tenant_scope(tenant.id):
        quotas.set_limit(actor=actor, resource=allocations.QUOTA, limit=1)
    make_endpoint(tenant)
    with pytest.raises(quotas.QuotaExceeded):
        make_endpoint(tenant, name="second", version=make_version(tenant))
    with tenant_scope(tenant.id):
        assert list(Endpoint.objects.values_list("name", flat=True)) == ["churn"]


def test_many_who_deploy_one_name_at_once_make_one_endpoint() -> None:
    tenant = factories.make_tenant()
    versions = [make_version(tenant) for _ in range(6)]
    actor, made, faults = factories.actor_for(tenant), [], []

    def deploy(version_id: uuid.UUID) -> None:
        try:
            made.append(deployments.deploy(actor=actor, name="churn", version_id=version_id).id)
        except Exception as fault:  # noqa: BLE001
            faults.append(fault)
        connection.close()

    threads = [threading.Thread(target=deploy, args=(version.id,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(set(made)) == 1
    assert slots_in_use(tenant) == 1
    assert row(tenant, made[0]).generation == 6


def test_a_live_endpoint_keeps_its_project() -> None:
    tenant = factories.make_tenant()
    version, other = make_version(tenant), factories.make_project(tenant)
    endpoint = make_endpoint(tenant, version=version)
    with pytest.raises(EndpointMoved):
        deployments.deploy(actor=factories.actor_for(tenant), name="churn", version_id=version.id, project_id=other.id)
    named = deployments.deploy(
        actor=factories.actor_for(tenant), name="other", version_id=version.id, project_id=other.id
    )
    assert (row(tenant, endpoint.id).project, row(tenant, named.id).project) == ("default", other.slug)


def test_endpoints_over_a_restricted_dataset_are_missing_for_others() -> None:
    tenant = factories.make_tenant()
    creator, stranger = factories.actor_for(tenant, "owner"), factories.actor_for(tenant, "engineer")
    secret, plain = make_version(tenant, restricted=True), make_version(tenant)
    endpoint = deployments.deploy(actor=creator, name="secret", version_id=secret.id)
    for act in (
        lambda: deployments.deploy(actor=stranger, name="x", version_id=secret.id),
        lambda: deployments.undeploy(actor=stranger, endpoint_id=endpoint.id),
        lambda: endpoint_keys.create(actor=stranger, endpoint_id=endpoint.id, name="k"),
    ):
        with pytest.raises(NotFound):
            act()
    with pytest.raises(EndpointNameTaken):
        deployments.deploy(actor=stranger, name="secret", version_id=plain.id)
    with tenant_scope(tenant.id):
        assert [seen.name for seen in endpoints.endpoint_list(creator)] == ["secret"]
        assert endpoints.endpoint_list(stranger) == []
        with pytest.raises(NotFound):
            endpoints.endpoint_detail(stranger, endpoint.id)


def test_a_foreign_version_or_endpoint_is_missing() -> None:
    ours, theirs = factories.make_tenant(), factories.make_tenant()
    version, endpoint = make_version(theirs), make_endpoint(theirs, name="theirs")
    actor = factories.actor_for(ours)
    with pytest.raises(NotFound):
        deployments.deploy(actor=actor, name="churn", version_id=version.id)
    with pytest.raises(NotFound):
        deployments.undeploy(actor=actor, endpoint_id=endpoint.id)
    with pytest.raises(NotFound):
        deployments.load_order(ours.id, endpoint.id)
    assert endpoints.endpoint_of(ours.id, endpoint.allocation_id) is None
    assert endpoints.endpoint_of(theirs.id, endpoint.allocation_id) == endpoint.id


def test_an_endpoint_follows_its_slot_from_node_to_node(as_control: Control, superuser: psycopg.Connection) -> None:
    tenant = factories.make_tenant()
    endpoint = make_endpoint(tenant)
    me = serving_node()
    with as_control():
        assert slots.assign_slots() == 1
    ((found, allocation_id),) = allocations.mine(me.node_id)
    assert (found, endpoints.endpoint_of(found, allocation_id)) == (tenant.id, endpoint.id)
    deployments.report(tenant_id=tenant.id, endpoint_id=endpoint.id, generation=1, state="ready")
    assert (row(tenant, endpoint.id).answers, row(tenant, endpoint.id).node) == (True, "serving.a")
    superuser.execute("UPDATE compute_node SET last_seen_at = clock_timestamp() - interval '1 hour'")
    superuser.execute("UPDATE compute_allocation SET lease_until = clock_timestamp() - interval '1 second'")
    with as_control():
        assert slots.reap_slots() == 1
        assert row(tenant, endpoint.id).answers is False
        outbox.drain(tenant.id)
    assert (row(tenant, endpoint.id).state, row(tenant, endpoint.id).message) == (
        "deploying",
        slot_events.DISPLACED,
    )
    assert actions(tenant)[-1] == "models_app.endpoint.displaced"
    serving_node("serving.b")
    with as_control():
        assert slots.assign_slots() == 1
    deployments.report(tenant_id=tenant.id, endpoint_id=endpoint.id, generation=1, state="ready")
    assert (row(tenant, endpoint.id).answers, row(tenant, endpoint.id).message) == (True, "")


def test_a_key_is_stored_as_a_hash_and_refused_once_revoked() -> None:
    tenant, actor = (made := factories.make_tenant()), factories.actor_for(made)
    endpoint = make_endpoint(tenant)
    key = endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name=" shop ", requests_per_minute=60)
    assert key.secret.startswith("exq_ep_")
    digest = endpoint_keys.key_hash(key.secret)
    (known,) = endpoint_keys.known([digest, b"\x00" * 32])
    assert (known.tenant_id, known.endpoint_id, known.id, known.digest) == (tenant.id, endpoint.id, key.id, digest)
    assert endpoint_keys.limits(tenant.id, endpoint.id) == {key.id: 60}
    with tenant_scope(tenant.id):
        stored = EndpointKey.objects.values().get()
        (shown,) = endpoints.endpoint_keys(actor, endpoint.id)
        text = str(stored) + str(list(AuditEntry.objects.values())) + str(list(OutboxMessage.objects.values()))
    assert key.secret not in text
    assert (shown.name, shown.prefix, shown.requests_per_minute) == ("shop", key.secret[:12], 60)
    for _ in range(2):
        endpoint_keys.revoke(actor=actor, endpoint_id=endpoint.id, key_id=key.id)
    assert endpoint_keys.known([digest]) == []
    assert actions(tenant, "models_app.endpoint_key") == [
        "models_app.endpoint_key.created",
        "models_app.endpoint_key.revoked",
    ]


def test_a_key_belongs_to_one_endpoint() -> None:
    tenant, actor = (made := factories.make_tenant()), factories.actor_for(made)
    first, second = make_endpoint(tenant), make_endpoint(tenant, name="second", version=make_version(tenant))
    key = endpoint_keys.create(actor=actor, endpoint_id=first.id, name="shop")
    with pytest.raises(NotFound):
        endpoint_keys.revoke(actor=actor, endpoint_id=second.id, key_id=key.id)
    assert len(endpoint_keys.known([endpoint_keys.key_hash(key.secret)])) == 1


@pytest.mark.parametrize(("name", "limit"), [("", 5), ("x" * 121, 5), ("k", 0), ("k", -1), ("k", 10**9)])
def test_a_key_with_wrong_fields_is_refused(name: str, limit: int) -> None:
    tenant = factories.make_tenant()
    endpoint = make_endpoint(tenant)
    with pytest.raises(Invalid):
        endpoint_keys.create(
            actor=factories.actor_for(tenant), endpoint_id=endpoint.id, name=name, requests_per_minute=limit
        )


def test_an_endpoint_has_no_more_keys_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_keys, "MOST_KEYS", 2)
    tenant, actor = (made := factories.make_tenant()), factories.actor_for(made)
    endpoint = make_endpoint(tenant)
    for number in range(2):
        endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name=f"key {number}")
    with pytest.raises(endpoint_keys.TooManyKeys):
        endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="one more")


def test_the_api_deploys_lists_and_undeploys() -> None:
    tenant = factories.make_tenant()
    client, version = logged_in(tenant), make_version(tenant)
    answer = post(client, "endpoints/", {"name": "churn", "version": str(version.id), "project": "default"})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["state"], made["version"], made["cost"]) == (
        "deploying",
        1,
        {"amount": "0.000000", "currency": "EUR"},
    )
    assert client.get(f"/api/v1/endpoints/{made['id']}/").json() == made
    assert [one["id"] for one in client.get("/api/v1/endpoints/").json()["results"]] == [made["id"]]
    assert client.get("/api/v1/endpoints/?state=ready").json()["results"] == []
    assert client.get("/api/v1/endpoints/?state=asleep").status_code == 400
    assert client.delete(f"/api/v1/endpoints/{made['id']}/").status_code == 204
    assert client.delete(f"/api/v1/endpoints/{made['id']}/").status_code == 204
    assert client.get(f"/api/v1/endpoints/{made['id']}/").json()["state"] == "undeployed"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid"),
        ({"name": "churn"}, 400, "invalid"),
        ({"name": 5, "version": "x"}, 400, "invalid"),
        ({"name": "churn", "version": "x"}, 400, "invalid"),
        ({"name": "churn", "version": str(uuid.uuid4())}, 404, "not_found"),
        ({"name": "churn", "version": str(uuid.uuid4()), "slo_ms": True}, 400, "invalid"),
        ({"name": "churn", "version": str(uuid.uuid4()), "slo_ms": 10**12}, 400, "invalid"),
        ({"name": "churn", "version": str(uuid.uuid4()), "project": "nowhere"}, 400, "invalid"),
    ],
)
def test_a_wrong_body_is_a_problem_with_a_message(body: dict[str, Any], status: int, code: str) -> None:
    answer = post(logged_in(factories.make_tenant()), "endpoints/", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_the_api_says_who_may_approve() -> None:
    tenant = factories.make_tenant()
    version = make_version(tenant, stage="staging")
    answer = post(logged_in(tenant), "endpoints/", {"name": "churn", "version": str(version.id)})
    assert (answer.status_code, answer.json()["code"]) == (409, "version_not_approved")
    assert "owner or admin" in answer.json()["title"]


def test_a_repeated_request_deploys_once_and_keeps_no_secret() -> None:
    tenant = factories.make_tenant()
    client, version = logged_in(tenant), make_version(tenant)
    body = {"name": "churn", "version": str(version.id)}
    first, second = (post(client, "endpoints/", body, **{"Idempotency-Key": "d1"}) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert second["Idempotent-Replayed"] == "true"
    path = f"endpoints/{first.json()['id']}/keys/"
    shown, again = (post(client, path, {"name": "shop"}, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert shown.status_code == again.status_code == 201
    assert shown.json()["key"].startswith("exq_ep_")
    assert again.json() == shown.json() | {"key": None}
    with tenant_scope(tenant.id):
        assert EndpointKey.objects.count() == 1
        assert shown.json()["key"] not in str(list(IdempotencyKey.objects.values()))
    (listed,) = client.get(f"/api/v1/{path}").json()["results"]
    assert "key" not in listed
    assert client.delete(f"/api/v1/{path}{listed['id']}/").status_code == 204
    assert client.get(f"/api/v1/{path}").json()["results"] == []


def test_a_list_of_endpoints_takes_a_fixed_number_of_queries(django_assert_max_num_queries: Any) -> None:
    tenant = factories.make_tenant()
    version = make_version(tenant)
    for number in range(12):
        make_endpoint(tenant, name=f"e-{number}", version=version)
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id), django_assert_max_num_queries(2):
        first = endpoints.endpoint_list(actor, limit=5)
    with tenant_scope(tenant.id):
        rest = endpoints.endpoint_list(actor, before=first[4].id, limit=50)
    assert [seen.name for seen in [*first[:5], *rest]] == [f"e-{number}" for number in reversed(range(12))]
