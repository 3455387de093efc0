"""Requests that a second person answers: quotas and budgets, by API and page."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from billing import queries as money
from billing.budgets import budgets
from tenants import operations, quotas
from tenants.access.actor import Actor
from tenants.approvals import approvals, kinds, quota_requests
from tenants.audit import queries
from tenants.clock import now
from tenants.grants import grants
from tenants.isolation.scoping import tenant_scope
from tenants.models import Approval, AuditEntry, Membership, Notification, Project, Tenant, User
from tests.support import factories
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
ASKED = {"resource": "devices:cpu", "limit": 6, "reason": "a larger model"}


class Person:
    """A member with a session."""

    def __init__(self, tenant: Tenant, role: str, email: str = "") -> None:
        self.tenant = tenant
        self.user: User = factories.make_member(tenant, role, email)
        self.client = Client()
        self.client.force_login(self.user)
        self.client.get(f"/t/{tenant.slug}/")

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Post to the API."""
        return self.client.post(f"/api/v1/{path}", body or {}, content_type="application/json")

    def open(self, query: str = "?state=open") -> list[dict[str, Any]]:
        """List requests."""
        answer = self.client.get(f"/api/v1/approvals/{query}")
        assert answer.status_code == 200, answer.content
        found: list[dict[str, Any]] = answer.json()["results"]
        return found

    def told(self) -> list[str]:
        """Return the titles of their unread notifications."""
        with tenant_scope(self.tenant.id):
            rows = Notification.objects.filter(user=self.user, read_at=None).order_by("id")
            return list(rows.values_list("title", flat=True))


@pytest.fixture
def tenant() -> Tenant:
    tenant = factories.make_tenant("lab")
    quotas.set_limit(actor=factories.actor_for(tenant), resource="devices:cpu", limit=4)
    return tenant


def limit(tenant: Tenant) -> int | None:
    with tenant_scope(tenant.id):
        return quotas.use_of("devices:cpu", quotas.ORGANISATION).effective


def test_a_request_is_answered_by_another_and_applies(tenant: Tenant) -> None:
    ann, boss, other = Person(tenant, "engineer"), Person(tenant, "admin"), Person(tenant, "engineer")
    asked = ann.post("quotas/requests/", ASKED)
    assert (asked.status_code, asked.json()["state"], asked.json()["may_answer"]) == (201, "open", False)
    assert asked.json()["sentence"] == "Raise CPU devices of the organisation from 4 to 6."
    assert boss.told() == ["Higher quota waits for an answer"]
    assert other.open() == [], "neither theirs nor theirs to answer"
    (seen,) = boss.open()
    assert seen["may_answer"] and seen["requester"] == ann.user.email
    path = f"approvals/{seen['id']}/approve/"
    assert other.post(path).status_code == 403
    answered = boss.post(path, {"reason": "until the deadline"})
    assert (answered.status_code, answered.json()["state"]) == (200, "approved")
    assert limit(tenant) == 6
    assert ann.told() == ["Higher quota was approved"] and boss.told() == []
    with tenant_scope(tenant.id):
        entries = [(row.action, row.actor_label, row.reason) for row in queries.entries(limit=3)]
        assert entries[::-1] == [
            ("tenants.approval.requested", ann.user.email, "a larger model"),
            ("tenants.request.refused", other.user.email, "the permission approvals.answer is missing"),
            ("tenants.quota.changed", boss.user.email, ""),
            ("tenants.approval.granted", boss.user.email, "until the deadline"),
        ]


def test_nobody_answers_their_own_request_nor_by_a_key(tenant: Tenant) -> None:
    boss = Person(tenant, "admin")
    key = boss.post("api-keys/", {"name": "k", "scopes": ["approvals.answer", "approvals.view", "quotas.manage"]})
    asked = boss.post("quotas/requests/", ASKED).json()
    path = f"/api/v1/approvals/{asked['id']}/approve/"
    by_key = Client().post(
        path, {}, content_type="application/json", headers={"authorization": f"Bearer {key.json()['key']}"}
    )
    for refused in (boss.post(f"approvals/{asked['id']}/approve/"), by_key):
        assert (refused.status_code, refused.json()["code"]) == (403, "self_approval")
    assert limit(tenant) == 4


