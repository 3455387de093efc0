"""The API's own description, which client authors read first."""

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from tenants.access.permissions import PERMISSIONS
from tests.support import factories

pytestmark = pytest.mark.django_db


def test_every_operation_has_a_summary_and_scope_after_a_quick_start() -> None:
    described = json.loads(Client().get("/api/schema/?format=json").content)
    operations = [
        (f"{method} {path}", one)
        for path, methods in described["paths"].items()
        for method, one in methods.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]
    assert len(operations) > 80
    assert [name for name, one in operations if not 3 < len(one.get("summary", "")) < 140] == []
    assert [name for name, one in operations if one["x-scope"] not in PERMISSIONS] == []
    assert [name for name, one in operations if f"Scope: `{one['x-scope']}`" not in one["description"]] == []
    start = described["info"]["description"]
    assert start.index("Quick start") < start.index("curl")
    paths = {re.sub(r"\{.*?\}", "X", path) for path in described["paths"]}
    for called in re.findall(r"\$HOST(/api/v1/\S*)", start):
        assert re.sub(r"\$[A-Z]+/", "X/", called) in paths, called


def test_the_page_of_keys_leads_there() -> None:
    tenant = factories.make_tenant("lab")
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    assert '<a href="/api/docs/">' in client.get(reverse("api-keys-page", args=["lab"])).content.decode()
