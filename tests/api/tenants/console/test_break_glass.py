"""Break-glass over HTTP: an operator looks inside one tenant, for a reason and a time, reads alone, and is seen doing it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from tenants.events import outbox
from tenants.identity import looks as inside
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, BreakGlass, Notification, OperatorAct, Tenant
from tests.browser.pages import PAGES
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def tenant() -> Tenant:
    made = factories.make_tenant("vision", owner="owner@vision.example")
    factories.make_tenant("audio")
    return made


def opened(ticket: str) -> Client:
    """Return a browser that looks inside."""
    client = Client()
    asked = client.get("/look-inside/", {"ticket": ticket})
    assert "Look inside an organisation" in text_of(asked)
    answer = client.post("/look-inside/", {"ticket": ticket})
    assert answer.status_code == 302, text_of(answer)
    return client


@pytest.fixture
def look(seller: Any, tenant: Tenant) -> tuple[Any, Client, BreakGlass]:
    """An administrator's console, the browser in which they look inside, and the look."""
    console = seller("platform_admin")
    asked = console.post(f"/tenants/{tenant.id}/look-inside/", {"reason": "Ticket 4711: jobs fail", "minutes": "20"})
    assert asked.status_code == 302, text_of(asked)
    with tenant_scope(tenant.id):
        row = BreakGlass.objects.get()
    return console, opened(ticket_of(console, tenant)), row


def ticket_of(console: Any, tenant: Tenant, look_id: UUID | None = None) -> str:
    """Return a fresh ticket of the newest look inside a tenant, or of another one."""
    if look_id is None:
        with tenant_scope(tenant.id):
            look_id = BreakGlass.objects.order_by("-id").values_list("id", flat=True)[0]
    answer = console.post(f"/looks/{look_id}/open/")
    assert answer.status_code == 200, text_of(answer)
    return urlsplit(answer.context["url"]).query.partition("=")[2]


def request_of(browser: Client, rf: Any) -> Any:
    """Return a request with the session of a browser that looks inside."""
    request = rf.get("/t/vision/jobs/")
    request.session = browser.session
    return request


@pytest.fixture
def world(once_made: Any, superuser: psycopg.Connection, as_control: Any, s3: Any) -> Any:
    """A filled tenant, `vision`, with jobs, data, models and an endpoint."""
    from tests.browser.world import NOW, Builder, set_clock

    made = once_made("world", Builder(superuser, as_control).build)
    set_clock(superuser, NOW)
    yield made
    superuser.execute("DELETE FROM demo_clock")


#: Pages of the filled tenant that a look opens; every other one of PAGES is closed to it.
READ = {
    *("jobs", "job-running", "job-succeeded", "job-failed", "job-queued", "job-logs", "job-attempts", "job-events"),
    *("job-batch", "datasets", "dataset", "models", "model", "model-version", "model-compare", "endpoints", "endpoint"),
    *("idle", "job-sets", "presets", "pipelines", "pipeline", "pipeline-run"),
    *("schedules", "schedule"),
    *("members", "access", "access-withdraw", "roles", "groups", "group", "projects", "project"),
}


def test_the_pages_of_the_work_open_and_those_of_money_keys_and_rights_to_change_do_not(
    world: Any, seller: Any, superuser: psycopg.Connection
) -> None:
    console = seller("platform_admin")
    console.post(f"/tenants/{world.vision.id}/look-inside/", {"reason": "Ticket 4711: jobs fail", "minutes": "20"})
    browser = opened(ticket_of(console, world.vision))
    found = {page.name: browser.get(page.url("vision", world.ids)) for page in PAGES}
    assert {name for name, answer in found.items() if answer.status_code == 200} == READ
    assert {answer.status_code for name, answer in found.items() if name not in READ} == {403}
    by_cost = browser.get("/t/vision/jobs/?sort=-cost")
    assert [one.id for one in by_cost.context["jobs"]] == [one.id for one in found["jobs"].context["jobs"]]
    jobs = text_of(found["jobs"])
    assert "You look inside as an operator" in jobs
    assert "cancer-final" in jobs
    assert "Ada Byron" in text_of(found["members"])
    assert [name for name in READ if "Export CSV" in text_of(found[name])] == [], "it is refused there"
    shown = {name: re.findall(r'class="money"|[€$£]|\bEUR\b', text_of(found[name])) for name in READ}
    assert {name: marks for name, marks in shown.items() if marks} == {}, "money is not part of a look"