def test_a_key_that_two_people_may_know_neither_asks_nor_answers(tenant: Tenant) -> None:
    ann, bob, asker = Person(tenant, "admin"), Person(tenant, "admin"), Person(tenant, "engineer")
    scopes = ["approvals.answer", "approvals.view", "approvals.request", "quotas.manage", "quotas.view"]
    key = ann.post("api-keys/", {"name": "k", "scopes": scopes}).json()
    again = bob.post(f"api-keys/{key['id']}/rotate/").json()
    client = Client(headers={"authorization": f"Bearer {again['key']}"})
    asked = client.post("/api/v1/quotas/requests/", ASKED, content_type="application/json")
    assert (asked.status_code, "two may know this key" in asked.json()["title"]) == (403, True)
    made = asker.post("quotas/requests/", ASKED).json()
    answered = client.post(f"/api/v1/approvals/{made['id']}/approve/", {}, content_type="application/json")
    assert (answered.status_code, "two may know this key" in answered.json()["title"]) == (403, True)
    assert limit(tenant) == 4


def test_the_only_member_answers_alone_where_the_organisation_allows_it() -> None:
    tenant = factories.make_tenant()
    owner = User.objects.get(email__startswith="owner", id__in=_members(tenant))
    client = Client()
    client.force_login(owner)
    client.get(f"/t/{tenant.slug}/")
    post = lambda path, body=None: client.post(f"/api/v1/{path}", body or {}, content_type="application/json")  # noqa: E731
    client.put("/api/v1/quotas/", {"resource": "devices:cpu", "limit": 4}, content_type="application/json")
    asked = post("quotas/requests/", ASKED).json()
    assert post(f"approvals/{asked['id']}/approve/").status_code == 403
    operations.change_tenant(
        actor=_owner(tenant, owner), name=tenant.name, timezone=tenant.timezone, self_approval=True
    )
    assert post(f"approvals/{asked['id']}/approve/").status_code == 200


def _members(tenant: Tenant) -> list[Any]:
    with tenant_scope(tenant.id):
        return list(Membership.objects.values_list("user_id", flat=True))


def _owner(tenant: Tenant, user: User) -> Any:
    return Actor.member(tenant_id=tenant.id, user_id=user.id, email=user.email, role="owner")


def test_an_answer_is_given_once_and_repeating_it_changes_nothing(tenant: Tenant) -> None:
    ann, boss = Person(tenant, "engineer"), Person(tenant, "owner")
    first, second = (ann.post("quotas/requests/", {**ASKED, "limit": n}).json()["id"] for n in (6, 7))
    assert ann.post("quotas/requests/", ASKED).json()["id"] == first, "the same request is not stored twice"
    for _ in range(2):
        assert boss.post(f"approvals/{first}/approve/").json()["state"] == "approved"
        assert boss.post(f"approvals/{second}/decline/", {"reason": "too many"}).json()["state"] == "declined"
    for path in (f"approvals/{first}/decline/", f"approvals/{second}/approve/"):
        refused = boss.post(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "already_answered")
    assert limit(tenant) == 6
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="tenants.approval.granted").count() == 1
        with pytest.raises(DatabaseError, match="is approved"), transaction.atomic():
            Approval.objects.filter(id=first).update(answered_by_label="somebody else")


