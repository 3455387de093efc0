"""Ids of another tenant in bodies, queries and paths: as an id of nothing, and with the same statements (T7, T9)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import psycopg
import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from compute.devices.base import Found
from compute.fleet import nodes
from models_app.models import DatasetVersion
from tenants.grants import grants
from tenants.identity import account_forms
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.objects import COLUMNS, missing, one_of_everything
from tests.api.test_matrix import API, BODIES, PAGES, call, client_for, has_ids, path_of, plain
from tests.support import factories

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

JOB = {
    "name": "x",
    "kind": "train",
    "project": "default",
    "recipe": "tabular.classifier",
    "target": "t",
    "max_seconds": 60,
}
LAUNCH = {key: value for key, value in JOB.items() if key != "project"}
CPU = Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**32)
BATCH = {"name": "x", "kind": "batch_predict", "project": "default", "max_seconds": 60}
SHARES = {f"POST {kind}s/{{{kind}_id}}/shares/": kind for kind in ("dataset", "model", "endpoint", "job")}
#: Each field that takes an id: the call, the rest of a body that would be accepted, the field, whose id it is.
#: `{…}` in a path and `{…}` in the rest stand for ids of one's own.
IN_BODIES: list[tuple[str, dict[str, Any], str, str]] = [
    ("POST access/requests/", {"role": "viewer", "reason": "to read"}, "project_id", "project_id"),
    ("POST api-keys/", {"name": "k", "scopes": ["jobs.view"]}, "project_id", "project_id"),
    ("POST api-keys/", {"name": "k", "scopes": ["jobs.view"]}, "service_account_id", "account_id"),
    ("PATCH datasets/{dataset_id}/", {}, "project_id", "project_id"),
    ("PATCH datasets/{dataset_id}/columns/", {"columns": {"a": {"type": "text"}}}, "version", "data_version_id"),
    *((path, {}, "user", "user_id") for path in SHARES),
    *((path, {}, "group", "group_id") for path in SHARES),
    ("POST endpoints/", {"name": "another"}, "version", "version_id"),
    ("POST grants/", {"role": "viewer"}, "user_id", "user_id"),
    ("POST grants/", {"role": "viewer"}, "group_id", "group_id"),
    ("POST grants/", {"role": "viewer"}, "service_account_id", "account_id"),
    ("POST grants/", {"user_id": "{user_id}"}, "role_id", "role_id"),
    ("POST grants/", {"user_id": "{user_id}", "role": "viewer"}, "project_id", "project_id"),
    ("POST groups/{group_id}/members/", {}, "user_id", "user_id"),
    ("POST identity-provider/groups/", {"claim": "another"}, "group_id", "group_id"),
    ("POST invoices/{invoice_id}/dispute/", {"reason": "twice the hours"}, "line", "line_id"),
    ("POST jobs/", JOB, "dataset", "dataset_id"),
    ("POST jobs/", JOB, "dataset_version", "data_version_id"),
    ("POST jobs/", JOB | {"dataset": "{dataset_id}"}, "project", "project_id"),
    ("POST jobs/", JOB | {"dataset": "{dataset_id}"}, "quote", "quote_id"),
    ("POST jobs/", BATCH | {"dataset": "{dataset_id}"}, "model_version", "version_id"),
    ("POST jobs/", BATCH | {"model_version": "{version_id}"}, "dataset", "dataset_id"),
    ("POST pipelines/", {"name": "p", "steps": [{"name": "r", "kind": "report"}]}, "project", "project_id"),
    ("POST presets/", {"name": "p", "launch": LAUNCH | {"dataset": "{dataset_id}"}}, "project", "project_id"),
    ("POST schedules/", {"name": "s", "cron": "@daily"}, "preset", "preset_id"),
    ("POST schedules/", {"name": "s", "cron": "@daily"}, "pipeline", "pipeline_id"),
    ("PATCH schedules/{schedule_id}/", {}, "preset", "preset_id"),
    ("PATCH schedules/{schedule_id}/", {}, "pipeline", "pipeline_id"),
    ("POST quotes/", JOB, "dataset", "dataset_id"),
    ("POST quotes/", JOB | {"dataset": "{dataset_id}"}, "project", "project_id"),
    ("POST budgets/", {"amount": "5", "at_limit": "notify"}, "scope", "project_id"),
    (
        "POST holds/",
        {"meter": "inference_requests", "quantity": "5", "expires_in_s": 60},
        "project",
        "project_id",
    ),
    ("POST usage/held/decide/", {"decision": "accept"}, "events", "event_id"),
    ("PUT chargeback/shared/rules/", {}, "rules", "project_id"),
]
#: A quote has the fields of a launch; a quote that a launch would be held to means nothing to it.
IGNORED = {("POST quotes/", "quote")}
IN_QUERIES: list[tuple[str, str, str]] = [
    ("grants/", "user_id", "user_id"),
    ("grants/", "group_id", "group_id"),
    ("grants/", "service_account_id", "account_id"),
    ("jobs/", "project", "project_id"),
    ("jobs/", "job_set", "job_set_id"),
    ("spend/", "project", "project_id"),
    ("spend/", "job", "job_id"),
    ("usage/", "project", "project_id"),
    ("usage/", "job", "job_id"),
    ("datasets/{dataset_id}/columns/", "version", "data_version_id"),
    ("datasets/{dataset_id}/profile/", "version", "data_version_id"),
    ("invoices/{invoice_id}/lines/1/explain/", "job", "job_id"),
    ("invoices/{invoice_id}/lines/1/explain/", "attempt", "attempt_id"),
    ("audit/", "actor", "user_id"),
]


class Two:
    """Two tenants with one of everything each; the client is the first one's owner."""

    def __init__(self) -> None:
        self.ours, self.theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
        self.own, self.foreign = one_of_everything(self.ours), one_of_everything(self.theirs)
        nodes.register(name="n1", hostname="h", boot=uuid4(), found=[CPU], missing_layers=[])
        for tenant in (self.ours, self.theirs):
            with tenant_scope(tenant.id):
                DatasetVersion.objects.update(rows=200, target="t", columns=COLUMNS)
        account = self.own["account_id"]
        grants.give(
            actor=factories.actor_for(self.ours), holder=grants.Holder(service_account_id=account), role="viewer"
        )
        self.client = client_for(self.ours, "owner")
        self.nothing = missing()

    def text(self, value: Any, ids: dict[str, UUID]) -> Any:
        """Return a path or a body with its `{…}` replaced by ids."""
        if isinstance(value, dict):
            return {name: self.text(part, ids) for name, part in value.items()}
        return re.sub(r"\{(\w+_id)\}", lambda found: str(ids[found[1]]), value) if isinstance(value, str) else value

    def send(self, asked: str, rest: dict[str, Any], field: str, given: UUID) -> Any:
        """Send a body whose one field names `given`."""
        method, path = asked.split(" ", 1)
        listed: dict[str, list[Any]] = {
            "events": [str(given)],
            "rules": [{"source": "project", "rule": "even", "project": str(given)}],
        }
        body = self.text(rest, self.own) | {field: listed.get(field, str(given))}
        return call(self.client, method, f"/api/v1/{self.text(path, self.own)}", body)