def test_a_job_that_waits_for_money_opens_without_it(world: Any, seller: Any, superuser: psycopg.Connection) -> None:
    console = seller("platform_admin")
    console.post(f"/tenants/{world.vision.id}/look-inside/", {"reason": "Ticket 4711: jobs wait", "minutes": "20"})
    browser, queued = opened(ticket_of(console, world.vision)), world.ids["queued"]
    for change, reason in (
        ("state = 'paused', cause = 'budget', max_cost = 4711", "It waits for headroom in a budget"),
        ("state = 'queued', cause = '', approval_id = gen_random_uuid()", "request for a higher limit"),
    ):
        superuser.execute(f"UPDATE compute_job SET {change} WHERE id = %s", [queued])
        for page in ("", "?tab=attempts", "live/"):
            shown = browser.get(f"/t/vision/jobs/{queued}/{page}")
            assert (shown.status_code, "4,711" in text_of(shown)) == (200, False), page
        assert reason in text_of(shown)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tenants_project (id, tenant_id, slug, name) SELECT gen_random_uuid(), id, 'x', 'x' FROM tenants_tenant",
        "UPDATE tenants_project SET name = 'x'",
        "DELETE FROM compute_job",
        "SELECT * FROM tenants_apikey",
        "SELECT * FROM tenants_auditentry",
        "SELECT * FROM tenants_datakey",
        "SELECT * FROM billing_hold",
        "SELECT * FROM billing_invoice",
        "SELECT sum(amount) FROM billing_usagerollup",
        "SELECT spent FROM compute_job",
        "SELECT name FROM compute_job WHERE unit_amount * max_seconds > 1 OR quoted_most > 1 OR max_cost > 1",
        "SELECT key_hash FROM models_app_endpointkey",
        "SELECT password FROM tenants_user",
        "SELECT set_config('transaction_read_only', 'off', true)",
    ],
)
def test_the_database_refuses_what_a_look_does_not_read(look: Any, rf: Any, statement: str) -> None:
    with inside.entering(request_of(look[1], rf), "vision"), pytest.raises(DatabaseError), transaction.atomic():
        connection.cursor().execute(statement)


def test_the_database_shows_one_tenant_and_nothing_once_the_time_is_over(
    look: Any, rf: Any, tenant: Tenant, demo_clock: Any, as_control: Role
) -> None:
    with as_control():
        other = Tenant.objects.get(slug="audio").id

    def rows() -> tuple[int, int, int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM tenants_tenant), (SELECT count(*) FROM tenants_project), "
                "(SELECT count(*) FROM tenants_user)"
            )
            return cast(tuple[int, int, int], cursor.fetchone())

    with inside.entering(request_of(look[1], rf), "vision") as (actor, entered):
        assert (actor.kind, entered.id) == ("operator", tenant.id)
        assert rows() == (1, 1, 1), "of two tenants with a project and an owner each"
        connection.cursor().execute("SELECT set_config('app.tenant', %s, true)", [str(other)])
        assert rows() == (1, 1, 1), "the look names the tenant, not the setting"
        demo_clock.advance(timedelta(minutes=21))
        assert rows() == (0, 0, 0)


def test_a_look_ends_by_time_at_once_and_with_the_browser(
    look: Any, tenant: Tenant, demo_clock: Any, console: Role, seller: Any
) -> None:
    at_console, browser, row = look
    assert browser.get("/t/vision/projects/").status_code == 200
    assert browser.get("/t/audio/projects/").status_code == 403, "one tenant"
    assert browser.post("/t/vision/projects/new/", {"name": "X", "slug": "x"}).status_code == 403
    assert browser.get("/api/v1/me/").status_code == 401
    again = ticket_of(at_console, tenant)
    second = opened(again)
    assert browser.get("/t/vision/projects/").status_code == 403, "a new ticket ends the session of the one before"
    assert Client().post("/look-inside/", {"ticket": again}).status_code == 404, "a ticket opens once"
    assert "You have left" in text_of(second.post("/look-inside/leave/"))
    assert second.get("/t/vision/projects/").status_code == 302
    third = opened(ticket_of(at_console, tenant))
    assert at_console.post(f"/looks/{row.id}/end/").status_code == 302
    assert third.get("/t/vision/projects/").status_code == 403
    assert at_console.post(f"/looks/{row.id}/open/").status_code == 409
    at_console.post(f"/tenants/{tenant.id}/look-inside/", {"reason": "Once more", "minutes": "5"})
    fourth = opened(ticket_of(at_console, tenant))
    late = ticket_of(at_console, tenant)
    demo_clock.advance(timedelta(minutes=3))
    assert Client().post("/look-inside/", {"ticket": late}).status_code == 404, "a ticket is valid for two minutes"
    assert fourth.get("/t/vision/projects/").status_code == 200
    demo_clock.advance(timedelta(minutes=3))
    ended = fourth.get("/t/vision/projects/")
    assert (ended.status_code, "This look inside is over" in text_of(ended)) == (403, True)
    for browser, needs_second in ((at_console, True), (seller("platform_admin", "platform_support"), False)):
        browser.post(f"/tenants/{tenant.id}/look-inside/", {"reason": "And on", "minutes": "6"})
        with tenant_scope(tenant.id):
            assert BreakGlass.objects.order_by("-id")[0].needs_second is needs_second, (
                "30 minutes a day alone, for each"
            )


