"""A tenant's standing on every route: what it withholds is refused with its reason, and nothing else changes."""

from typing import Any

import pytest
from django.test import Client

from tenants.access.standing import WITHHELD, Standing
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.pages import routes_below

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
            if permission not in WITHHELD[standing]:
                continue
            answer = getattr(Client(), method.lower())(path, {}, content_type="application/json", headers=headers)
            refused += 1
            if (answer.status_code, answer.json().get("code")) != (403, "tenant_suspended"):
                faults.append(f"{method} {path}: {answer.status_code} {answer.content[:120]!r}")
    assert faults == []
    assert refused >= (15 if standing == "suspended" else 40)
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.count() == before, "nothing was done"