def test_of_racing_answers_one_wins(tenant: Tenant) -> None:
    ann = Person(tenant, "engineer")
    asked = ann.post("quotas/requests/", ASKED).json()["id"]
    people = [Person(tenant, "admin") for _ in range(6)]
    barrier, answers = threading.Barrier(6), []

    def answer(number: int, person: Person) -> None:
        try:
            barrier.wait(60)
            act = "approve" if number % 2 else "decline"
            answers.append((act, person.post(f"approvals/{asked}/{act}/").status_code))
        finally:
            connection.close()

    threads = [threading.Thread(target=answer, args=each) for each in enumerate(people)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    won = {act for act, status in answers if status == 200}
    assert len(answers) == 6 and len(won) == 1
    assert {status for act, status in answers if act not in won} == {409}
    assert limit(tenant) == (6 if won == {"approve"} else 4)
    with tenant_scope(tenant.id):
        decided = ["tenants.approval.granted", "tenants.approval.declined"]
        assert AuditEntry.objects.filter(action__in=decided).count() == 1


def test_a_request_expires_and_a_raise_ends_by_itself(tenant: Tenant, demo_clock: DemoClock) -> None:
    ann, boss = Person(tenant, "engineer"), Person(tenant, "admin")
    until = (now() + timedelta(days=5)).isoformat()
    asked = ann.post("quotas/requests/", {**ASKED, "until": until}).json()
    assert boss.post(f"approvals/{asked['id']}/approve/").status_code == 200
    assert limit(tenant) == 6
    late = ann.post("quotas/requests/", {**ASKED, "limit": 9}).json()["id"]
    demo_clock.advance(timedelta(days=31))
    assert limit(tenant) == 4
    assert [one["id"] for one in boss.open("?state=expired")] == [late] and boss.open() == []
    for act in ("approve", "decline"):
        refused = boss.post(f"approvals/{late}/{act}/")
        assert (refused.status_code, refused.json()["code"]) == (409, "approval_expired")


def test_what_can_no_longer_be_applied_stays_open_and_says_why(tenant: Tenant, as_control: Any) -> None:
    ann, boss = Person(tenant, "engineer"), Person(tenant, "admin")
    asked = ann.post("quotas/requests/", ASKED).json()["id"]
    with as_control():
        operator = factories.actor_for(tenant)
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=5, reason="the pool is small")
    refused = boss.post(f"approvals/{asked}/approve/")
    assert (refused.status_code, refused.json()["code"]) == (409, "above_ceiling")
    assert [one["state"] for one in boss.open()] == ["open"]
    page = boss.client.post(f"/t/{tenant.slug}/approvals/{asked}/answer/", {"answer": "approve"})
    assert page.status_code == 409 and "ask them to raise the ceiling" in text_of(page)


def test_an_approval_raises_and_lowers_nothing_that_was_raised_meanwhile(tenant: Tenant) -> None:
    ann, boss = Person(tenant, "engineer"), Person(tenant, "admin")
    first, second = (ann.post("quotas/requests/", {**ASKED, "limit": n}).json()["id"] for n in (6, 8))
    more = ann.post("quotas/requests/", {**ASKED, "limit": 12, "until": (now() + timedelta(days=5)).isoformat()})
    assert boss.post(f"approvals/{more.json()['id']}/approve/").status_code == 200
    assert boss.post(f"approvals/{first}/approve/").status_code == 200
    with tenant_scope(tenant.id):
        use = quotas.use_of("devices:cpu", quotas.ORGANISATION)
    assert (use.limit, use.effective) == (6, 12), "the raise until a date stays"
    put = lambda limit: boss.client.put(  # noqa: E731
        "/api/v1/quotas/", {"resource": "devices:cpu", "limit": limit}, content_type="application/json"
    )
    for higher in (10, None):
        assert put(higher).status_code == 200
        refused = boss.post(f"approvals/{second}/approve/")
        assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_raise"), refused.content
        assert limit(tenant) == higher
    assert boss.post(f"approvals/{second}/decline/").status_code == 200


