"""The authorisation matrix of the console's API: who may call which method of which route.

A route that the table does not know fails. Each cell is asked over HTTP with a key, and once with a session.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Device, Node
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.clock import now
from tenants.encryption import platform_secrets
from tenants.models import OperatorKey, User
from tenants.operators import grants, keys
from tenants.operators.operator import Operator
from tests.support import factories
from tests.support.pages import routes_below

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
ADMIN, FINANCE, SUPPORT = "platform_admin", "platform_finance", "platform_support"
ALL = {ADMIN, FINANCE, SUPPORT}
#: Route and method -> the roles that may call it. `keys/` is for people alone; see below.
MATRIX: dict[tuple[str, str], set[str]] = {
    ("me/", "get"): ALL,
    ("keys/", "get"): ALL,
    ("keys/", "post"): ALL,
    ("keys/<uuid:key_id>/", "delete"): ALL,
    ("operators/", "get"): {ADMIN},
    ("audit/", "get"): ALL,
    # Emails are a person's choice.
    ("notifications/", "get"): ALL,
    ("notifications/", "put"): ALL,
    ("webhooks/", "get"): {ADMIN},
    ("webhooks/", "post"): {ADMIN},
    ("webhooks/types/", "get"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/", "get"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/", "patch"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/", "delete"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/secret/", "post"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/test/", "post"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/deliveries/", "get"): {ADMIN},
    ("webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/", "post"): {ADMIN},
    ("tenants/", "get"): ALL,
    ("tenants/", "post"): {ADMIN},
    ("tenants/<uuid:tenant_id>/", "get"): ALL,
    ("tenants/<uuid:tenant_id>/quotas/", "get"): ALL,
    ("tenants/<uuid:tenant_id>/quotas/", "put"): {ADMIN},
    ("tenants/<uuid:tenant_id>/quotas/simulation/", "get"): {ADMIN},
    ("tenants/<uuid:tenant_id>/suspend/", "post"): {ADMIN},
    ("tenants/<uuid:tenant_id>/resume/", "post"): {ADMIN},
    ("tenants/<uuid:tenant_id>/close/", "post"): {ADMIN},
    ("tenants/<uuid:tenant_id>/restore/", "post"): {ADMIN},
    # No key looks inside a tenant, whatever its roles.
    ("tenants/<uuid:tenant_id>/break-glass/", "post"): set(),
    ("tenants/<uuid:tenant_id>/export/", "post"): set(),
    ("tenants/<uuid:tenant_id>/erase/", "post"): set(),
    ("approvals/", "get"): ALL,
    ("approvals/<uuid:approval_id>/approve/", "post"): {ADMIN, FINANCE},
    ("approvals/<uuid:approval_id>/decline/", "post"): {ADMIN, FINANCE},
    ("contracts/", "get"): ALL,
    # No key writes prices.
    ("price-books/", "get"): ALL,
    ("price-books/", "post"): set(),
    ("price-books/<uuid:book_id>/", "get"): ALL,
    ("price-books/<uuid:book_id>/preview/", "post"): set(),
    ("price-books/<uuid:book_id>/versions/", "post"): set(),
    ("exchange-rates/", "get"): ALL,
    ("exchange-rates/", "post"): set(),
    ("tax-rates/", "get"): ALL,
    ("tax-rates/", "post"): set(),
    ("tax-rates/<uuid:rate_id>/end/", "post"): set(),
    ("what-if/", "post"): set(),
    ("tenants/<uuid:tenant_id>/contracts/", "get"): ALL,
    ("tenants/<uuid:tenant_id>/contracts/", "post"): set(),
    ("tenants/<uuid:tenant_id>/contracts/currency/", "get"): ALL,
    ("tenants/<uuid:tenant_id>/contracts/withdraw/", "post"): set(),
    ("tenants/<uuid:tenant_id>/billing-details/", "put"): set(),
    ("exports/focus/", "get"): ALL,
    ("tenants/<uuid:tenant_id>/credits/", "get"): ALL,
    ("tenants/<uuid:tenant_id>/credits/", "post"): {FINANCE},
    ("tenants/<uuid:tenant_id>/credits/<uuid:block_id>/withdraw/", "post"): {FINANCE},
    ("invoices/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/lines/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/pdf/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/csv/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/review/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/finalise/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/void/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/collect/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/send/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/credit-notes/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/credit-notes/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/credit-notes/<uuid:note_id>/pdf/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/comments/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/comments/", "post"): {FINANCE},
    ("disputes/", "get"): ALL,
    ("disputes/<uuid:dispute_id>/", "get"): ALL,
    ("disputes/<uuid:dispute_id>/messages/", "post"): {FINANCE},
    ("disputes/<uuid:dispute_id>/answer/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/deferrals/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/deferrals/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/mark-paid/", "get"): ALL,
    ("invoices/<uuid:invoice_id>/mark-paid/", "post"): {FINANCE},
    ("invoices/<uuid:invoice_id>/payments/<uuid:payment_id>/reverse/", "post"): {FINANCE},
    ("periods/<str:period>/", "get"): ALL,
    ("periods/<str:period>/run/", "post"): {FINANCE},
    ("reconciliation/", "get"): ALL,
    ("reconciliation/", "post"): {FINANCE},
    ("seller/", "get"): ALL,
    # Nor changes where customers pay.
    ("seller/", "put"): set(),
    ("looks/", "get"): ALL,
    ("looks/<uuid:look_id>/approve/", "post"): set(),
    ("looks/<uuid:look_id>/decline/", "post"): set(),
    ("looks/<uuid:look_id>/open/", "post"): set(),
    ("looks/<uuid:look_id>/end/", "post"): set(),
    ("utilisation/", "get"): ALL,
    ("capacity/", "get"): ALL,
    ("cluster-bill/", "get"): ALL,
    # No key says what devices cost.
    ("device-costs/", "get"): ALL,
    ("device-costs/", "post"): set(),
    ("device-costs/<uuid:cost_id>/withdraw/", "post"): set(),
    ("cluster-bill/rule/", "put"): set(),
    ("idle/", "get"): ALL,
    ("idle-rules/", "get"): ALL,
    ("idle-rules/", "put"): {ADMIN},
    ("idle-rules/remove/", "post"): {ADMIN},
    ("fleet/", "get"): ALL,
    ("fleet/devices/<uuid:device_id>/cordon/", "post"): {ADMIN},
    ("fleet/devices/<uuid:device_id>/uncordon/", "post"): {ADMIN},
    ("fleet/shares/", "get"): ALL,
    ("fleet/shares/", "put"): {ADMIN},
    ("nodes/tokens/", "get"): ALL,
    ("nodes/tokens/", "post"): {ADMIN},
    ("nodes/tokens/<uuid:token_id>/revoke/", "post"): {ADMIN},
    ("nodes/<uuid:node_id>/drain/", "post"): {ADMIN},
    ("nodes/<uuid:node_id>/return/", "post"): {ADMIN},
    ("nodes/<uuid:node_id>/end/", "post"): {ADMIN},
    ("nodes/<uuid:node_id>/labels/", "put"): {ADMIN},
}
IDLE = {"window_minutes": 60, "busy_percent": 10, "grace_minutes": 15}
METHODS = ("get", "post", "put", "patch", "delete")
GOOD: dict[str, dict[str, Any]] = {
    "nodes/<uuid:node_id>/labels/": {"labels": {"zone": "eu"}, "reason": "It stands there"},
    "idle-rules/": {**IDLE, "device_class": "cpu", "reason": "Long pauses there"},
    "idle-rules/remove/": {"device_class": "cpu", "reason": "As all others"},
    "nodes/tokens/": {"name": "second", "reason": "Asked for by mail"},
    "fleet/shares/": {"device_class": "cpu", "shares": ["1/2", "1/4"], "reason": "Small jobs wait"},
    "price-books/": {"name": "Gold", "currency": "EUR", "reason": "As agreed"},
    "price-books/<uuid:book_id>/preview/": {"prices": [{"meter": "device_seconds", "unit_amount": "0.02"}]},
    "price-books/<uuid:book_id>/versions/": {
        "prices": [{"meter": "device_seconds", "unit_amount": "0.02"}],
        "reason": "As agreed",
    },
    "tenants/<uuid:tenant_id>/contracts/": {
        "price_book": "01a22ed1-e7f5-7277-ad78-9a115314de02",
        "starts_on": "2030-01-01",
        "reason": "As agreed",
    },
    "tenants/<uuid:tenant_id>/billing-details/": {"billing_name": "Vision SA", "country": "FR", "reason": "They moved"},
    "what-if/": {"tenants": ["01a22ed1-e7f5-7277-ad78-9a115314de02"], "tax_rate": "19"},
    "exchange-rates/": {
        "from_currency": "USD",
        "to_currency": "EUR",
        "rate": "0.92",
        "origin": "ECB",
        "reason": "As published",
    },
    "cluster-bill/rule/": {"rule": "even", "month": "2099-01", "reason": "As agreed"},
    "device-costs/": {
        "device_class": "cpu",
        "per_hour": "0.25",
        "currency": "EUR",
        "starts_on": "2026-01-01",
        "reason": "As bought",
    },
    "tax-rates/": {
        "country": "DE",
        "name": "VAT",
        "percent": "19",
        "starts_on": "2020-01-01",
        "reason": "The law",
    },
    "tax-rates/<uuid:rate_id>/end/": {"ends_on": "2030-01-01", "reason": "The law"},
    "tenants/<uuid:tenant_id>/credits/": {"amount": "10.00", "reason": "As agreed"},
    "invoices/<uuid:invoice_id>/comments/": {"text": "asked for the logs"},
    "disputes/<uuid:dispute_id>/messages/": {"text": "we look into it"},
    "disputes/<uuid:dispute_id>/answer/": {"text": "it was ours", "outcome": "agreed"},
    "invoices/<uuid:invoice_id>/review/": {},
    "invoices/<uuid:invoice_id>/finalise/": {},
    "invoices/<uuid:invoice_id>/collect/": {},
    "invoices/<uuid:invoice_id>/send/": {},
    "invoices/<uuid:invoice_id>/deferrals/": {"until": "2030-01-01", "reason": "a cheque is on its way"},
    "invoices/<uuid:invoice_id>/mark-paid/": {"amount": "1.00", "received_on": "2026-01-01"},
    "periods/<str:period>/run/": {},
    "reconciliation/": {},
    "seller/": {"name": "Compute GmbH", "address": "1 Main Street", "reason": "The first seller"},
    "keys/": {"name": "export", "roles": [SUPPORT]},
    "notifications/": {"type": "node.lost", "wanted": True},
    "webhooks/": {"name": "pager", "url": "https://hooks.example/x", "types": ["node.lost"]},
    "webhooks/<uuid:webhook_id>/": {"enabled": False},
    "tenants/": {"name": "Vision", "slug": "vision", "owner_email": "owner@vision.example"},
    "tenants/<uuid:tenant_id>/quotas/": {"resource": "devices:cpu", "limit": 4, "reason": "Contract of November"},
}
START = "api/operator/v1/"
REASON = {"reason": "Asked for by mail"}


def test_the_table_knows_every_method_of_every_route() -> None:
    there = {
        (route.removeprefix(START), method)
        for route, pattern in routes_below("config.console.urls", START)
        for method in METHODS
        if hasattr(pattern.callback.cls, method)
    }
    assert there == set(MATRIX)


@pytest.fixture
def secrets(as_control: Role, as_operator: Role) -> dict[str, str]:
    """A key of each role, of one operator each."""
    made = {}
    with as_control():
        platform_secrets.provide()
    for role in OPERATOR_ROLES:
        with as_control():
            grants.grant(f"{role}@platform.example", role, password=factories.PASSWORD)
        with as_operator():
            user = User.objects.get(email=f"{role}@platform.example")
            operator = Operator(id=user.id, label=user.email, roles=(role,))
            made[role] = keys.create(operator=operator, name=role, roles=[role]).secret
    return made


@pytest.fixture
def ids() -> dict[str, str]:
    tenant = factories.make_tenant("ours")
    nodes.register(
        name="atlas", hostname="atlas", boot=uuid4(), found=[Found("c", "cpu", "cpu", "CPU 0", 0, 1)], missing_layers=[]
    )
    return {
        "tenant_id": str(tenant.id),
        "device_id": str(Device.objects.get().id),
        "node_id": str(Node.objects.get().id),
        "token_id": str(uuid4()),
        "key_id": str(uuid4()),
        "look_id": str(uuid4()),
        "approval_id": str(uuid4()),
        "book_id": str(uuid4()),
        "invoice_id": str(uuid4()),
        "payment_id": str(uuid4()),
        "note_id": str(uuid4()),
        "block_id": str(uuid4()),
        "rate_id": str(uuid4()),
        "cost_id": str(uuid4()),
        "dispute_id": str(uuid4()),
        "webhook_id": str(uuid4()),
        "delivery_id": str(uuid4()),
    }


def call(route: str, method: str, ids: dict[str, str], secret: str | None) -> Any:
    path = route.replace("<str:period>", "2026-01")
    for name, value in ids.items():
        path = path.replace(f"<uuid:{name}>", value)
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    body = None if method in ("get", "delete") else GOOD.get(route, REASON)
    return getattr(Client(), method)(
        f"/api/operator/v1/{path}", body, **({"content_type": "application/json"} if body else {}), headers=headers
    )


@pytest.mark.parametrize("role", [*OPERATOR_ROLES, "nobody", "stranger"])
def test_each_role_may_call_what_the_table_says(
    role: str, secrets: dict[str, str], ids: dict[str, str], console: Role
) -> None:
    tenants_key = factories.make_api_key(factories.make_tenant("theirs"))
    secret = {"nobody": None, "stranger": tenants_key}.get(role, secrets.get(role))
    faults = []
    with console():
        for (route, method), allowed in MATRIX.items():
            answer = call(route, method, ids, secret)
            if role in ("nobody", "stranger"):
                right = answer.status_code == 401
            elif role in allowed:
                right = answer.status_code not in (401, 403) or answer.json()["code"] == "only_a_person"
            else:
                right = answer.status_code == 403 and answer.json()["code"] in ("permission_denied", "only_a_person")
            if not right or answer.status_code >= 500:
                faults.append(f"{method} {route}: {answer.status_code} {answer.content[:200]!r}")
    assert faults == []


def test_a_key_has_no_more_than_its_operator_still_has(
    secrets: dict[str, str], ids: dict[str, str], console: Role, as_control: Role, demo_clock: Any
) -> None:
    secret = secrets[ADMIN]
    with console():
        assert call("tenants/", "post", ids, secret).status_code == 201
        assert call("keys/", "post", ids, secret).json()["code"] == "only_a_person"
        for role, code in ((FINANCE, "only_a_person"), (SUPPORT, "permission_denied")):
            pays_elsewhere = call("seller/", "put", ids, secrets[role])
            assert (pays_elsewhere.status_code, pays_elsewhere.json()["code"]) == (403, code)
        row = OperatorKey.objects.get(name=ADMIN)
        assert row.last_used_at is not None
        assert secret.encode() not in bytes(row.key_hash)
        OperatorKey.objects.filter(name=FINANCE).update(revoked_at=now())
        assert call("me/", "get", ids, secrets[FINANCE]).status_code == 401
        support = User.objects.get(email=f"{SUPPORT}@platform.example")
        short = keys.create(
            operator=Operator(id=support.id, label=support.email, roles=(SUPPORT,)),
            name="short",
            roles=[SUPPORT],
            expires_at=now() + timedelta(hours=1),
        ).secret
        assert call("me/", "get", ids, short).status_code == 200
        demo_clock.advance(timedelta(hours=2))
        assert call("me/", "get", ids, short).status_code == 401
    with as_control():
        grants.grant(f"{ADMIN}@platform.example", SUPPORT)
        grants.revoke(f"{ADMIN}@platform.example", ADMIN)
    with console():
        refused = call("me/", "get", ids, secret)
        assert refused.status_code == 403, "its role is gone, and a new role does not widen it"


def test_a_person_makes_and_revokes_keys_with_their_own_roles_alone(
    secrets: dict[str, str], console: Role, settings: Any
) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})
    with console():
        client = Client()
        client.post("/accounts/login/", {"login": f"{SUPPORT}@platform.example", "password": factories.PASSWORD})
        url, body = "/api/operator/v1/keys/", {"name": "export", "roles": [ADMIN]}
        refused = client.post(url, body, content_type="application/json")
        assert (refused.status_code, list(refused.json()["fields"])) == (400, ["roles"])
        made = client.post(url, body | {"roles": [SUPPORT]}, content_type="application/json")
        assert made.status_code == 201
        headers = {"Authorization": f"Bearer {made.json()['key']}"}
        assert Client().get("/api/operator/v1/me/", headers=headers).json()["roles"] == [SUPPORT]
        assert client.delete(f"{url}{made.json()['id']}/").status_code == 204
        assert Client().get("/api/operator/v1/me/", headers=headers).status_code == 401
        others = OperatorKey.objects.get(name=ADMIN)
        assert client.delete(f"{url}{others.id}/").status_code == 404
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = client.cookies
        assert strict.post(url, body, content_type="application/json").status_code == 403


def test_without_a_second_factor_a_session_opens_no_route(secrets: dict[str, str], console: Role) -> None:
    with console():
        client = Client()
        client.post("/accounts/login/", {"login": f"{ADMIN}@platform.example", "password": factories.PASSWORD})
        answer = client.get("/api/operator/v1/me/")
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_missing")


def test_a_refused_request_leaves_nothing(secrets: dict[str, str], ids: dict[str, str], console: Role) -> None:
    headers = {"Authorization": f"Bearer {secrets[ADMIN]}"}
    url = f"/api/operator/v1/tenants/{ids['tenant_id']}/"
    with console():
        for path, method, body in (
            ("quotas/", "put", {"resource": "devices:cpu", "limit": 4, "reason": "x"}),
            ("quotas/", "put", {"resource": "no:such", "limit": 4, "reason": "Because of this"}),
            ("quotas/", "put", {"resource": "devices:cpu", "limit": 4, "reason": "Because", "limti": 3}),
            ("suspend/", "post", {"reason": ""}),
            ("suspend/", "post", {}),
        ):
            answer = getattr(Client(), method)(f"{url}{path}", body, content_type="application/json", headers=headers)
            assert answer.status_code == 400, (path, body, answer.content[:200])
        again = Client().post(f"{url}resume/", REASON, content_type="application/json", headers=headers)
        assert (again.status_code, again.json()["code"]) == (409, "wrong_standing")
        log = Client().get("/api/operator/v1/audit/", headers=headers).json()["results"]
        assert {act["target_type"] for act in log} <= {"operator", "operator_key"}
        set_one = Client().put(
            f"{url}quotas/", GOOD["tenants/<uuid:tenant_id>/quotas/"], content_type="application/json", headers=headers
        )
        assert (set_one.status_code, set_one.json()["limit"]) == (200, 4)
        (row,) = Client().get(f"{url}quotas/", headers=headers).json()["results"]
        assert (row["resource"], row["limit"], row["reason"]) == ("devices:cpu", 4, "Contract of November")
