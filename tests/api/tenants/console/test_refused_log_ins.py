"""Refused log-ins of both sides stand in the operator log: bounded, without addresses, and silent about accounts."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.db.utils import ProgrammingError
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.audit.verify import verify_platform
from tenants.isolation.scoping import tenant_scope
from tenants.models import IdentityProvider, OperatorAct, RefusedLogIn, User
from tenants.operators.log import log_ins
from tests.support import factories
from tests.support.console import ROOT, log_in, set_up_second_factor
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
ADA, WRONG = "ada@ours.example", "not the right one"


@pytest.fixture
def ada() -> User:
    return factories.make_member(factories.make_tenant("ours"), "owner", ADA)


def tried(login: str, password: str = WRONG, **more: Any) -> int:
    return int(Client(**more).post("/accounts/login/", {"login": login, "password": password}).status_code)


@pytest.fixture
def entries(as_control: Role) -> Callable[[], list[OperatorAct]]:
    """Have the ops worker enter what was noted; return the entries about log-ins, oldest first."""

    def enter() -> list[OperatorAct]:
        with as_control():
            log_ins.enter()
            assert RefusedLogIn.objects.count() == 0
            assert verify_platform().ok
            return list(OperatorAct.objects.filter(action="tenants.log_in.refused").order_by("seq"))

    return enter


def test_a_refused_log_in_is_one_entry_of_the_operator_log(
    ada: User, entries: Callable[[], list[OperatorAct]], superuser: psycopg.Connection
) -> None:
    here = {"REMOTE_ADDR": "203.0.113.9"}
    assert [tried(ADA, **here), tried(ADA.upper(), **here), tried(ADA, REMOTE_ADDR="203.0.113.10")] == [200] * 3
    (entry,) = entries()
    assert (entry.outcome, entry.target_type, entry.target_id) == ("refused", "account", str(ada.id))
    assert entry.reason.startswith("by password: credentials wrong, at 20")
    assert entry.request_id
    assert [tried(f"nobody{n}@else.example", **here) for n in range(3)] == [200] * 3
    client = entries()[-1]
    assert (len(entries()), client.target_type, len(client.target_id)) == (2, "client", 16)
    stored = " ".join(str(value) for one in entries() for value in vars(one).values()).lower()
    assert not [word for word in (ADA, "else.example", "203.0.113") if word in stored]
    cache.clear()  # ten minutes later; after a day the same client is another
    assert tried("nobody@else.example", **here) == 200
    assert (len(entries()), entries()[-1].target_id == client.target_id) == (3, False)


def test_a_log_in_that_is_held_up_is_an_entry(
    ada: User, entries: Callable[[], list[OperatorAct]], settings: Any
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "login_failed_anywhere": "1/h/key"}
    assert tried(ADA, REMOTE_ADDR="203.0.113.9") == 200
    entries()
    cache.delete(f"log_in_refused:tenants:account:{ada.id}")
    assert tried(ADA, REMOTE_ADDR="203.0.113.10") == 429
    assert [one.reason.partition(",")[0] for one in entries()] == [
        "by password: credentials wrong",
        "by password: too many attempts",
    ]


def test_counters_in_the_database_bound_the_entries_too(
    ada: User, entries: Callable[[], list[OperatorAct]], settings: Any
) -> None:
    settings.CACHES = {"default": {"BACKEND": "tenants.web.json_cache.JsonCache", "LOCATION": "tenants_ratelimit"}}
    for address in ("203.0.113.9", "203.0.113.9", "203.0.113.10"):
        assert tried(ADA, REMOTE_ADDR=address) == 200
        assert [one.target_id for one in entries()] == [str(ada.id)]


def test_who_logs_in_is_no_entry(ada: User, entries: Callable[[], list[OperatorAct]]) -> None:
    assert tried(ADA, factories.PASSWORD) == 302
    assert entries() == []


@pytest.mark.django_db(transaction=True)
def test_a_wrong_second_factor_is_an_entry(ada: User, entries: Callable[[], list[OperatorAct]]) -> None:
    client, again = Client(), Client()
    given = {"login": ADA, "password": factories.PASSWORD}
    client.post("/accounts/login/", given)
    set_up_second_factor(client)
    again.post("/accounts/login/", given)
    assert entries() == []
    for wrong in ({"code": "000000"}, {"credential": "{}"}):
        assert again.post("/accounts/2fa/authenticate/", wrong).status_code == 200
        cache.clear()
    assert [(one.target_id, one.reason.partition(",")[0]) for one in entries()] == [
        (str(ada.id), "by a second factor: second factor wrong")
    ]
    cache.clear()
    assert client.post("/accounts/2fa/reauthenticate/", {"code": "000000"}).status_code == 200
    assert len(entries()) == 2, "in an open session too"


def test_an_identity_providers_refused_answer_is_an_entry(
    ada: User, entries: Callable[[], list[OperatorAct]], as_control: Role
) -> None:
    del ada
    with as_control():
        tenant = log_ins.Tenant.objects.get(slug="ours")
    with tenant_scope(tenant.id):
        IdentityProvider.objects.create(kind="oidc", name="Theirs", enabled=True, issuer="https://idp.example")
    assert Client().get("/t/ours/sso/callback/?state=forged&code=1").status_code == 403
    assert Client().post("/t/ours/sso/acs/", {"RelayState": "forged"}).status_code == 403
    (entry,) = entries()
    assert entry.target_type == "client"
    assert entry.reason.startswith("by an identity provider of ours: log in invalid, at ")


def test_a_refused_operator_is_an_entry_that_the_page_finds(
    operator: Any, console: Role, entries: Callable[[], list[OperatorAct]], without_second_factor: None
) -> None:
    operator()
    with console():
        assert [tried(ROOT), tried("nobody@platform.example")] == [200, 200]
    known, unknown = entries()
    assert (known.target_type, known.operator_label) == ("operator", "log-in of operators")
    assert (unknown.target_type, ROOT in str(vars(known).values())) == ("client", False)
    with console():
        admin = log_in()
        found = text_of(admin.get("/log/?action=tenants.log_in&outcome=refused"))
        assert ("Log-in refused" in found, known.target_id in found, "Operator granted" in found) == (True, True, False)
        assert "No entry matches" in text_of(admin.get("/log/?action=tenants.log_in&outcome=failed"))
        filters = [
            ("actor", "LOG-IN OF", "zoe"), ("target", known.target_id, "another"),
            ("since", "2001-01-01", "8999-01-01"), ("until", "8999-01-01", "2001-01-01"),
        ]  # fmt: skip
        for name, hit, miss in filters:
            shown = [text_of(admin.get("/log/", {"outcome": "refused", name: value})) for value in (hit, miss)]
            assert ["Log-in refused" in page for page in shown] == [True, False], name
            assert "No entry matches" in shown[1]
        assert "Log-in refused" not in text_of(admin.get("/")), "the newest acts are those of operators"
        url = "/api/operator/v1/audit/"
        rows = admin.get(f"{url}?action=tenants.log_in&outcome=refused").json()["results"]
        assert [(row["target_id"], row["outcome"]) for row in rows] == [
            (unknown.target_id, "refused"),
            (known.target_id, "refused"),
        ]
        assert admin.get(f"{url}?outcome=no").status_code == 400
        filters[1] = ("target_id", *filters[1][1:])
        for name, hit, miss in [*filters, ("target_type", "operator", "tenant")]:
            asked = (
                {"outcome": "refused", name: f"{value}T00:00:00Z" if "-01-" in value else value}
                for value in (hit, miss)
            )
            assert [bool(admin.get(url, one).json()["results"]) for one in asked] == [True, False], name
        assert admin.get(f"{url}?since=soon").status_code == 400


def test_a_refused_log_in_costs_the_same_whether_the_account_exists(ada: User) -> None:
    del ada
    told = []
    for email in (ADA, "nobody@ours.example"):
        with CaptureQueriesContext(connection) as asked:
            assert tried(email) == 200
        told.append([re.sub(r"'[^']*'(::uuid)?|NULL|_sync_[0-9]+", "", one["sql"]) for one in asked.captured_queries])
    assert told[0] == told[1]
    assert RefusedLogIn._meta.db_table in str(told)


def test_each_side_adds_its_own_and_reads_none(as_operator: Role) -> None:
    def refused(statement: str) -> bool:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        except ProgrammingError:
            return True
        return False

    add = (
        "INSERT INTO tenants_refusedlogin (id, side, method, code, origin, request_id) "
        "VALUES (gen_random_uuid(), '{}', 'password', '', '', '')"
    )
    others = [
        "SELECT * FROM tenants_refusedlogin",
        "DELETE FROM tenants_refusedlogin",
        "UPDATE tenants_refusedlogin SET code = ''",
        "INSERT INTO tenants_operatoract (id) VALUES (gen_random_uuid())",
    ]
    assert [refused(one) for one in (add.format("tenants"), add.format("console"), *others)] == [False, *[True] * 5]
    with as_operator():
        assert [refused(one) for one in (add.format("console"), add.format("tenants"))] == [False, True]
        assert [refused(one) for one in others[:3]] == [True] * 3


def test_a_review_of_the_operator_log_is_an_entry_that_its_page_shows(
    operator: Any, console: Role, without_second_factor: None, as_control: Role
) -> None:
    operator("platform_finance", email="fin@platform.example")
    operator("platform_support")
    with console():
        support, finance = log_in(ROOT), log_in("fin@platform.example")
        page = text_of(support.get("/log/"))
        assert "Nobody has recorded a review yet" in page
        newest = int(re.findall(r'name="up_to" value="(\d+)"', page)[0])
        wrong = support.post("/log/review/", {"up_to": newest + 5, "note": "all in order"})
        assert (wrong.status_code, f"from 1 to {newest}" in text_of(wrong)) == (422, True)
        assert finance.post("/log/review/", {"up_to": newest, "note": "all in order"}).status_code == 403
        assert support.post("/log/review/", {"up_to": newest, "note": "all in order"}).status_code == 302
        page = re.sub("<[^>]*>", "", text_of(finance.get("/log/?action=tenants.operator_log.reviewed")))
        assert f"Last reviewed by {ROOT} on" in page and f"up to entry #{newest}: all in order" in page
        assert "Operator log reviewed" in page and "Record a review" not in page
    with as_control():
        assert OperatorAct.objects.get(action="tenants.operator_log.reviewed").seq == newest + 1
        assert verify_platform().ok
