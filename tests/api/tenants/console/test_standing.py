"""A tenant's standing on every route: what it withholds is refused with its reason, and nothing else changes."""

from typing import Any

import pytest
from django.test import Client

from tenants.access.standing import Standing, TakesAway, withholds
from tenants.audit import AuditAction
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.api.objects import one_of_everything
from tests.api.test_fuzz import GOOD
from tests.api.test_matrix import API, BODIES, PAGES, call, client_for, path_of
from tests.support import factories
from tests.support.pages import routes_below, text_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("standing", ["suspended", "closing"])
def test_each_standing_withholds_what_the_table_says_on_every_route(standing: Standing, as_control: Any) -> None:
    tenant = factories.make_tenant("ours")
    ids = {name: str(value) for name, value in one_of_everything(tenant).items()}
    headers = {"Authorization": f"Bearer {factories.make_api_key(tenant)}"}
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing=standing)
    with tenant_scope(tenant.id):
        before = AuditEntry.objects.count()
    faults, refused = [], 0
    for route, pattern in routes_below("config.urls", "api/v1/"):
        path = "/" + route
        for name, value in ids.items():
            path = path.replace(f"<uuid:{name}>", value).replace(f"<str:{name}>", value)
        for method, permission in pattern.callback.cls.permissions.items():
            if not withholds(standing, permission):
                continue
            answer = getattr(Client(), method.lower())(path, {}, content_type="application/json", headers=headers)
            refused += 1
            if (answer.status_code, answer.json().get("code")) != (403, "tenant_suspended"):
                faults.append(f"{method} {path}: {answer.status_code} {answer.content[:120]!r}")
    assert faults == []
    assert refused >= (14 if standing == "suspended" else 34)
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.count() == before, "nothing was done"


def test_whoever_asks_with_whatever_right_nothing_is_written_in_what_closes(as_control: Any) -> None:
    """With valid bodies, so that only the standing can be what refuses."""
    tenant = factories.make_tenant("ours")
    ids = one_of_everything(tenant)
    owner = client_for(tenant, "owner")
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="closing")
    with tenant_scope(tenant.id):
        newest = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]
    told = {f"{kind}_id": str(ids[f"{kind}_id"]) for kind in ("user", "group", "project") if f"{kind}_id" in ids}
    for route, methods in API.items():
        nouns = [part for part in route.split("/") if part and "<" not in part]
        good = GOOD.get(" ".join(nouns[-2:]), GOOD.get(nouns[-1], {}))
        body = {name: told.get(name, value) for name, value in (BODIES.get(route) or good).items()}
        for method in set(methods) - {"GET"}:
            call(owner, method, path_of("/api/v1/", route, ids), body)
    for route in PAGES:
        owner.post(path_of("/t/ours/", route, ids), {"role": "viewer", "reason": "to read", "email": "x@y.example"})
    with tenant_scope(tenant.id):
        written = set(AuditEntry.objects.filter(seq__gt=newest).values_list("action", flat=True))
    assert written <= AuditAction.allowed_while_closing, written - AuditAction.allowed_while_closing
    assert written, "what stops work is still done"


def test_what_needs_no_permission_is_refused_in_what_closes_too(as_control: Any) -> None:
    tenant = factories.make_tenant("ours")
    viewer = client_for(tenant, "viewer")
    asked = {"role": "finance", "reason": "to read invoices"}
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="closing")
    refused = call(viewer, "POST", "/api/v1/access/requests/", asked)
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_suspended")
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="active")
    assert call(viewer, "POST", "/api/v1/access/requests/", asked).status_code == 201


@pytest.mark.parametrize("standing", ["suspended", "closing"])
def test_what_takes_rights_away_stays_possible_in_every_standing(standing: Standing, as_control: Any) -> None:
    """By the API, every route that is declared so: leaked keys and leavers wait for nobody."""
    tenant = factories.make_tenant("ours")
    ids = {name: str(value) for name, value in one_of_everything(tenant).items()}
    owner = client_for(tenant, "owner")
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing=standing)
    done, faults = [], []
    for route, pattern in routes_below("config.urls", "api/v1/"):
        path = "/" + route
        for name, value in ids.items():
            path = path.replace(f"<uuid:{name}>", value).replace(f"<str:{name}>", value)
        for method, permission in pattern.callback.cls.permissions.items():
            if method == "GET" or not isinstance(permission, TakesAway):
                continue
            answer = owner.generic(method, path)
            if answer.status_code in (200, 204):
                done.append(path)
            elif answer.status_code != 404:  # what ended with something before it
                faults.append(f"{method} {path}: {answer.status_code} {answer.content[:160]!r}")
    assert faults == []
    assert len(done) >= 8


def test_the_pages_of_what_closes_offer_to_take_rights_away_and_nothing_else(as_control: Any) -> None:
    tenant = factories.make_tenant("ours")
    owner, leaver = client_for(tenant, "owner"), factories.make_member(tenant, "engineer", "leaver@ours.example")
    factories.make_api_key(tenant)
    with as_control():
        Tenant.objects.filter(id=tenant.id).update(standing="closing")
    members = text_of(owner.get("/t/ours/members/", {"member": str(leaver.id)}))
    assert "Remove leaver@ours.example from" in members
    assert "Change role" not in members and "Invite someone" not in members
    assert owner.post(f"/t/ours/members/{leaver.id}/remove/").status_code == 302
    keys = text_of(owner.get("/t/ours/api-keys/"))
    assert "Revoke test key" in keys and "Rotate test key" not in keys
    assert "Withdraw" in text_of(owner.get("/t/ours/access/"))