def documented() -> set[tuple[str, str]]:
    """Return the calls and fields that the served document gives the format of an id."""
    document = Client().get("/api/schema/?format=json").json()
    parts = document["components"]["schemas"]

    def fields(schema: dict[str, Any], name: str = "") -> set[str]:
        schema = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        found = {name} if schema.get("format") == "uuid" else set()
        for one in [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, [])]:
            found |= fields(one, name)
        for inner, one in schema.get("properties", {}).items():
            found |= set() if one.get("readOnly") else fields(one, name or inner)
        return found | (fields(schema["items"], name) if "items" in schema else set())

    return {
        (f"{method.upper()} {path.removeprefix('/api/v1/')}", field)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for content in operation.get("requestBody", {}).get("content", {}).values()
        for field in fields(content["schema"])
    } | {
        (f"GET {path.removeprefix('/api/v1/')}", parameter["name"])
        for path, methods in document["paths"].items()
        for parameter in methods.get("get", {}).get("parameters", [])
        if parameter["in"] == "query" and parameter["schema"].get("format") == "uuid"
    }


def test_the_tables_name_every_field_that_takes_an_id() -> None:
    listed = {(asked, field) for asked, _, field, _ in IN_BODIES}
    listed |= {(f"GET {path.replace('lines/1/', 'lines/{n}/')}", field) for path, field, _ in IN_QUERIES}
    assert documented() - listed == IGNORED