def test_a_budget_is_lowered_by_no_approval_and_a_raise_ends_with_no_other_change(
    tenant: Tenant, demo_clock: DemoClock
) -> None:
    budget = budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(1000), at_limit="block_new")
    ann, finance = Person(tenant, "engineer"), Person(tenant, "finance")
    ask = lambda **more: ann.post(f"budgets/{budget.id}/requests/", {"reason": "a deadline", **more}).json()["id"]  # noqa: E731
    approve = lambda asked: finance.post(f"approvals/{asked}/approve/").status_code  # noqa: E731

    def amounts() -> tuple[Any, Any]:
        with tenant_scope(tenant.id):
            budget.refresh_from_db()
            return money.budget(budget.id).limit.amount, budget.amount

    lasting, larger = ask(amount="1200"), ask(amount="1300")
    assert approve(ask(amount="1500", this_month=True)) == 200 and amounts() == (1500, 1000)
    path, page = f"/api/v1/budgets/{budget.id}/", f"/t/{tenant.slug}/budgets/{budget.id}/"
    assert finance.client.patch(path, {"alerts": [70]}, content_type="application/json").status_code == 200
    form = {"amount": "1500", "at_limit": "stop_running", "alerts": "60"}
    assert finance.client.post(page, form).status_code == 302
    assert amounts() == (1500, 1000), "neither ended nor made to last"
    assert approve(lasting) == 200 and amounts() == (1500, 1200)
    assert finance.client.patch(path, {"amount": "2000"}, content_type="application/json").status_code == 200
    refused = finance.post(f"approvals/{larger}/approve/")
    assert (refused.status_code, refused.json()["code"], amounts()) == (409, "budget_is_higher", (2000, 2000))
    demo_clock.advance(timedelta(days=32))
    assert amounts() == (2000, 2000)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"limit": 4}, "limit"), ({"limit": 3}, "limit"), ({"reason": ""}, "reason"), ({"reason": "a\x07b"}, "reason"),
        ({"resource": "devices:tpu"}, "resource"), ({"resource": "storage:datasets"}, "resource"),
        ({"until": "2001-01-01T00:00:00Z"}, "until"), ({"scope": "project:nowhere"}, "scope"),
    ],
)  # fmt: skip
def test_a_request_that_asks_for_nothing_is_refused_by_name(tenant: Tenant, change: dict[str, Any], field: str) -> None:
    refused = Person(tenant, "engineer").post("quotas/requests/", {**ASKED, **change})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, [field])
    with tenant_scope(tenant.id):
        assert not Approval.objects.exists()


def test_a_budget_is_raised_for_this_month_or_for_good(tenant: Tenant, demo_clock: DemoClock) -> None:
    owner = factories.actor_for(tenant)
    budget = budgets.create_budget(actor=owner, amount=Decimal(1000), at_limit="block_new")
    ann, finance = Person(tenant, "engineer"), Person(tenant, "finance")
    asked = ann.post(f"budgets/{budget.id}/requests/", {"amount": "1500", "reason": "a deadline", "this_month": True})
    assert asked.status_code == 201, asked.content
    assert asked.json()["sentence"].endswith("from €1,000.00 to €1,500.00 for this month.")
    assert finance.post(f"approvals/{asked.json()['id']}/approve/").status_code == 200
    with tenant_scope(tenant.id):
        assert money.budget(budget.id).limit.amount == 1500
        assert AuditEntry.objects.filter(action="billing.budget.raised").count() == 1
    demo_clock.advance(timedelta(days=32))
    with tenant_scope(tenant.id):
        assert money.budget(budget.id).limit.amount == 1000
    lasting = ann.post(f"budgets/{budget.id}/requests/", {"amount": "1200", "reason": "a larger team"}).json()["id"]
    assert finance.post(f"approvals/{lasting}/approve/").status_code == 200
    demo_clock.advance(timedelta(days=32))
    with tenant_scope(tenant.id):
        assert money.budget(budget.id).limit.amount == 1200
    refused = ann.post(f"budgets/{budget.id}/requests/", {"amount": "1200", "reason": "more"})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["amount"])


def test_a_page_asks_for_a_higher_budget(tenant: Tenant) -> None:
    budget = budgets.create_budget(actor=factories.actor_for(tenant), amount=Decimal(1000), at_limit="block_new")
    ann, path = Person(tenant, "engineer"), f"/t/{tenant.slug}/budgets/{budget.id}/request/"
    assert "Ask for a higher budget of the whole organisation" in text_of(ann.client.get(f"/t/{tenant.slug}/budgets/"))
    for wrong in ("", "1000", "1000.001", "many"):
        assert ann.client.post(path, {"amount": wrong, "reason": "a deadline"}).status_code == 422
    assert ann.client.post(path, {"amount": "1,500", "reason": "a deadline", "this_month": "on"}).status_code == 302
    asked = "from €1,000.00 to €1,500.00 for this month."
    assert asked in text_of(Person(tenant, "finance").client.get(f"/t/{tenant.slug}/approvals/"))
    assert Person(tenant, "viewer").client.get(path).status_code == 403


