"""The served OpenAPI document against the real WSGI application.

Requests of every operation are generated, valid and invalid, with keys of two tenants. Every response is one that the
document names: no 5xx, nothing of another tenant, and nothing without a valid key. Chains of requests follow what one
answer names into the next: what was made is there, and what was removed is gone. New routes are included automatically.
"""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ensure_resource_availability,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)

from compute.devices.base import Found
from compute.fleet import nodes
from config.wsgi import application
from models_app.models import DatasetVersion
from models_app.object_store import storage
from tenants.identity.providers import domains
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
#: What only a chain of requests shows.
IN_CHAINS = [use_after_free, ensure_resource_availability]
STEPS = 8
A_RUN = 5
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
    "tags required": {"tags": [{"name": "team", "values": [], "kinds": []}]},
    "showback prices": {"prices": [{"meter": "device_seconds", "dims": {"tier": "spot"}, "unit_amount": "0.1"}]},
    "wallet top-ups": {"amount": "10.00"},
    "wallet automatic-top-up": {"below": "5.00", "amount": "10.00", "most": "50.00"},
    "payment-methods default": {"id": "pm_1"},
    "payment-methods remove": {"id": "pm_1"},
    "what-if": {"commitment": "10.00", "minimum": "5.00", "discount": "5", "period": "2026-01"},
    "promote": {"stage": "staging"},
    "idle rule": {"window_minutes": 30, "busy_percent": 5, "grace_minutes": 30},
    "snooze": {"hours": 2, "reason": "a debugger is open"},
    "shares": {"user": "user"},
    "endpoints": {"name": "an-endpoint", "version": "version"},
    "pipelines": {"name": "fuzz", "steps": [{"name": "report", "kind": "report"}], "cap": "25.00"},
    "presets": {
        "name": "fuzz",
        "launch": {"recipe": "tabular.classifier", "dataset": "dataset", "params": {}, "device_class": "cpu"},
    },
    "presets launch": {"name": "fuzz", "max_seconds": 60, "max_cost": "2.50", "tags": {"team": "a"}},
    "schedules": {"name": "fuzz", "cron": "0 6 * * 1", "zone": "Europe/Zurich", "pipeline": "pipeline"},
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
GOOD["job-sets"] = GOOD["jobs"] | {"vary": {"params.epochs": [2, 3]}, "cap": "10.00", "most_at_once": 1}
#: Routes of people, which answer a key as for what does not exist.
OF_PEOPLE = ("/sessions/", "/access/requests/", "/notifications/choices/")
#: Always refused, with where to ask: operators write prices.
CLOSED = {"POST /api/v1/price-books/{book_id}/versions/"}


@dataclass(frozen=True)
class Asker:
    """A tenant with one of everything, and its key. `foreign`: ids of the others."""

    tenant: Tenant
    own: dict[str, UUID]
    key: str
    foreign: list[dict[str, UUID]] = field(default_factory=list)

    def id_for(self, name: str, draw: Callable[..., Any], otherwise: Any) -> Any:
        """Draw an id: an own one, a foreign one, a missing one, or the generated one."""
        choices = [self.own[name], self.own[name], draw(st.sampled_from(self.foreign))[name], uuid4()]
        chosen = draw(st.sampled_from([str(choice) for choice in choices] + [None]))
        return otherwise if chosen is None else chosen

    def others(self) -> set[str]:
        """Return the ids that nothing answers to this key: what all have, such as their book of prices, is nobody's own."""
        return {str(one) for ids in self.foreign for one in ids.values()} - {str(one) for one in self.own.values()}


@dataclass
class World:
    """Three tenants: requests use the keys of two, and nothing changes in the third."""

    askers: list[Asker]
    bystander: Tenant
    faults: dict[str, str] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: Operations that refuse a request without a key, and with a wrong one.
    guarded: set[str] = field(default_factory=set)


