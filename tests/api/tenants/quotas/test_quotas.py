"""Quotas by API and page: scopes, units, ceilings, and what a change would do."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.test import Client

from compute.jobs import jobs
from tenants import quotas
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant, User
from tenants.quotas import ORGANISATION, Scope
from tests.integration.compute.test_leases import Control, World
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db(transaction=True)


class Api:
    """The endpoint with a key of an owner."""

    def __init__(self, tenant: Tenant) -> None:
        key = {"authorization": f"Bearer {factories.make_api_key(tenant)}"}
        self.put = partial(Client().put, "/api/v1/quotas/", content_type="application/json", headers=key)
        self.get = partial(Client().get, headers=key)

    def rows(self, scope: str = "") -> list[dict[str, Any]]:
        """List limits."""
        answer = self.get(f"/api/v1/quotas/{f'?scope={scope}' if scope else ''}")
        assert answer.status_code == 200, answer.content
        found: list[dict[str, Any]] = answer.json()["results"]
        return found


def test_what_earlier_clients_send_and_read_means_the_same() -> None:
    api = Api(factories.make_tenant())
    answer = api.put({"resource": "devices:cpu", "limit": 4})
    assert answer.status_code == 200
    assert {"resource": "devices:cpu", "limit": 4, "in_use": 0}.items() <= answer.json().items()
    (row,) = api.rows()
    assert (row["resource"], row["limit"], row["in_use"], row["scope"]) == ("devices:cpu", 4, 0, "tenant")
    assert api.put({"resource": "devices:cpu", "limit": None}).json()["limit"] is None


@pytest.mark.parametrize("named", ["id", "short name", "address"])
def test_limits_of_projects_and_people_are_set_by_id_or_name(named: str) -> None:
    tenant = factories.make_tenant()
    api, project = Api(tenant), factories.make_project(tenant, "speech")
    person = factories.make_member(tenant, "engineer", "ann@example.org")
    scope = {"id": f"project:{project.id}", "short name": "project:speech", "address": "person:ann@example.org"}[named]
    stored = f"person:{person.id}" if named == "address" else f"project:{project.id}"
    answer = api.put({"resource": "devices:cpu", "limit": 2, "scope": scope, "guaranteed": 1, "weight": 3})
    assert answer.status_code == 200, answer.content
    assert answer.json()["scope"] == stored
    assert api.rows() == []
    (row,) = api.rows(scope)
    assert (row["limit"], row["guaranteed"], row["weight"], row["period"]) == (2, 1, 3, "at_once")
    assert api.rows("all") == [row]
    api.put({"resource": "devices:cpu", "limit": 5, "scope": scope})
    assert api.rows(scope)[0]["guaranteed"] == 1, "what is not named stays"


@pytest.mark.parametrize("scope", ["project:nowhere", "person:nobody@example.org", "person:", "team:x", "tenant:x"])
def test_a_scope_that_does_not_exist_is_named(scope: str) -> None:
    api = Api(factories.make_tenant())
    refused = api.put({"resource": "devices:cpu", "limit": 2, "scope": scope})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["scope"])
    assert api.get(f"/api/v1/quotas/?scope={scope}").status_code == 400


def test_nobody_limits_a_project_or_a_person_of_another_organisation() -> None:
    api, other = Api(factories.make_tenant()), factories.make_tenant()
    project, person = factories.make_project(other), factories.make_member(other, "viewer")
    for scope in (f"project:{project.id}", f"person:{person.id}", f"person:{person.email}"):
        assert api.put({"resource": "devices:cpu", "limit": 2, "scope": scope}).status_code == 400


def test_figures_are_in_the_unit_of_the_resource_and_a_wrong_period_is_refused() -> None:
    tenant = factories.make_tenant()
    api = Api(tenant)
    row = api.put({"resource": "device_hours:cpu", "limit": 500, "period": "month"}).json()
    assert (row["limit"], row["unit"], row["period"], row["left"]) == (500, "hours", "month", 500)
    with tenant_scope(tenant.id):
        quotas.reserve(resource="device_hours:cpu", subject="job:1", amount=5400)
        assert quotas.usage()[0].limit == 500 * 3600
    assert (api.rows()[0]["in_use"], api.rows()[0]["left"]) == (1.5, 498.5)
    refused = api.put({"resource": "devices:cpu", "limit": 5, "period": "month"})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["period"])
    refused = api.put({"resource": "storage:datasets", "limit": 5, "scope": "project:default"})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["scope"])


def test_a_limit_above_the_ceiling_is_a_409_that_says_so(as_control: Control) -> None:
    tenant = factories.make_tenant()
    api, operator = Api(tenant), Actor.system(tenant.id, "operator")
    with as_control():
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=8, reason="as in the contract")
    refused = api.put({"resource": "devices:cpu", "limit": 9})
    assert (refused.status_code, refused.json()["code"], refused.json()["ceiling"]) == (409, "above_ceiling", 8)
    assert "ask them to raise the ceiling" in refused.json()["title"]
    row = api.put({"resource": "devices:cpu", "limit": 6}).json()
    assert (row["limit"], row["ceiling"], row["effective_limit"]) == (6, 8, 6)
    with as_control():
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=3, reason="fewer devices")
    assert (api.rows()[0]["limit"], api.rows()[0]["effective_limit"]) == (6, 3)
    person = Client()
    person.force_login(factories.make_member(tenant, "viewer"))
    page = text_of(person.get(f"/t/{tenant.slug}/quotas/"))
    assert "operators’ ceiling 3, which binds" in page
    assert "Change the limit" not in page


def test_a_change_shows_what_would_wait_before_it_is_made(as_control: Control) -> None:
    world = World(as_control)
    names = []
    for name in ("first", "second", "third"):
        world.submit()
        names.append(name)
    world.assign()
    person, path = Client(), f"/t/{world.tenant.slug}/quotas/"
    person.force_login(User.objects.get(id=world.actor.id))
    scope = Scope(project_id=world.project).text
    for limit, said in (
        ("1", "More than the new limit is in use. Running work continues: a, a."),
        ("1", "1 queued job would wait: a."),
        ("3", "1 queued job could start when a device is free."),
        ("", "This resource no longer limits launches."),
    ):
        shown = text_of(person.post(f"{path}change/", {"resource": "devices:cpu", "limit": limit, "scope": scope}))
        assert said in shown
    hours = text_of(person.post(f"{path}change/", {"resource": "device_hours:cpu", "limit": "0", "scope": scope}))
    assert "New requests are refused until the next month" in hours
    with tenant_scope(world.tenant.id):
        assert all(use.limit is None for use in quotas.everywhere()), "nothing is stored before it is confirmed"
    confirmed = {"resource": "devices:cpu", "limit": "1", "scope": scope, "was": "", "confirmed": "1"}
    assert person.post(f"{path}change/", confirmed).status_code == 302
    with tenant_scope(world.tenant.id):
        entry = AuditEntry.objects.filter(action="tenants.quota.changed").get()
        assert entry.changes == {"limit": [None, 1]} and "of project" in entry.target_label
    page = text_of(person.get(path))
    assert "2 of 1" in page and "Projects" in page and "People" in page
    file = b"".join(person.get(f"{path}?export=csv")).decode()  # type: ignore[call-overload]
    assert f'"devices:cpu",1,2,"{world.actor.label}"' in file and scope in file


def test_the_quote_names_each_limit_and_what_is_left_after_the_launch(as_control: Control) -> None:
    world = World(as_control)
    quotas.set_limit(actor=world.actor, resource="devices:cpu", limit=1)
    quotas.set_limit(actor=world.actor, resource="device_hours:cpu", limit=1, scope=Scope(project_id=world.project))
    world.running()
    order = {"name": "q", "kind": "tick", "project": "default", "steps": 3, "store": "x", "device_class": "cpu"}
    key = {"authorization": f"Bearer {factories.make_api_key(world.tenant)}"}
    post = partial(Client().post, "/api/v1/quotes/", content_type="application/json", headers=key)
    quote = post({**order, "max_seconds": 2000}).json()
    assert quote["quota_left_after"] == 0
    found = {one["resource"]: one for one in quote["quotas"]}
    devices, hours = found["devices:cpu"], found["device_hours:cpu"]
    assert (devices["fits"], devices["waits"], devices["in_use"], devices["limit"]) == (False, True, 1, 1)
    assert hours["fits"] and 0 < hours["left_after"] < 0.5 and hours["scope"].startswith("project:")
    refused = post({**order, "max_seconds": 3600}).json()["quotas"]
    assert [one["resource"] for one in refused if not one["fits"] and not one["waits"]] == ["device_hours:cpu"]


def test_a_lowered_limit_pauses_nothing_and_counts_to_the_end(as_control: Control) -> None:
    world = World(as_control)
    mine = world.running()
    quotas.set_limit(actor=world.actor, resource="devices:cpu", limit=0)
    with tenant_scope(world.tenant.id):
        use = next(one for one in quotas.everywhere() if (one.resource, one.scope) == ("devices:cpu", ORGANISATION))
    assert (use.in_use, use.over, use.left) == (1, 1, 0)
    assert jobs.cancel(actor=world.actor, job_id=mine.job.id).state == "cancelled"
