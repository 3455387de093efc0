"""The served OpenAPI document against the real WSGI application.

Requests of every operation are generated, valid and invalid. Every response is one that the document names: no 5xx,
and nothing of another tenant. New routes are included automatically.
"""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from compute.devices.base import Found
from compute.fleet import nodes
from config.wsgi import application
from models_app.models import DatasetVersion
from models_app.object_store import storage
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.far_days import put_far_days
from tests.api.objects import one_of_everything
from tests.support import factories
from tests.support.servers.services import S3

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # The form parser leaves the file of a broken form to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
COLUMNS = [
    {"name": "a", "kind": "numeric", "distinct": 100, "integer": False, "missing": 0},
    {"name": "t", "kind": "categorical", "distinct": 2, "integer": False, "missing": 0},
]


PROFILE = {
    "format": 1,
    "rows": 200,
    "target": "t",
    "task": "classification",
    "measure": "theil_u",
    "warnings": [],
    "columns": [],
}
#: Path parameters that matter: half the time the first.
NUMBERS = frozenset({"n"})
#: Requests of an operation with days, months or times at the ends of the calendar.
FAR = 3
#: Accepted bodies, by operation: a third of the requests is one of these, a third one with a changed field.
GOOD: dict[str, dict[str, Any]] = {
    "jobs": {
        "name": "fuzz",
        "kind": "train",
        "project": "default",
        "recipe": "tabular.classifier",
        "dataset": "dataset",
        "params": {"epochs": 2, "learning_rate": 0.01},
        "device_class": "cpu",
        "max_seconds": 60,
        "tags": {"team": "a"},
    },
    "members": {"email": "new@example.org", "role": "viewer", "name": "N"},
    "projects": {"slug": "fresh", "name": "Fresh"},
    "api-keys": {"name": "k", "scopes": ["jobs.view"], "expires_at": "2099-01-01T00:00:00Z"},
    "quotas": {"resource": "devices:cpu", "limit": 3},
    "quotas requests": {"resource": "devices:serving", "limit": 5, "reason": "more", "until": "2099-01-01T00:00:00Z"},
    "budgets requests": {"amount": "5000", "reason": "more", "this_month": True},
    "approvals approve": {"reason": "fine"},
    "approvals decline": {"reason": "not now"},
    "holds": {
        "project": "default",
        "meter": "inference_requests",
        "quantity": "10",
        "dims": {"tag:team": "a"},
        "expires_in_s": 60,
    },
    "extend": {"quantity": "10", "expires_in_s": 120},
    "budgets": {"amount": "10", "period": "month", "alerts": [50, 80], "at_limit": "notify"},
    "chargeback shared rules": {"rules": [{"source": "organisation", "rule": "even"}]},
    "meters": {"title": "Peak of seats", "unit": "seat", "event_type": "peak.seats", "aggregation": "max"},
    "tags required": {"tags": [{"name": "team", "values": []}]},
    "showback prices": {"prices": [{"meter": "device_seconds", "dims": {"tier": "spot"}, "unit_amount": "0.1"}]},
    "wallet top-ups": {"amount": "10.00"},
    "wallet automatic-top-up": {"below": "5.00", "amount": "10.00", "most": "50.00"},
    "payment-methods default": {"id": "pm_1"},
    "payment-methods remove": {"id": "pm_1"},
    "what-if": {"commitment": "10.00", "minimum": "5.00", "discount": "5", "period": "2026-01"},
    "promote": {"stage": "staging"},
    "shares": {"user": "user"},
    "endpoints": {"name": "an-endpoint", "version": "version"},
    "keys": {"name": "k"},
    "feedback": {"items": [{"prediction_id": "x", "label": "a"}]},
    "invitations": {"email": "asked@example.org", "role": "viewer"},
    "roles": {"name": "Reader", "permissions": ["jobs.view"]},
    "groups": {"name": "Another team"},
    "groups members": {"user_id": "user"},
    "webhooks": {"name": "another", "url": "https://hooks.example/y", "types": ["job.failed"], "format": "slack"},
    "service-accounts": {"name": "another"},
    "grants": {"group_id": "group", "role": "viewer"},
    "notifications choices": {"topic": "approvals", "bell": True, "email": False},
    "access requests": {"role": "viewer", "reason": "to read"},
    "identity-provider": {"kind": "oidc", "name": "idp", "issuer": "https://idp.example", "client_id": "x"},
    "identity-provider required": {"is_required": False},
    "identity-provider leavers": {"jobs": "cancel"},
    "domains": {"name": "fresh.example"},
    "scim-tokens": {"name": "t", "expires_at": "2099-01-01T00:00:00Z"},
    "identity-provider groups": {"group_id": "group", "claim": "another"},
}
GOOD["quotes"] = GOOD["jobs"]
#: Routes of people, which answer a key as for what does not exist.
OF_PEOPLE = ("/sessions/", "/access/requests/", "/notifications/choices/")
#: Always refused, with where to ask: operators write prices.
CLOSED = {"POST /api/v1/price-books/{book_id}/versions/"}