@pytest.fixture
def world(s3: S3, monkeypatch: pytest.MonkeyPatch) -> World:
    # No name server is asked: without one the answer is a 503, which is no finding.
    monkeypatch.setattr(domains, "txt_records", lambda name: [])
    storage.ensure_bucket()
    tenants = [factories.make_tenant(slug) for slug in ("ours", "theirs", "nobodys")]
    found = [Found(f"cpu-{number}", "cpu", "cpu", f"CPU {number} of host h", number, 2**32) for number in range(2)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    ids = []
    for tenant in tenants:
        made = one_of_everything(tenant)
        made["project_id"] = factories.default_project_id(tenant)
        with tenant_scope(tenant.id):
            versions = DatasetVersion.objects.filter(dataset_id=made["dataset_id"])
            versions.update(rows=200, target="t", columns=COLUMNS, profile=PROFILE)
            made["dataset_version_id"] = versions.get().id
        made |= {"user_id": made["user_id"], "model_version_id": made["version_id"]}
        ids.append(made)
    askers = [
        Asker(tenant, own, factories.make_api_key(tenant), [others for others in ids if others is not own])
        for tenant, own in zip(tenants[:2], ids[:2], strict=True)
    ]
    return World(askers, tenants[2])


def described() -> Any:
    """Return the served document."""
    schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)
    # NUL is refused before anything else is read (test_entry), so it would hide the rest.
    schema.config.generation.allow_x00 = False
    return schema


def operations() -> list[APIOperation[Any]]:
    """Return every operation of the served document, deletions last, so that objects exist before."""
    found = [result.ok() for result in described().get_all_operations()]

    def order(operation: APIOperation[Any]) -> tuple[bool, int, str]:
        # Removals come last, what lies deeper before what it lies in.
        last = operation.method.upper() == "DELETE"
        return last, -operation.path.count("/") if last else 0, operation.label

    return sorted(found, key=order)


def prepared(asker: Asker, case: Any, draw: Callable[..., Any]) -> None:
    """Insert existing ids, own or foreign, where the generator only knows that an id belongs."""
    for name in case.path_parameters or {}:
        if name in asker.own:
            case.path_parameters[name] = asker.id_for(name, draw, case.path_parameters[name])
        elif name in NUMBERS and draw(st.booleans()):
            case.path_parameters[name] = 1
    for name in list(case.query or {}):
        if f"{name}_id" in asker.own:
            case.query[name] = asker.id_for(f"{name}_id", draw, case.query[name])
    if not isinstance(case.body, dict):
        return
    good = good_for(case)
    way = draw(st.sampled_from(["generated", "good", "one field changed"])) if good else "generated"
    if way == "good":
        case.body = filled(asker, good)
        return
    if way == "one field changed":
        name = draw(st.sampled_from(sorted({*good, *case.body})))
        case.body = {**good, **({name: case.body[name]} if name in case.body else {})}
    for name in list(case.body):
        if (known := f"{name.removesuffix('_id')}_id") in asker.own and name not in (
            "role",
            "meter",
        ):  # these have names
            case.body[name] = asker.id_for(known, draw, case.body[name])


def good_for(case: Any) -> dict[str, Any] | None:
    """Return a body that the operation accepts, if one is known."""
    nouns = re.findall(r"[a-z-]+(?=/)", re.sub(r"{.*?}/", "", case.path))
    return GOOD.get(" ".join(nouns[-2:]), GOOD.get(nouns[-1]))


def filled(asker: Asker, good: dict[str, Any]) -> dict[str, Any]:
    """Return a body with own ids: a value that repeats its field's name stands for one."""
    return {
        name: str(asker.own[f"{value}_id"]) if value == name.removesuffix("_id") else value
        for name, value in good.items()
    }


def ask(world: World, asker: Asker, case: Any) -> Response:
    """Send one case with a key and record responses outside the document."""
    given = {"Authorization": f"Bearer {asker.key}"}
    response = case.call(headers=given)
    label = case.operation.label
    first = response.status_code < 300 and label not in world.guarded
    judge(world, asker, case, response, [*CHECKS, ignored_auth] if first else CHECKS, headers=given)
    if first:
        world.guarded.add(label)
    return response


def judge(world: World, asker: Asker, case: Any, response: Response, checks: list[Any], **more: Any) -> None:
    """Record what a response has that the document does not name, and what it shows of others."""
    label = case.operation.label
    world.statuses[label, response.status_code] += 1
    try:
        case.validate_response(response, checks=checks, **more)
    except FailureGroup as found:
        for failure in found.exceptions:
            words = " ".join(str(failure).split())[:250]
            world.faults.setdefault(f"{label} -> {response.status_code}: {words}", sent_by(case))
    text = response.content.decode(errors="replace")  # a PDF is no text
    sent = sent_by(case)
    told = [one for one in asker.others() if one in text and one not in sent]
    asked = [one for one in asker.others() if one in str(case.path_parameters)]
    if told or (asked and case.method.upper() == "GET" and response.status_code < 400):
        world.faults.setdefault(f"{label}: answered of another tenant {told or asked}", sent)