#: What the product decides, and the few bodies that name it on purpose: they give a role.
DECIDED: dict[str, Collection[str]] = {
    "role": {"members/", "members/{user_id}/", "invitations/", "grants/", "access/requests/", "identity-provider/"},
    "permissions": {"roles/", "roles/{role_id}/"},
    **dict.fromkeys(
        ("tenant", "tenant_id", "owner", "state", "standing", "cost", "price", "unit_amount", "token", "secret", "is_staff",
         "is_superuser", "is_active", "created_by", "submitted_by", "number", "stage_before", "currency", "created_at"),
        frozenset(),
    ),
}  # fmt: skip


def test_no_body_has_a_field_of_what_the_product_decides() -> None:
    """A field that a body does not have is refused at every route (T39), so these can be set by nobody."""
    document = Client().get("/api/schema/?format=json").json()
    parts, found, bodies = document["components"]["schemas"], [], 0
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                bodies += 1
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                schema = parts.get(name, content["schema"])
                writable = {field for field, one in schema.get("properties", {}).items() if not one.get("readOnly")}
                short = path.removeprefix("/api/v1/")
                found += [(short, field) for field in writable & set(DECIDED) if short not in DECIDED[field]]
    assert bodies > 30
    assert found == []


def named_by(superuser: psycopg.Connection, tenant: Tenant, ids: set[str]) -> list[str]:
    """Return the tables where a row of the tenant holds one of the ids, in any column."""
    tables = [
        str(row[0])
        for row in superuser.execute(
            "SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) "
            "WHERE c.column_name = 'tenant_id' AND c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
        )
    ]
    assert len(tables) > 40
    return [
        table
        for table in tables
        if superuser.execute(
            f'SELECT 1 FROM "{table}" row WHERE tenant_id = %s AND row::text ~ %s LIMIT 1', [tenant.id, "|".join(ids)]
        ).fetchone()
    ]


@pytest.mark.django_db(transaction=True)
def test_a_foreign_id_in_a_body_is_an_id_of_nothing_and_leaves_no_reference(superuser: psycopg.Connection) -> None:
    two = Two()
    faults, reached = [], 0
    for asked, rest, field, kind in IN_BODIES:
        foreign, nothing = two.foreign.get(kind, uuid4()), two.nothing.get(kind, uuid4())
        answers = [plain(two.send(asked, rest, field, given)) for given in (foreign, nothing)]
        if answers[0] != answers[1] or answers[0][0] not in (400, 404, 422):
            faults.append((asked, field, answers))
        if kind in two.own:
            status = two.send(asked, rest, field, two.own[kind]).status_code
            reached += status < 300
            if status >= 400 and status == answers[0][0] and kind != "user_id":
                faults.append((asked, field, f"an own id is a {status} too"))
    assert faults == []
    assert reached >= 20
    shared = {str(value) for value in two.own.values()}  # the price book of both contracts
    assert named_by(superuser, two.ours, {str(value) for value in two.foreign.values()} - shared) == []