@dataclass
class World:
    """Two tenants with one of everything each; requests use the key of the first."""

    ours: Tenant
    theirs: Tenant
    own: dict[str, UUID]
    foreign: dict[str, UUID]
    key: str
    their_key: str
    faults: dict[str, str] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)

    def id_for(self, name: str, draw: Callable[..., Any], otherwise: Any) -> Any:
        """Draw an id: an own one, a foreign one, a missing one, or the generated one."""
        choices = [self.own[name], self.own[name], self.foreign[name], uuid4()]
        chosen = draw(st.sampled_from([str(choice) for choice in choices] + [None]))
        return otherwise if chosen is None else chosen


@pytest.fixture
def world(s3: S3) -> World:
    storage.ensure_bucket()
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    found = [Found(f"cpu-{number}", "cpu", "cpu", f"CPU {number} of host h", number, 2**32) for number in range(2)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    ids = []
    for tenant in (ours, theirs):
        made = one_of_everything(tenant)
        made["project_id"] = factories.default_project_id(tenant)
        with tenant_scope(tenant.id):
            versions = DatasetVersion.objects.filter(dataset_id=made["dataset_id"])
            versions.update(rows=200, target="t", columns=COLUMNS, profile=PROFILE)
            made["dataset_version_id"] = versions.get().id
        made |= {"user_id": made["user_id"], "model_version_id": made["version_id"]}
        ids.append(made)
    return World(ours, theirs, *ids, factories.make_api_key(ours), factories.make_api_key(theirs))


def operations() -> list[APIOperation[Any]]:
    """Return every operation of the served document, deletions last, so that objects exist before."""
    schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)
    # NUL is refused before anything else is read (test_entry), so it would hide the rest.
    schema.config.generation.allow_x00 = False
    found = [result.ok() for result in schema.get_all_operations()]

    def order(operation: APIOperation[Any]) -> tuple[bool, int, str]:
        # Removals come last, what lies deeper before what it lies in.
        last = operation.method.upper() == "DELETE"
        return last, -operation.path.count("/") if last else 0, operation.label

    return sorted(found, key=order)


def prepared(world: World, case: Any, draw: Callable[..., Any]) -> None:
    """Insert existing ids, own or foreign, where the generator only knows that an id belongs."""
    for name in case.path_parameters or {}:
        if name in world.own:
            case.path_parameters[name] = world.id_for(name, draw, case.path_parameters[name])
        elif name in NUMBERS and draw(st.booleans()):
            case.path_parameters[name] = 1
    for name in list(case.query or {}):
        if f"{name}_id" in world.own:
            case.query[name] = world.id_for(f"{name}_id", draw, case.query[name])
    if not isinstance(case.body, dict):
        return
    nouns = re.findall(r"[a-z-]+(?=/)", re.sub(r"{.*?}/", "", case.path))
    good = GOOD.get(" ".join(nouns[-2:]), GOOD.get(nouns[-1]))
    way = draw(st.sampled_from(["generated", "good", "one field changed"])) if good else "generated"
    if way == "good":
        case.body = {
            # A value that repeats its field's name stands for an id.
            name: str(world.own[f"{value}_id"]) if value == name.removesuffix("_id") else value
            for name, value in good.items()
        }
        return
    if way == "one field changed":
        name = draw(st.sampled_from(sorted({*good, *case.body})))
        case.body = {**good, **({name: case.body[name]} if name in case.body else {})}
    for name in list(case.body):
        if (known := f"{name.removesuffix('_id')}_id") in world.own and name not in (
            "role",
            "meter",
        ):  # these have names
            case.body[name] = world.id_for(known, draw, case.body[name])


