"""The rule by which devices count as idle: an organisation's own, else that of the class of device, else that of all classes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, transaction

from compute.idle import rules
from compute.idle.rules import BUILT_IN, Figures, Rules
from compute.models import Attempt, OwnIdleRule
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct
from tests.integration.compute.scheduling.test_idle import ask, looked_at, runs_for_an_hour, samples
from tests.integration.compute.test_job_pages import client_of
from tests.integration.compute.test_leases import World
from tests.support import factories, selling
from tests.support.pages import flowed, text_of

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]
RULE = {"window_minutes": 20, "busy_percent": 10, "grace_minutes": 7}
API, PAGE = "/api/operator/v1/idle-rules/", "/fleet/idle/"


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


@pytest.fixture
def admin(seller: Any) -> Any:
    return seller("platform_admin")


def warned(world: World) -> Attempt:
    """Look for idle devices, and return the attempt."""
    looked_at(world)
    with tenant_scope(world.tenant.id):
        return Attempt.objects.get()


def test_the_rule_is_ones_own_else_that_of_the_class_else_that_of_all_classes() -> None:
    own, cpu, rest = (Figures(window_minutes=n, busy_percent=n, grace_minutes=n) for n in (1, 2, 3))
    for given, of_cpu, of_h200 in (
        (Rules(own=None, by_class={}), BUILT_IN, BUILT_IN),
        (Rules(own=None, by_class={"": rest}), rest, rest),
        (Rules(own=None, by_class={"": rest, "cpu": cpu}), cpu, rest),
        (Rules(own=own, by_class={"": rest, "cpu": cpu}), own, own),
    ):
        assert (given.of("cpu"), given.of("h200")) == (of_cpu, of_h200)
    rule = BUILT_IN.rule
    assert (rule.window_s, rule.busy_below, rule.grace_s) == (1_800, 0.05, 1_800)


def test_the_watch_looks_by_the_rule_of_each_attempt(world: World, superuser: psycopg.Connection, admin: Any) -> None:
    runs_for_an_hour(world, superuser, samples(busy=0.08))
    assert warned(world).idle_since is None, "8 % is more than 5 %"

    body = {**RULE, "device_class": "", "reason": "Long pauses"}
    assert admin.put(API, body, content_type="application/json").status_code == 200
    found = warned(world)
    assert found.idle_since is not None and found.idle_stop_at is not None, "by that of all classes, 8 % is idle"
    assert timedelta(minutes=26) < found.idle_stop_at - found.idle_since < timedelta(minutes=28), "window and grace"

    of_class = {**RULE, "busy_percent": 7, "device_class": "cpu", "reason": "Short pauses"}
    assert admin.put(API, of_class, content_type="application/json").status_code == 200
    assert warned(world).idle_since is None, "by that of its class it works"

    assert ask(world, "PUT", "idle/rule/", {**RULE, "busy_percent": 9})[0] == 200
    assert warned(world).idle_since is not None, "one's own comes first"
    assert ask(world, "PUT", "idle/rule/", {**RULE, "window_minutes": 90})[0] == 200
    assert warned(world).idle_since is None, "it has not run for 90 minutes yet"

    other = factories.make_tenant("other")
    with tenant_scope(other.id):
        assert rules.rules().own is None


def test_an_admin_sets_the_rule_of_the_organisation_and_returns_to_the_platforms(world: World) -> None:
    browser, page = client_of(world.tenant), f"/t/{world.tenant.slug}/idle/"
    assert "Rule of the platform" in (before := flowed(browser.get(page).content.decode()))
    assert "busy for less than 5 % of 30 min" in before
    assert browser.get(f"{page}rule/").context["form"].initial == {
        "window_minutes": 30,
        "busy_percent": 5,
        "grace_minutes": 30,
    }
    wrong = browser.post(f"{page}rule/", RULE | {"busy_percent": "51", "window_minutes": "0"})
    assert (wrong.status_code, set(wrong.context["form"].errors)) == (422, {"busy_percent", "window_minutes"})
    saved = flowed(browser.post(f"{page}rule/", RULE, follow=True).content.decode())
    assert f"Rule of {world.tenant.name}" in saved and "busy for less than 10 % of 20 min" in saved
    assert ask(world, "GET", "idle/rule/")[1] == {
        "own": RULE,
        "platform": {"window_minutes": 30, "busy_percent": 5, "grace_minutes": 30},
        "by_class": [],
    }
    browser.post(f"{page}rule/", RULE)
    browser.post(f"{page}rule/", {"act": "platform"})
    assert ask(world, "GET", "idle/rule/")[1]["own"] is None
    viewer = client_of(world.tenant, "viewer")
    assert (viewer.get(page).status_code, viewer.get(f"{page}rule/").status_code) == (200, 403)
    assert "Change the rule" not in viewer.get(page).content.decode()
    assert ask(world, "PUT", "idle/rule/", {**RULE, "grace_minutes": 1.5})[1]["fields"].keys() == {"grace_minutes"}
    with tenant_scope(world.tenant.id):
        entries = AuditEntry.objects.filter(action="compute.idle_rule.set").order_by("seq")
        assert [entry.changes["rule"] for entry in entries] == [
            [None, "busy below 10 % of 20 min, stop 7 min later"],
            ["busy below 10 % of 20 min, stop 7 min later", None],
        ], "saving what is in force changes nothing"


def test_operators_set_rules_by_class_and_remove_them(admin: Any, seller: Any) -> None:
    assert "built in" in text_of(admin.get(PAGE))
    given = {**RULE, "device_class": " cpu ", "reason": "Long pauses"}
    assert admin.post(PAGE, given).status_code == 302
    assert admin.post(PAGE, {**given, "busy_percent": "20"}).status_code == 302
    wrong = admin.post(PAGE, {**given, "busy_percent": "0", "reason": ""})
    assert (wrong.status_code, set(wrong.context["form"].errors)) == (422, {"busy_percent", "reason"})
    (row,) = admin.get(API).json()["results"]
    assert (row["device_class"], row["busy_percent"], bool(row["set_by"])) == ("cpu", 20, True)
    page = text_of(admin.get(PAGE))
    assert "20 %" in page and "All other classes" in page
    support = seller("platform_support")
    assert "Set rule" not in text_of(support.get(PAGE)) and support.post(PAGE, given).status_code == 403
    removed = {"device_class": "cpu", "reason": "As all others"}
    assert admin.post(f"{API}remove/", removed, content_type="application/json").status_code == 204
    assert admin.post(f"{API}remove/", removed, content_type="application/json").status_code == 404
    with selling.role("exchequer_operator"):
        acts = OperatorAct.objects.filter(action__contains="idle_rule").order_by("seq")
        assert [(act.action, act.reason) for act in acts] == [
            ("compute.pool_idle_rule.set", "Long pauses"),
            ("compute.pool_idle_rule.set", "Long pauses"),
            ("compute.pool_idle_rule.removed", "As all others"),
        ]


def test_an_organisation_has_one_rule_within_limits(world: World) -> None:
    with tenant_scope(world.tenant.id):
        with pytest.raises(IntegrityError), transaction.atomic():
            OwnIdleRule.objects.create(**RULE | {"busy_percent": 51})
        OwnIdleRule.objects.create(**RULE)
        with pytest.raises(IntegrityError), transaction.atomic():
            OwnIdleRule.objects.create(**RULE)
