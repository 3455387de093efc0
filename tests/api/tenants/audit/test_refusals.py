"""What was refused for missing rights stands in the audit log, once in ten minutes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from tenants.audit.verify import verify
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab() -> tuple[Tenant, Client, Client]:
    """A tenant, with an owner and a viewer who are logged in."""
    tenant = factories.make_tenant("lab", owner="owner@lab.example")
    factories.make_member(tenant, "viewer", "ann@lab.example")
    clients = []
    for email in ("owner@lab.example", "ann@lab.example"):
        client = Client()
        client.post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
        clients.append(client)
    return tenant, clients[0], clients[1]


def refused(owner: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = owner.get("/api/v1/audit/?outcome=refused").json()["results"]
    return found


def asked(client: Client, path: str = "/api/v1/projects/") -> int:
    return client.post(path, {"slug": "mine", "name": "Mine"}, content_type="application/json").status_code


def test_a_change_without_the_right_is_an_entry_with_who_what_and_which_permission(
    lab: tuple[Tenant, Client, Client],
) -> None:
    tenant, owner, viewer = lab
    assert [asked(viewer), asked(viewer), asked(viewer, "/api/v1/budgets/")] == [403, 403, 403]
    budget, project = refused(owner)
    wanted = {
        "actor_type": "user",
        "actor_label": "ann@lab.example",
        "action": "tenants.request.refused",
        "target_label": "POST /api/v1/projects/",
        "outcome": "refused",
        "error_code": "permission_denied",
        "reason": "the permission projects.manage is missing",
    }
    assert {name: project[name] for name in wanted} == wanted
    assert budget["reason"] == "the permission budgets.manage is missing"
    cache.clear()  # ten minutes later, on a page
    assert viewer.post("/t/lab/projects/new/", {"slug": "mine", "name": "Mine"}).status_code == 403
    assert [one["target_label"] for one in refused(owner)[:1]] == ["POST /t/<slug:tenant>/projects/new/"]
    with tenant_scope(tenant.id):
        assert verify().ok


def test_reading_missing_objects_and_bad_input_are_no_refusals(lab: tuple[Tenant, Client, Client]) -> None:
    _, owner, viewer = lab
    assert viewer.get("/api/v1/audit/").status_code == 403
    assert owner.post("/api/v1/projects/", {}, content_type="application/json").status_code == 400
    assert owner.delete("/api/v1/budgets/00000000-0000-7000-8000-000000000000/").status_code == 404
    assert refused(owner) == []


def test_a_key_is_named_by_its_id(lab: tuple[Tenant, Client, Client]) -> None:
    tenant, owner, _ = lab
    key = factories.make_api_key(tenant, scopes=["jobs.view"])
    client = Client(headers={"Authorization": f"Bearer {key}"})
    assert asked(client) == 403
    (entry,) = refused(owner)
    assert (entry["actor_type"], entry["credential"]) == ("api_key", f"key:{entry['actor_id']}")