def ask(world: World, case: Any) -> Response:
    """Send one case with our key and record responses outside the document."""
    response = case.call(headers={"Authorization": f"Bearer {world.key}"})
    world.statuses[case.operation.label, response.status_code] += 1
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as found:
        for failure in found.exceptions:
            words = " ".join(str(failure).split())[:250]
            world.faults.setdefault(f"{case.operation.label} -> {response.status_code}: {words}", sent_by(case))
    # What both have, such as the book of their contracts, is nobody's own.
    foreign = {name: str(value) for name, value in world.foreign.items() if value != world.own.get(name)}
    text = response.content.decode(errors="replace")  # a PDF is no text
    told = [name for name, value in foreign.items() if value in text and value not in sent_by(case)]
    asked = [name for name, value in foreign.items() if value in str(case.path_parameters)]
    if told or (asked and case.method.upper() == "GET" and response.status_code < 400):
        world.faults.setdefault(f"{case.operation.label}: answered of the other tenant {told or asked}", sent_by(case))
    return response


def sent_by(case: Any) -> str:
    """Return a case's request, as text."""
    return f"{case.path_parameters} {case.query} {case.body!r}"


def rows_of(admin: psycopg.Connection, tenant: Tenant) -> dict[str, str]:
    """Return a digest of a tenant's rows by table, for all tables."""
    tables = admin.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'tenant_id'"
    ).fetchall()
    digests = {}
    for (table,) in tables:
        row = admin.execute(
            f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t WHERE tenant_id = %s", [tenant.id]
        ).fetchone()
        digests[table] = str(row and row[0])
    return digests


def fuzz(world: World, wanted: list[APIOperation[Any]], cases: int) -> None:
    """Send `cases` requests, equally many of each operation, two thirds of them valid by the document."""
    each = -(-cases // len(wanted))
    for operation in wanted:
        for mode, share in ((GenerationMode.POSITIVE, -(-2 * each // 3)), (GenerationMode.NEGATIVE, each // 3)):
            run(world, operation, mode, share)
        run(world, operation, GenerationMode.POSITIVE, FAR, far=True)


def run(world: World, operation: APIOperation[Any], mode: GenerationMode, examples: int, *, far: bool = False) -> None:
    """Run one operation for a number of examples, the same ones each time; `far`: only those with a day, each a far one."""

    @seed(20_250_101)
    @settings(
        max_examples=examples,
        derandomize=False,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def send(case: Any, data: Any) -> None:
        prepared(world, case, data.draw)
        if not far or put_far_days(case, data.draw):
            ask(world, case)

    send()


def assert_answers_as_described(world: World, admin: psycopg.Connection, cases: int) -> None:
    """Fuzz, then check the findings, and that the other tenant is unchanged."""
    before = rows_of(admin, world.theirs)
    found = operations()
    fuzz(world, found, cases)
    gc.collect()
    assert "\n".join(f"{fault} | sent {sent[:300]}" for fault, sent in sorted(world.faults.items())) == ""
    assert rows_of(admin, world.theirs) == before
    reached = {label for label, status in world.statuses if status < 300}
    # A key has no session, and asks for no access.
    by_key = {one.label for one in found if all(own not in one.path for own in OF_PEOPLE)}
    unreached = sorted(by_key - reached - CLOSED)
    assert len(unreached) <= len(found) / 5, f"too few were ever accepted: {unreached}"


def test_generated_requests_are_answered_as_the_document_says(world: World, superuser: psycopg.Connection) -> None:
    assert_answers_as_described(world, superuser, 1_500)


@pytest.mark.nightly
def test_ten_thousand_generated_requests_are_answered_as_the_document_says(
    world: World, superuser: psycopg.Connection
) -> None:
    assert_answers_as_described(world, superuser, 10_000)