def test_a_foreign_id_in_a_query_filters_as_an_id_of_nothing() -> None:
    two = Two()
    for path, name, kind in IN_QUERIES:
        foreign, nothing = two.foreign.get(kind, uuid4()), two.nothing.get(kind, uuid4())
        answers = [
            plain(two.client.get(f"/api/v1/{two.text(path, two.own)}", {name: str(given)}))
            for given in (foreign, nothing)
        ]
        assert answers[0] == answers[1], (path, name)
        assert answers[0][0] in (200, 400, 404), (path, name, answers)


def test_a_cursor_of_another_tenant_shows_nothing_of_it() -> None:
    two = Two()
    theirs = client_for(two.theirs, "owner")
    assert (
        call(theirs, "POST", "/api/v1/jobs/", two.text(JOB | {"dataset": "{dataset_id}"}, two.foreign)).status_code
        == 201
    )
    beyond = theirs.get("/api/v1/jobs/?limit=1").json()["next"]
    cursor = re.search(r"cursor=([^&]+)", beyond)
    assert cursor is not None
    seen = two.client.get("/api/v1/jobs/", {"cursor": unquote(cursor[1])}).json().get("results", [])
    assert {row["id"] for row in seen} <= {str(two.own["job_id"])}


def statements(client: Client, method: str, path: str, body: dict[str, Any] | None) -> list[str]:
    """Return the statements of one request, without the values in them."""
    with CaptureQueriesContext(connection) as seen:
        call(client, method, path, body)
    return [re.sub(r"'[^']*'|\"s\d+_x\d+\"|\b\d+\b", "?", query["sql"]) for query in seen.captured_queries]


def test_a_foreign_object_costs_the_same_statements_as_a_missing_one() -> None:
    """The time reveals no more than the answer: the database is asked the same, and finds nothing either way."""
    two = Two()
    two.client.get("/t/ours/")  # from the first page on the session keeps the organisation
    faults, compared = [], 0
    calls = [(method, "/api/v1/", route) for route, methods in API.items() for method in methods]
    calls += [(method, "/t/ours/", route) for route in PAGES for method in ("GET", "POST")]
    for method, prefix, route in calls:
        if not has_ids(route):
            continue
        asked = [
            statements(two.client, method, path_of(prefix, route, ids), BODIES.get(route))
            for ids in (two.foreign, two.nothing)
        ]
        compared += len(asked[0]) > 1
        if asked[0] != asked[1]:
            faults.append((method, prefix, route, asked))
    assert faults == []
    assert compared >= 120


def test_a_forgotten_password_is_answered_before_anybody_looks_for_the_account(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "tenants.notifications.file_backend.FileBackend"
    known = factories.make_member(factories.make_tenant(), "viewer").email
    later: list[Any] = []
    monkeypatch.setattr(account_forms.ACCOUNT_EMAILS, "put", lambda share, work: later.append(work) or True)
    asked = []
    for email in (known, "nobody@example.org"):
        with CaptureQueriesContext(connection) as seen:
            assert Client().post("/accounts/password/reset/", {"email": email}).status_code == 302
        sent = [query["sql"].replace(email, "") for query in seen.captured_queries]
        asked.append([re.sub(r"_django_curs_\w+", "cursor", one) for one in sent])
    assert asked[0] == asked[1]
    assert len(later) == 2


def test_a_log_in_hashes_once_whether_the_account_exists_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing is what takes time in a log-in."""
    known = factories.make_member(factories.make_tenant(), "viewer").email
    hashed: list[str] = []
    hasher, encode = MD5PasswordHasher, MD5PasswordHasher.encode

    def counted(self: Any, password: str, salt: str) -> str:
        hashed.append(password)
        return str(encode(self, password, salt))

    monkeypatch.setattr(hasher, "encode", counted)
    told = []
    for email in (known, "nobody@example.org"):
        hashed.clear()
        answer = Client().post("/accounts/login/", {"login": email, "password": "not the right one"})
        told.append((answer.status_code, len(hashed)))
    assert told[0] == told[1] == (200, 1)