def sent_by(case: Any) -> str:
    """Return a case's request, as text."""
    return f"{case.path_parameters} {case.query} {case.body!r}"


TABLES = "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'tenant_id'"


def rows_of(admin: psycopg.Connection, tenant: Tenant) -> dict[str, str]:
    """Return a digest of a tenant's rows by table, for all tables."""
    digests = {}
    for (table,) in admin.execute(TABLES).fetchall():
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
        asker = data.draw(st.sampled_from(world.askers))
        prepared(asker, case, data.draw)
        if not far or put_far_days(case, data.draw):
            ask(world, asker, case)

    send()


def follow(world: World, chains: int) -> None:
    """Send chains of requests, in which a link of the document or an answer's id leads from each to the next.

    What exists decides which link may follow, and Hypothesis ends a run whose choices differ for that: so the runs are
    short, and such an end is no fault. Faults are recorded by then.
    """
    asker = world.askers[0]
    names = (f"chain-{number}" for number in count())

    class Chain(described().as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Any) -> None:
            # What is made is accepted, and has a name that is not taken.
            if case.method.upper() == "POST" and isinstance(case.body, dict) and (good := good_for(case)):
                fresh = {name: next(names) for name in ("name", "slug") if name in good}
                case.body = filled(asker, good) | fresh

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"Authorization": f"Bearer {asker.key}"}}

        def validate_response(self, response: Response, case: Any, additional_checks: Any = None, **more: Any) -> None:
            judge(world, asker, case, response, [*CHECKS, *IN_CHAINS], transport_kwargs=more, recorder=self.recorder)

    before = sum(world.statuses.values())
    kept = settings(max_examples=A_RUN, stateful_step_count=STEPS, phases=[Phase.generate], database=None)
    for number in range(chains // A_RUN):
        Chain._hypothesis_internal_use_seed = number
        with suppress(Flaky):
            Chain.run(settings=settings(kept, deadline=None, suppress_health_check=list(HealthCheck)))
    assert sum(world.statuses.values()) - before > chains * STEPS // 4, "hardly a chain was followed"


def assert_answers_as_described(world: World, admin: psycopg.Connection, cases: int, chains: int = 0) -> None:
    """Fuzz, then check the findings, that the third tenant is unchanged, and that none of the others names another."""
    before = rows_of(admin, world.bystander)
    found = operations()
    fuzz(world, found, cases)
    if chains:
        follow(world, chains)
    gc.collect()
    assert "\n".join(f"{fault} | sent {sent[:300]}" for fault, sent in sorted(world.faults.items())) == ""
    assert rows_of(admin, world.bystander) == before
    assert [table for asker in world.askers for table in naming_others(admin, asker)] == []
    assert sum(world.statuses.values()) >= cases
    reached = {label for label, status in world.statuses if status < 300}
    # A key has no session, and asks for no access.
    by_key = {one.label for one in found if all(own not in one.path for own in OF_PEOPLE)}
    unreached = sorted(by_key - reached - CLOSED)
    assert len(unreached) <= len(found) / 5, f"too few were ever accepted: {unreached}"


def naming_others(admin: psycopg.Connection, asker: Asker) -> list[str]:
    """Return the tables where a row of the tenant holds an id of another, in any column."""
    return [
        table
        for (table,) in admin.execute(TABLES).fetchall()
        if admin.execute(
            f"SELECT 1 FROM {table} t WHERE tenant_id = %s AND t::text ~ %s LIMIT 1",
            [asker.tenant.id, "|".join(asker.others())],
        ).fetchone()
    ]


def test_generated_requests_are_answered_as_the_document_says(world: World, superuser: psycopg.Connection) -> None:
    assert_answers_as_described(world, superuser, 1_500)


@pytest.mark.nightly
def test_many_thousand_generated_requests_are_answered_as_the_document_says(
    world: World, superuser: psycopg.Connection
) -> None:
    assert_answers_as_described(world, superuser, 17_500, 200)