def test_owners_are_told_and_both_logs_keep_it(look: Any, tenant: Tenant, as_control: Role) -> None:
    _, browser, row = look
    with as_control():
        outbox.drain(tenant.id)
    with tenant_scope(tenant.id):
        (told,) = Notification.objects.filter(kind="break_glass")
        assert (told.user.email, told.bell) == ("owner@vision.example", True)
        assert "Ticket 4711: jobs fail" in told.body
        said = list(
            AuditEntry.objects.filter(target_type="break_glass").order_by("seq").values_list("action", "reason")
        )
    assert said == [
        ("tenants.break_glass.asked", row.reason),
        ("tenants.break_glass.began", row.reason),
        ("tenants.break_glass.entered", row.reason),
    ]
    assert browser.get("/t/vision/members/").status_code == 200
    owner = Client()
    owner.post("/accounts/login/", {"login": "owner@vision.example", "password": factories.PASSWORD})
    page = text_of(owner.get(f"/t/vision/{told.path}"))
    assert "Look inside entered" in page
    assert "Ticket 4711: jobs fail" in page


def test_support_and_long_looks_wait_for_a_second_operator(seller: Any, tenant: Tenant, console: Role) -> None:
    support, admin = seller("platform_support"), seller("platform_admin")
    url = f"/tenants/{tenant.id}/look-inside/"
    for browser, minutes in ((support, "10"), (admin, "60")):
        assert browser.post(url, {"reason": "Ticket 4712", "minutes": minutes}).status_code == 302
    with tenant_scope(tenant.id):
        of_support, long = BreakGlass.objects.order_by("id")
    assert [one.ends_at for one in (of_support, long)] == [None, None]
    assert support.post(f"/looks/{of_support.id}/open/").status_code == 409
    assert admin.post(f"/looks/{long.id}/answer/", {"answer": "approve"}).status_code == 403, "not one's own"
    assert support.post(f"/looks/{long.id}/answer/", {"answer": "approve"}).status_code == 403, "support answers none"
    assert admin.post(f"/looks/{of_support.id}/answer/", {"answer": "approve"}).status_code == 302
    assert admin.post(f"/looks/{of_support.id}/answer/", {"answer": "approve"}).status_code == 409, "once"
    assert admin.post(f"/looks/{of_support.id}/open/").status_code == 404, "another's look is not opened"
    assert opened(ticket_of(support, tenant, of_support.id)).get("/t/vision/jobs/").status_code == 200
    other = seller("platform_admin", "platform_finance")
    declined = other.post(f"/looks/{long.id}/answer/", {"answer": "decline", "reason": "Not needed"})
    assert declined.status_code == 302
    assert admin.post(f"/looks/{long.id}/open/").status_code == 409
    finance = seller("platform_finance")
    assert finance.post(url, {"reason": "Curious", "minutes": "5"}).status_code == 403
    with console():
        said = list(OperatorAct.objects.filter(action__startswith="tenants.break_glass").order_by("seq"))
    assert [one.action.rpartition(".")[2] for one in said] == ["asked", "asked", "began", "declined"]


def test_what_is_wrong_with_a_wish_is_said_and_nothing_begins(seller: Any, tenant: Tenant) -> None:
    admin = seller("platform_admin")
    url = f"/tenants/{tenant.id}/look-inside/"
    for wrong in (
        {"reason": "", "minutes": "5"},
        {"reason": "Why", "minutes": "241"},
        {"reason": "Why", "minutes": "0"},
    ):
        assert admin.post(url, wrong).status_code == 422
    with tenant_scope(tenant.id):
        assert not BreakGlass.objects.exists()


def test_the_api_asks_opens_and_ends_for_a_person_and_for_no_key(seller: Any, tenant: Tenant) -> None:
    admin = seller("platform_admin")
    start, as_json = "/api/operator/v1", {"content_type": "application/json"}
    made = admin.post(f"{start}/tenants/{tenant.id}/break-glass/", {"reason": "By the API", "minutes": 10}, **as_json)
    assert (made.status_code, made.json()["state"], made.json()["needs_second"]) == (201, "open", False)
    one = f"{start}/looks/{made.json()['id']}"
    ticket = admin.post(f"{one}/open/", **as_json).json()["url"]
    assert opened(urlsplit(ticket).query.partition("=")[2]).get("/t/vision/jobs/").status_code == 200
    assert admin.post(f"{one}/approve/", **as_json).status_code == 403
    assert admin.post(f"{one}/end/", **as_json).status_code == 204
    assert admin.get(f"{start}/looks/").json()["results"][0]["state"] == "ended"
