"""Every endpoint knows its accepted parameters, methods, and the path without its last slash."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import structlog
from django.test import Client

from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project
from tenants.web import middleware
from tests.api.objects import missing, one_of_everything
from tests.architecture.test_edges import METHODS, routes
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.selling import provision_defaults

pytestmark = pytest.mark.django_db


def by_key(scopes: list[str] | None = None, slug: str = "") -> tuple[Client, Any]:
    tenant = factories.make_tenant(slug)
    headers = {"Authorization": f"Bearer {factories.make_api_key(tenant, scopes)}"}
    return Client(headers=headers, raise_request_exception=False), tenant


def readable() -> list[tuple[str, Any]]:
    """Return every route of the API that answers GET."""
    found = [(route, pattern) for route, pattern in routes() if route.startswith("api/v1/")]
    return [(route, pattern) for route, pattern in found if hasattr(pattern.callback.cls, "get")]


def filled(route: str, ids: dict[str, Any]) -> str:
    """Return the path of a route with ids of existing objects, or of none."""

    def value(match: re.Match[str]) -> str:
        return str(ids.get(match[2], uuid4() if match[1] == "uuid" else 1))

    return "/" + re.sub(r"<(\w+):(\w+)>", value, route)


def test_every_read_refuses_what_it_does_not_know_and_names_what_it_knows() -> None:
    client, tenant = by_key()
    ids = missing() | one_of_everything(tenant)
    found = readable()
    assert len(found) > 25
    for route, _ in found:
        path = filled(route, ids)
        for wrong in ("satte=paid", "format=json", "utm_source=x"):
            answer = client.get(f"{path}?{wrong}")
            assert answer.status_code == 400, (path, wrong, answer.content[:200])
            told = answer.json()["fields"][wrong.partition("=")[0]][0]
            known = wrong == "format=json" and told == "Use one of csv, parquet."  # a parameter of exports
            assert known or told.startswith("There is no such parameter here."), told
        assert client.head(f"{path}?satte=paid").status_code == 400
    told = client.get("/api/v1/jobs/?satte=paid").json()["fields"]["satte"][0]
    assert all(name in told for name in ("state", "project", "kind", "device_class", "name", "tag", "cursor", "limit"))
    assert client.get("/api/v1/jobs/?state=queued&state=failed").status_code == 400
    assert client.get("/api/v1/jobs/?tag=a:b&tag=c:d").status_code == 200
    assert client.get("/api/v1/projects/?limit=0").status_code == 400


def test_every_write_refuses_a_field_that_it_does_not_know_and_does_nothing() -> None:
    client, tenant = by_key()
    ids = missing() | one_of_everything(tenant)
    seen = 0
    for route, pattern in routes():
        view = getattr(pattern.callback, "cls", None)
        for method in ("post", "put", "patch"):
            if not route.startswith("api/v1/") or not hasattr(view, method) or view.reads_any_field:
                continue
            path = filled(route, ids)
            sent: Any = {"satte": "1"}
            form = route == "api/v1/datasets/" and method == "post"
            more = {} if form else {"content_type": "application/json"}
            answer = getattr(client, method)(path, sent if form else json.dumps(sent), **more)
            assert answer.status_code == 400, (path, method, answer.status_code, answer.content[:200])
            told = answer.json()["fields"]["satte"][0]
            assert told.startswith("There is no such field here."), told
            seen += 1
    assert seen > 25
    assert client.post("/api/v1/jobs/", json.dumps({"satte": 1}), content_type="application/json").status_code == 400


def test_a_misspelt_field_of_a_budget_makes_none() -> None:
    client, _ = by_key()
    budget = {"scope": "tenant", "amount": "10", "at_limt": "block_new"}
    assert client.post("/api/v1/budgets/", json.dumps(budget), content_type="application/json").status_code == 400
    assert client.get("/api/v1/budgets/").json()["results"] == []


@pytest.mark.parametrize("wrong", ["1_0", "１０", "٣", "1e", "0x1", "1,0", "--1", ""])
def test_a_number_consists_of_ascii_digits(wrong: str) -> None:
    client, _ = by_key()
    for method, path, body in (
        ("post", "budgets/", {"scope": "tenant", "amount": wrong}),
        ("put", "usage/limits/", {"events": 1, "amount": wrong}),
        ("put", "usage/limits/", {"events": wrong, "amount": "1"}),
        ("put", "quotas/", {"resource": "devices:cpu", "limit": wrong}),
    ):
        answer = getattr(client, method)(f"/api/v1/{path}", json.dumps(body), content_type="application/json")
        assert answer.status_code == 400, (path, answer.content[:200])


def test_a_price_needs_known_names() -> None:
    client, tenant = by_key()
    names = ["", "k" * 61, "\u202ereit", "tіer", "a b", "tag：team", "tag:team"]
    wrong = [{name: "x"} for name in names] + [{"tier": value} for value in ("", "a\u200bb", "v" * 201)]
    with tenant_scope(tenant.id):
        for dims in wrong:
            with pytest.raises(Invalid):
                selling.publish(prices=[selling.NewPrice("device_seconds", dims, Decimal(1))])
    assert len(client.get("/api/v1/price-books/").json()["results"][0]["versions"]) == 1
    key = {"name": "k", "scopes": ["tenant.view"], "expires_at": "2099-01-01T00:00:00"}
    assert client.post("/api/v1/api-keys/", json.dumps(key), content_type="application/json").status_code == 400


def test_a_missing_permission_is_reported_before_anything_else() -> None:
    client, _ = by_key(["tenant.view"])
    assert client.get("/api/v1/jobs/?satte=paid").status_code == 403
    assert Client().get("/api/v1/jobs/?satte=paid").status_code == 401


def test_a_write_with_an_unknown_query_parameter_does_nothing() -> None:
    client, tenant = by_key()
    body = json.dumps({"slug": "p1", "name": "P"})
    answer = client.post("/api/v1/projects/?dry_run=1", body, content_type="application/json")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["dry_run"])
    with tenant_scope(tenant.id):
        assert not Project.objects.filter(slug="p1").exists()


def test_every_list_is_paged_to_its_end_when_that_is_asked() -> None:
    client, tenant = by_key()
    one_of_everything(tenant)
    with tenant_scope(tenant.id):
        provision_defaults(tenant.id)
    for number in range(5):
        factories.make_project(tenant, f"more-{number}")
    for path in ("projects", "members", "api-keys", "meters", "recipes", "audit"):
        whole = client.get(f"/api/v1/{path}/?limit=200").json()["results"]
        assert len(whole) > 1
        seen, url = [], f"/api/v1/{path}/?limit=2"
        while url:
            page = client.get(url).json()
            assert len(page["results"]) <= 2
            seen += page["results"]
            url = page["next"]
        assert seen == whole, path
    assert client.get("/api/v1/projects/?cursor=x").status_code == 400
    assert len(client.get("/api/v1/projects/").json()["results"]) >= 6


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("jobs/?export=csv", "device_class"),
        ("audit/?export=csv", "action"),
        ("budgets/?export=csv", "export"),
        ("members/?export=csv", "export"),
        ("projects/?export=csv", "export"),
        ("quotas/?export=csv", "export"),
        ("prices/?export=csv", "export"),
        ("invoice/?export=csv", "export"),
        ("spend/export/daily.csv?", "from"),
        ("health/export/traffic.csv?", "range"),
    ],
)
def test_an_export_refuses_a_parameter_that_a_page_would_ignore(path: str, known: str) -> None:
    tenant = factories.make_tenant("lab")
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    answer = client.get(f"/t/lab/{path}&satte=paid")
    assert answer.status_code == 400
    assert "satte" in text_of(answer)
    assert known in text_of(answer)
    page = path.partition("?")[0]
    if not page.endswith(".csv"):
        assert client.get(f"/t/lab/{page}?utm_source=mail").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "jobs/?export=csv&state=failed&state=succeeded",
        "audit/?export=csv&actor=a&actor=b",
        "spend/export/daily.csv?range=7d&range=month",
        "spend/export/daily.csv?range=custom",
        "spend/export/daily.csv?range=custom&from=2026-11-05&to=2026-11-01",
        "spend/export/daily.csv?range=custom&from=lately&to=2026-11-01",
        "spend/export/daily.csv?from=2026-11-01&to=2026-11-05",
        "health/export/traffic.csv?range=24h&range=7d",
    ],
)
def test_an_export_refuses_parameters_it_would_misread(path: str) -> None:
    tenant = factories.make_tenant("lab")
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    assert client.get(f"/t/lab/{path}").status_code == 400
    days = "range=custom&from=2026-11-01&to=2026-11-05"
    assert client.get(f"/t/lab/spend/export/daily.csv?{days}").status_code == 200


def test_head_answers_as_get_and_options_says_what_there_is() -> None:
    client, tenant = by_key()
    ids = missing() | one_of_everything(tenant)
    for route, pattern in readable():
        path = filled(route, ids)
        got, headed, asked = client.get(path), client.head(path), client.options(path)
        if got.status_code == 503:
            continue  # the object store is not running: a HEAD does not use it
        assert headed.status_code == got.status_code, path
        assert headed["Content-Type"] == got["Content-Type"], path
        assert headed.streaming or headed.content == b""
        assert asked.status_code in (200, 204), path
        allowed = {name.strip() for name in asked["Allow"].split(",")}
        assert {method.upper() for method in METHODS if hasattr(pattern.callback.cls, method)} <= allowed
    weak, _ = by_key(["tenant.view"])
    assert weak.head("/api/v1/me/").status_code == 200
    assert weak.head("/api/v1/jobs/").status_code == 403
    assert weak.options("/api/v1/jobs/").status_code in (200, 204)
    assert Client().options("/api/v1/jobs/").status_code == 401


def test_pages_answer_head_as_get() -> None:
    tenant = factories.make_tenant("lab")
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    for path in ("/t/lab/", "/t/lab/jobs/", "/t/lab/audit/", "/t/lab/members/", "/accounts/login/", "/healthz"):
        assert client.head(path).status_code == client.get(path).status_code, path


def test_a_write_without_the_last_slash_is_answered_as_with_it() -> None:
    client, tenant = by_key()
    body, kind = {"slug": "once", "name": "Once"}, "application/json"
    made = client.post("/api/v1/projects", json.dumps(body), content_type=kind, headers={"Idempotency-Key": "k"})
    assert made.status_code == 201
    again = client.post("/api/v1/projects/", json.dumps(body), content_type=kind, headers={"Idempotency-Key": "k"})
    assert again["Idempotent-Replayed"] == "true"
    assert client.put("/api/v1/quotas", {}, content_type=kind).status_code == 400
    key = client.post("/api/v1/api-keys", {"name": "k", "scopes": ["tenant.view"]}, content_type=kind).json()["id"]
    assert client.delete(f"/api/v1/api-keys/{key}").status_code == 204
    assert client.patch(f"/api/v1/members/{uuid4()}", {}, content_type=kind).status_code in (400, 404)
    assert client.options("/api/v1/projects").status_code in (200, 204)
    assert client.post("/api/v1/nothing", {}, content_type=kind).status_code == 404
    for answer in (client.get("/api/v1/projects"), client.head("/api/v1/projects")):
        assert answer.status_code in (200, 301)
    person = Client()
    person.force_login(factories.make_member(tenant, "owner"))
    form = person.post(f"/t/{tenant.slug}/projects/new", {"slug": "paper", "name": "Paper"})
    assert form.status_code == 302
    with tenant_scope(tenant.id):
        assert set(Project.objects.filter(slug__in=["once", "paper"]).values_list("slug", flat=True)) == {
            "once",
            "paper",
        }


def test_a_log_line_names_no_tenant_of_an_earlier_request(monkeypatch: pytest.MonkeyPatch) -> None:
    client, tenant = by_key()
    seen: list[dict[str, Any]] = []
    entered = middleware.TenantMiddleware.__call__

    def listen(self: Any, request: Any) -> Any:
        answer = entered(self, request)
        seen.append(dict(structlog.contextvars.get_contextvars()))
        return answer

    monkeypatch.setattr(middleware.TenantMiddleware, "__call__", listen)
    for _ in range(2):
        client.get("/api/v1/me/")
        Client().get("/accounts/login/")
        Client().get("/api/v1/me/")
    assert [line.get("tenant") for line in seen] == [str(tenant.id), None, None] * 2
    assert structlog.contextvars.get_contextvars() == {}


def test_documented_filters_filter() -> None:
    client, tenant = by_key()
    one_of_everything(tenant)
    months = [row["period"] for row in client.get("/api/v1/invoices/").json()["results"]]
    assert months
    assert client.get(f"/api/v1/invoices/?state=draft&period={months[0][:7]}").json()["results"]
    assert client.get("/api/v1/invoices/?state=paid").json()["results"] == []
    assert client.get("/api/v1/invoices/?period=1999-01").json()["results"] == []
    for wrong in ("invoices/?state=payed", "invoices/?period=lately", "invoices/?period=2026-11-05", "jobs/?tag=team"):
        assert client.get(f"/api/v1/{wrong}").status_code == 400
    for path in ("datasets", "models"):
        (row,) = client.get(f"/api/v1/{path}/").json()["results"]
        assert client.get(f"/api/v1/{path}/?name={row['name'][:3].upper()}").json()["results"] == [row]
        assert client.get(f"/api/v1/{path}/?name=zzz").json()["results"] == []
    lab = Client()
    lab.force_login(factories.make_member(tenant, "owner"))
    for wrong in ("jobs/?export=csv&state=lost", "spend/export/daily.csv?range=lately", "audit/?export=csv&since=x"):
        assert lab.get(f"/t/{tenant.slug}/{wrong}").status_code == 400