def test_finance_answers_budgets_and_no_quotas(tenant: Tenant) -> None:
    ann, finance = Person(tenant, "engineer"), Person(tenant, "finance")
    asked = ann.post("quotas/requests/", ASKED).json()["id"]
    assert finance.open() == []
    assert finance.post(f"approvals/{asked}/approve/").status_code == 404, "neither theirs nor theirs to answer"
    assert finance.told() == []


def test_rights_in_one_project_ask_and_answer_for_it_alone(tenant: Tenant) -> None:
    owner = factories.actor_for(tenant)
    speech = operations.create_project(actor=owner, slug="speech", name="Speech")
    with tenant_scope(tenant.id):
        default = Project.objects.get(slug="default")
    made = {
        project.slug: budgets.create_budget(
            actor=owner, project_id=project.id, amount=Decimal(100), at_limit="block_new"
        )
        for project in (speech, default)
    }
    ann, lead = Person(tenant, "viewer"), Person(tenant, "viewer")
    for person, role in ((ann, "engineer"), (lead, "finance")):
        grants.give(actor=owner, holder=grants.Holder(user_id=person.user.id), role=role, project_id=speech.id)
    more = {"amount": "200", "reason": "a larger corpus"}
    assert ann.post(f"budgets/{made['default'].id}/requests/", more).status_code == 403
    asked = ann.post(f"budgets/{made['speech'].id}/requests/", more).json()["id"]
    other = Person(tenant, "engineer").post(f"budgets/{made['default'].id}/requests/", more).json()["id"]
    assert [one["id"] for one in lead.open()] == [asked]
    assert lead.post(f"approvals/{other}/approve/").status_code == 404
    assert lead.post(f"approvals/{asked}/approve/").status_code == 200


def test_the_page_asks_and_answers(tenant: Tenant) -> None:
    ann, boss, path = Person(tenant, "engineer"), Person(tenant, "admin"), f"/t/{tenant.slug}/approvals/"
    form = {"quota": "devices:cpu@tenant", "limit": "8", "last_day": "2099-12-31", "reason": "a larger model"}
    assert ann.client.post(f"{path}quota/", {**form, "limit": "4"}).status_code == 400
    assert ann.client.post(f"{path}quota/", form).status_code == 302
    mine = text_of(ann.client.get(path))
    assert "Raise CPU devices of the organisation from 4 to 8 until 2100-01-01 00:00 UTC." in mine
    assert "Approve" not in mine.partition("Requests")[2]
    asked = boss.open()[0]["id"]
    assert "Approve" in text_of(boss.client.get(f"{path}?of={asked}"))
    answered = boss.client.post(f"{path}{asked}/answer/", {"answer": "decline", "reason": "too many"})
    assert answered.status_code == 302
    assert "too many" in text_of(ann.client.get(f"{path}?show=all"))
    assert "Nothing waits" in text_of(ann.client.get(path))
    assert "Approvals" in text_of(Person(tenant, "viewer").client.get(path))


def test_a_kind_is_registered_once_and_an_unknown_one_is_a_bug(tenant: Tenant) -> None:
    quota = kinds.find("quota")
    assert quota is not None and {kind.name for kind in kinds.all_kinds()} >= {"quota", "budget"}
    with pytest.raises(ValueError, match="are registered"):
        kinds.register(quota)
    with pytest.raises(KeyError):
        approvals.request(actor=factories.actor_for(tenant), kind="tea", target="", wanted={}, reason="thirst")


def test_an_open_request_names_nobody_of_another_organisation(tenant: Tenant) -> None:
    theirs = factories.make_tenant()
    quotas.set_limit(actor=factories.actor_for(theirs), resource="devices:cpu", limit=4)
    with tenant_scope(theirs.id):
        actor = factories.actor_for(theirs)
        asked = quota_requests.request(actor=actor, resource="devices:cpu", limit=5, reason="more")
    boss = Person(tenant, "owner")
    assert boss.open("") == []
    assert boss.post(f"approvals/{asked.id}/approve/").status_code == 404
