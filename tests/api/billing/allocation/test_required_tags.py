"""Tags that every launch must carry: set by finance, asked for by the form, demanded by every way to launch."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from compute.models import Job
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tests.support import factories
from tests.support.launch_forms import NEW, WITH_CLASSES, make_lab, submitted, table
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
RULES: list[dict[str, Any]] = [
    {"name": "cost-centre", "values": [], "kinds": []},
    {"name": "team", "values": ["risk", "vision"], "kinds": []},
]
ALL = ["train", "batch_predict", "endpoint"]
GOOD = {"team": "vision", "cost-centre": "4711"}


@pytest.fixture
def lab() -> Tenant:
    return make_lab()


def client(tenant: Tenant, role: str) -> Client:
    made = Client()
    made.force_login(factories.make_member(tenant, role))
    return made


def put(browser: Client, tags: Any) -> Any:
    return browser.put("/api/v1/tags/required/", {"tags": tags}, content_type="application/json")


def require(tenant: Tenant) -> None:
    assert put(client(tenant, "finance"), RULES).json() == {"tags": RULES}


def launch(browser: Client, version: str, tags: dict[str, str]) -> Any:
    body = {"name": "n", "recipe": "tabular.classifier", "dataset_version": version, "target": "t", "tags": tags}
    return browser.post("/api/v1/jobs/", body, content_type="application/json")


def test_b63_a_launch_without_a_required_tag_is_refused_by_its_name(lab: Tenant) -> None:
    version = str(table(lab, columns=WITH_CLASSES).id)
    engineer = client(lab, "engineer")
    assert launch(engineer, version, {}).status_code == 201
    require(lab)
    refused = launch(engineer, version, {"team": "sales"})
    assert refused.status_code == 400
    assert refused.json()["fields"] == {
        "tags": [
            "The tag cost-centre is required.",
            "The tag team has a value that is not allowed. Use one of: risk, vision.",
        ]
    }
    assert launch(engineer, version, GOOD).status_code == 201
    with tenant_scope(lab.id):
        assert list(Job.objects.order_by("-id").values_list("tags", flat=True)[:1]) == [GOOD]


def test_b63_a_clone_and_a_quote_carry_them_too(lab: Tenant) -> None:
    version = table(lab, columns=WITH_CLASSES)
    with tenant_scope(lab.id):
        job = submitted(lab, version)
    require(lab)
    engineer = client(lab, "engineer")
    refused = engineer.post(f"/api/v1/jobs/{job.id}/clone/", {}, content_type="application/json")
    assert (refused.status_code, refused.json()["fields"]) == (400, {"tags": ["The tag cost-centre is required."]})
    body = {"name": "n", "recipe": "tabular.classifier", "dataset_version": str(version.id), "target": "t"}
    quote = engineer.post("/api/v1/quotes/", body, content_type="application/json")
    assert (quote.status_code, list(quote.json()["fields"])) == (400, ["tags"])


def test_the_form_asks_for_them_and_a_clone_brings_those_it_has(lab: Tenant) -> None:
    version = table(lab, columns=WITH_CLASSES)
    with tenant_scope(lab.id):
        job = submitted(lab, version)
    require(lab)
    engineer = client(lab, "engineer")
    page = engineer.get(f"{NEW}?clone={job.id}").content.decode()
    assert 'name="tag-team"' in page
    assert 'name="tag-cost-centre"' in page
    assert '<option value="risk" selected>' in page
    answer = engineer.post(NEW, {"dataset": str(version.id), "name": "n"})
    assert answer.status_code == 422
    assert "Tag cost-centre" in text_of(answer)


def rows(*tags: tuple[str, str, list[str]]) -> dict[str, Any]:
    """Return what the page posts for these tags: name, values by line, kinds."""
    parts = ("name", "values", "kinds")
    return {f"tag_{n}_{part}": it for n, row in enumerate(tags) for part, it in zip(parts, row, strict=True)}


def test_who_settles_money_sets_them_and_the_log_has_it(lab: Tenant) -> None:
    finance, page = client(lab, "finance"), "/t/lab/required-tags/"
    given = rows(("team", "risk\n\nvision\n", ALL), ("", "", ALL), ("cost-centre", "", ALL))
    assert finance.post(page, given).status_code == 302
    form = finance.get(page).context["form"]
    assert [[field.value() for field in row] for row in form.rows()] == [
        ["cost-centre", "", ALL], ["team", "risk\nvision", ALL], ["", "", ALL], ["", "", ALL],
    ]  # fmt: skip
    assert finance.get("/api/v1/tags/required/").json() == {"tags": RULES}
    assert put(finance, RULES).status_code == 200
    assert put(finance, RULES[:1]).status_code == 200
    only = rows(("cost-centre", "4711, Berlin", ["endpoint"]))
    assert finance.post(page, only).status_code == 302
    assert finance.get("/api/v1/tags/required/").json()["tags"] == [
        {"name": "cost-centre", "values": ["4711, Berlin"], "kinds": ["endpoint"]}
    ]
    assert client(lab, "engineer").get(page).status_code == 403
    for wrong, field, message in (
        (("a b", "", ALL), "tag_0_name", "A name has letters"),
        (("", "x", ALL), "tag_0_name", "Name the tag"),
        (("team", "x\nx", ALL), "tag_0_values", "Give each value of team once"),
        (("team", "", []), "tag_0_kinds", "Choose at least one kind of work"),
        (("team", "", ["cook"]), "tag_0_kinds", "not one of the available choices"),
        (("kept", "", ALL), "tag_1_name", "Name each tag once."),
    ):
        answer = finance.post(page, rows(wrong, ("kept", "y", ALL)))
        assert (answer.status_code, list(answer.context["form"].errors)) == (422, [field])
        assert message in text_of(answer) and 'value="kept"' in answer.content.decode()
    with tenant_scope(lab.id):
        entries = list(AuditEntry.objects.filter(action="billing.required_tags.set").order_by("seq"))
    assert [entry.changes for entry in entries] == [
        {"cost-centre": [None, "any value"], "team": [None, "risk, vision"]},
        {"team": ["risk, vision", None]},
        {"cost-centre": ["any value", "4711, Berlin; only Endpoints"]},
    ]


def test_a_tag_of_some_kinds_of_work_is_asked_of_no_other(lab: Tenant) -> None:
    version = str(table(lab, columns=WITH_CLASSES).id)
    engineer, finance = client(lab, "engineer"), client(lab, "finance")
    assert put(finance, [{"name": "customer", "kinds": ["endpoint"]}]).status_code == 200
    assert launch(engineer, version, {}).status_code == 201
    assert 'name="tag-customer"' not in engineer.get(NEW).content.decode()
    assert put(finance, [{"name": "customer", "kinds": ["endpoint", "train"]}]).status_code == 200
    assert launch(engineer, version, {}).json()["fields"] == {"tags": ["The tag customer is required."]}
    assert 'name="tag-customer"' in engineer.get(NEW).content.decode()


@pytest.mark.parametrize(
    "tags",
    [
        [{"name": "team"}, {"name": "team"}],
        [{"name": "a b"}],
        [{"name": "team", "values": ["x", "x"]}],
        [{"name": "team", "values": [""]}],
        [{"name": f"t{n}"} for n in range(11)],
        [{"name": "team", "kinds": ["cook"]}],
    ],
)
def test_impossible_rules_are_refused(lab: Tenant, tags: Any) -> None:
    assert put(client(lab, "owner"), tags).status_code == 400
