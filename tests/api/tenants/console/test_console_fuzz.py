"""The console's document against its application: generated requests of two operators, and no 5xx.

Every response is one that the document names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import ignored_auth

from billing.metering.metering import record_usage
from billing.models import Invoice
from compute.fleet import nodes
from compute.models import Node
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.clock import now
from tenants.encryption import platform_secrets
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant, User
from tenants.operators import grants, keys
from tenants.operators.operator import Operator
from tests.api.far_days import put_far_days
from tests.api.tenants.console.test_console_matrix import GOOD, MATRIX, REASON
from tests.api.test_fuzz import CHECKS, FAR
from tests.support import factories
from tests.support.examples import examples
from tests.support.usage import interval

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
Role = Callable[[], AbstractContextManager[None]]
CASES = examples(2_500)


@pytest.fixture
def secrets(as_control: Role, as_operator: Role) -> list[str]:
    """Return the keys of an operator with all roles, and of one who only reads."""
    made = []
    with as_control():
        platform_secrets.provide()
    for name, roles in (("all", tuple(OPERATOR_ROLES)), ("reads", ("platform_support",))):
        with as_control():
            for role in roles:
                grants.grant(f"{name}@platform.example", role, password=factories.PASSWORD)
        with as_operator():
            user = User.objects.get(email=f"{name}@platform.example")
            operator = Operator(id=user.id, label=user.email, roles=roles)
            made.append(keys.create(operator=operator, name=name, roles=list(roles)).secret)
    return made


def test_generated_requests_of_operators_are_answered_as_the_document_says(secrets: list[str], console: Role) -> None:
    made = [factories.make_tenant(name) for name in ("one", "two")]
    tenants, known = [str(one.id) for one in made], {"period": "2026-01", "invoice_id": draft_of(made[0])}
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=[], missing_layers=[])
    known["node_id"] = str(Node.objects.get().id)
    faults: dict[str, str] = {}
    guarded: set[str] = set()
    statuses: dict[tuple[str, int], int] = {}
    with console():
        schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())
        schema.config.generation.allow_x00 = False
        found = [result.ok() for result in schema.get_all_operations()]

        def ask(case: Any, draw: Callable[..., Any], *, far: bool = False) -> None:
            label = case.operation.label
            prepare(case, draw, tenants, known)
            if far and not put_far_days(case, draw):
                return
            given = {"Authorization": f"Bearer {draw(st.sampled_from(secrets))}"}
            response = case.call(headers=given)
            statuses[label, response.status_code] = statuses.get((label, response.status_code), 0) + 1
            first = response.status_code < 300 and label not in guarded
            try:
                case.validate_response(response, checks=[*CHECKS, ignored_auth] if first else CHECKS, headers=given)
            except FailureGroup as failed:
                for failure in failed.exceptions:
                    faults.setdefault(f"{label} -> {response.status_code}: {failure}"[:300], repr(case.body)[:300])
            guarded.update({label} if first else ())

        for operation in found:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                fuzz(operation, mode, -(-CASES // len(found) // 2), ask)
            fuzz(operation, GenerationMode.POSITIVE, FAR, partial(ask, far=True))

    assert faults == {}
    assert sum(statuses.values()) >= CASES
    accepted = {label for label, status in statuses if status < 300}
    people = {operation.label for operation in found if needs_a_person(operation)}
    assert len({operation.label for operation in found} - accepted - people) <= len(found) / 3


def needs_a_person(operation: APIOperation[Any]) -> bool:
    """Return whether no key does it, whatever its roles; and a key makes no key."""
    path = operation.path.replace("{period}", "<str:period>")
    route = re.sub(r"{(\w+)}", r"<uuid:\1>", path).removeprefix("/api/operator/v1/")
    return route.startswith(("keys/", "notifications/")) or not MATRIX[route, operation.method.lower()]


def draft_of(tenant: Tenant) -> str:
    """Return the draft invoice of a minute's usage."""
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        record_usage([interval(project, now(), 60)])
        return str(Invoice.objects.get().pk)


def prepare(case: Any, draw: Callable[..., Any], tenants: list[str], known: dict[str, str]) -> None:
    """Put known tenants, and often another known part, into the path, and often a body that is accepted."""
    if "tenant_id" in (case.path_parameters or {}):
        case.path_parameters["tenant_id"] = draw(st.sampled_from([*tenants, str(uuid4())]))
    for name in known.keys() & (case.path_parameters or {}).keys():
        case.path_parameters[name] = draw(st.sampled_from([known[name], known[name], case.path_parameters[name]]))
    if isinstance(case.body, dict) and draw(st.booleans()):
        ending = case.path.removeprefix("/api/operator/v1/").replace("{tenant_id}", "<uuid:tenant_id>")
        case.body = dict(GOOD.get(ending, REASON))


def fuzz(operation: APIOperation[Any], mode: GenerationMode, cases: int, send: Callable[..., None]) -> None:
    """Send so many generated requests of one operation, the same ones each time."""

    @seed(20_250_101)
    @settings(
        max_examples=cases,
        derandomize=False,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def run(case: Any, data: Any) -> None:
        send(case, data.draw)

    run()
