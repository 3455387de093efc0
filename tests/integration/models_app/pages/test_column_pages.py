"""Columns on pages: excluded by default, targets and reasons, other readings; and versions side by side."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client

from compute.models import Job
from models_app.models import DatasetVersion
from models_app.tables.left_out import left_out
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support.factories import actor_for, make_member
from tests.support.launch_forms import NEW, entered, make_lab, submitted, table
from tests.support.model_versions import make_endpoint, make_version
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_lab()


@pytest.fixture
def client(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(make_member(tenant, "owner"))
    return client


def advised(tenant: Tenant, *, target: str = "t") -> DatasetVersion:
    """Return a version with an identifier, a constant, a leak of the target, and a column to learn from."""
    shapes = {
        "id": (442, 1.0),
        "same": (1, 0.0),
        "leak": (400, 1.0),
        "a": (400, 0.4),
        "noted": (442, None),
        "t": (2, None),
    }
    kinds = {"noted": "text", "t": "categorical"}
    columns = [
        {"name": name, "kind": kinds.get(name, "numeric"), "integer": name == "id", "distinct": distinct, "missing": 0,
         "power": power, "min": 1.0, "max": 442.0, "target": name == target}
        for name, (distinct, power) in shapes.items()
    ]  # fmt: skip
    version = table(tenant, columns=columns, target=target)
    with tenant_scope(tenant.id):
        profile = {"rows": 442, "target": target, "task": "classification", "columns": columns, "warnings": []}
        DatasetVersion.objects.filter(id=version.id).update(profile=profile)
    return version


def last_spec(tenant: Tenant) -> dict[str, Any]:
    with tenant_scope(tenant.id):
        return dict(Job.objects.order_by("-id").values_list("spec", flat=True)[0])


def test_the_form_leaves_out_what_the_dataset_page_warns_of_and_one_click_keeps_it(
    tenant: Tenant, client: Client
) -> None:
    version = advised(tenant)
    page = text_of(client.get(NEW, {"dataset": version.id}))
    for name, reason in (("id", "an identifier"), ("same", "the same value in every row"), ("leak", "reveals t")):
        assert re.search(f"Keep <strong>{name}</strong> <span[^>]*>{reason}", page), name
    assert "Keep <strong>a</strong>" not in page
    form = {**entered(page), "name": "first"}
    assert client.post(f"{NEW}quote/", form).context["quote"], "the advice is no mistake"
    assert client.post(NEW, form).status_code == 302
    spec = last_spec(tenant)
    assert spec["params"]["exclude_columns"] == ["id", "same", "leak"]
    assert spec["left_out"].keys() == {"id", "same", "leak"}
    kept = {**form, "key": str(uuid4()), "p-keep": ["leak"], "p-exclude_columns": "a"}
    assert client.post(NEW, kept).status_code == 302
    assert last_spec(tenant)["params"]["exclude_columns"] == ["id", "same", "a"]
    with tenant_scope(tenant.id):
        job = Job.objects.order_by("-id")[0]
    again = text_of(client.get(NEW, {"clone": job.id}))
    assert re.findall(r'<input[^>]*value="(\w+)"[^>]* checked[^>]*>', again.partition('id="left-out"')[2])[0] == "leak"
    (typed,) = re.findall(r'name="p-exclude_columns"[^>]*>\s*(\w*)</textarea>', again)
    assert client.post(NEW, {**entered(again), "p-keep": "leak", "p-exclude_columns": typed}).status_code == 302
    assert last_spec(tenant)["params"]["exclude_columns"] == ["id", "same", "a"]


def test_what_gives_one_target_away_is_kept_for_another(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    asked = {"dataset": version.id, "recipe": "tabular.regressor", "p-target": "a", "p-keep": ["id"]}
    said = text_of(client.get(f"{NEW}parameters/", asked)).partition('id="left-out"')[2]
    assert re.findall("Keep <strong>(\\w+)</strong>", said) == ["id", "same"]
    assert "Whether a column gives a away is not known: the profile was made for the target t." in said
    assert re.search(r'<input[^>]*value="id"[^>]* checked', said)


def test_a_job_by_api_leaves_the_same_out_unless_it_names_the_columns_itself(tenant: Tenant) -> None:
    version = advised(tenant)

    def left(**more: Any) -> list[str]:
        spec = submitted(tenant, version, **more).spec
        return list(spec["params"]["exclude_columns"])

    assert left() == ["id", "same", "leak"]
    assert left(params={"epochs": 3}) == ["id", "same", "leak"]
    assert left(params={"exclude_columns": []}) == [] == left(leave_out=[])
    assert left(leave_out=["leak"]) == ["leak"]
    assert left(columns=["a", "id"]) == ["same", "leak", "noted"]
    for wrong, field in (
        ({"columns": ["nothing"]}, "columns"),
        ({"leave_out": "id"}, "leave_out"),
        ({"columns": ["a"], "leave_out": ["id"]}, "columns"),
        ({"leave_out": ["id"], "params": {"exclude_columns": ["id"]}}, "leave_out"),
    ):
        with pytest.raises(Invalid) as refused:
            left(**wrong)
        assert field in refused.value.fields, wrong


@pytest.mark.parametrize(
    ("name", "highest", "found"),
    [("row", 500, True), ("step", 884, False), ("customer_id", 10**9, True), ("PassengerId", 10**9, True),
     ("paid", 10**9, False), ("score", 10**9, False)],
)  # fmt: skip
def test_an_identifier_is_found_by_values_or_name_and_a_choice_wins(name: str, highest: int, *, found: bool) -> None:
    shape = {"kind": "numeric", "integer": True, "missing": 0, "min": 0, "power": None}
    columns = [
        {**shape, "name": name, "distinct": 442, "max": highest},
        {**shape, "name": "a", "distinct": 40, "max": 40},
    ]
    profile = {"rows": 442, "target": "t", "columns": columns}
    assert (name in left_out(profile, "t")) == found
    assert left_out(profile, "t", {name: {"role": "feature"}}) == {}
    assert (
        left_out(profile, "t", {"a": {"role": "identifier"}})
        .get("a", "an identifier, as set by a member")
        .endswith("set by a member")
    )


def test_every_column_is_listed_as_a_target_and_says_why_it_cannot_be_one(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    page = text_of(client.get(NEW, {"dataset": version.id}))
    options = page.partition('name="p-target"')[2].partition("</select>")[0]
    for name, reason in (
        ("id", "has 442 different values: a classifier supports at most 100 classes"),
        ("same", "has one value only: there is nothing to predict"),
        ("noted", "holds free text, which no recipe predicts"),
    ):
        assert re.search(f'<option value="{name}" disabled>{name}: {reason}', options), name
        form = {**entered(page), "p-target": name, "key": str(uuid4())}
        for path in (f"{NEW}quote/", NEW):
            assert reason in text_of(client.post(path, form)).replace("&#x27;", "'"), (path, name)


def test_rows_without_a_target_do_not_count_as_rows_to_learn_from(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    with tenant_scope(tenant.id):
        columns = [{**one, "missing": 420 if one["name"] == "t" else 0} for one in version.columns]
        DatasetVersion.objects.filter(id=version.id).update(
            profile={"rows": 442, "target": "t", "task": "classification", "columns": columns}
        )
    with pytest.raises(Invalid, match="22 rows with a value of 't'"):
        submitted(tenant, version)


def test_the_page_of_a_dataset_changes_how_a_column_is_read_and_shows_the_evidence(
    tenant: Tenant, client: Client
) -> None:
    version = advised(tenant)
    read = {"type": "numeric", "missing": ["-"], "number": "1234.5"}
    seen = [
        {"name": "a", "inferred": read, "values": 442, "can_be": {"numeric": 440, "text": 442, "datetime": 0},
         "evidence": "440 of 442 are numbers; '-' in rows 12, 40", "missing": {"-": 2}},
        {"name": "t", "inferred": {"type": "categorical"}, "values": 442},
    ]  # fmt: skip
    with tenant_scope(tenant.id):
        preview = {"columns": ["a", "t"], "rows": [["<b>1</b>", None]]}
        profile = {**DatasetVersion.objects.get(id=version.id).profile, "preview": preview}
        DatasetVersion.objects.filter(id=version.id).update(reading={"columns": seen}, profile=profile)
    page = f"/t/lab/datasets/{version.dataset_id}/"
    said = text_of(client.get(page))
    for words in (
        "First rows",
        "&lt;b&gt;1&lt;/b&gt;",
        "440 of 442 are numbers; &#x27;-&#x27; in rows 12, 40",
        "-: 2",
        "numbers (440 of 442)",
    ):
        assert words in said, words
    assert '<option value="datetime" disabled>' in said
    act = f"{page}versions/{version.id}/columns/"
    as_shown = {
        "role-0": "feature",
        "role-1": "target",
        "type-0": "numeric",
        "number-0": "1234.5",
        "missing-0": "-",
        "type-1": "categorical",
        "missing-1": "",
    }
    untouched = client.post(act, as_shown)
    assert (untouched.status_code, "No changes to apply" in text_of(untouched)) == (422, True)
    impossible = client.post(act, as_shown | {"type-0": "datetime"})
    assert "a: No value of this column can be read as datetime." in text_of(impossible)
    answer = client.post(act, as_shown | {"type-0": "categorical", "role-0": "identifier", "missing-0": '-, "a, b"'})
    with tenant_scope(tenant.id):
        made = DatasetVersion.objects.get(number=2)
    assert answer["Location"] == f"{page}?version={made.id}"
    assert made.choices == {"a": {"type": "categorical", "role": "identifier", "missing": ["-", "a, b"]}}
    viewer = Client()
    viewer.force_login(make_member(tenant, "viewer"))
    assert "Read again" not in text_of(viewer.get(f"{page}?version={version.id}"))


def test_rows_without_a_target_are_counted_on_the_page(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    with tenant_scope(tenant.id):
        columns = [{**one, "missing": 12 if one["name"] == "t" else 0} for one in version.columns]
        profile = {"rows": 442, "target": "t", "task": "classification", "columns": columns}
        DatasetVersion.objects.filter(id=version.id).update(profile=profile)
    said = "12 of 442 rows have no value; training leaves them out"
    assert said in text_of(client.get(f"/t/lab/datasets/{version.dataset_id}/"))
    assert "12 of 442 rows have no target value" in text_of(client.get(NEW, {"dataset": version.id}))


def test_versions_are_compared_and_a_version_says_each_figure_once(tenant: Tenant, client: Client) -> None:
    actor = actor_for(tenant)
    figures = {"accuracy": 0.75, "log_loss": 0.4, "confusion": [[6, 2], [1, 3]]}
    importance = {
        "figure": "accuracy", "base": 0.75, "rows": 12, "repeats": 3, "seed": 42, "not_measured": 0,
        "columns": [{"name": "plan", "drop": 0.25, "std": 0.0}, {"name": "age", "drop": -0.01, "std": 0.0}],
    }  # fmt: skip
    old = make_version(actor, "risk", metrics=figures, params={"epochs": 5, "width": 8, "batch_size": 0})
    new = make_version(
        actor, "risk two", metrics={**figures, "accuracy": 0.5, "importance": importance}, params={"epochs": 9, "width": 8, "batch_size": 64},
        training={"rows": {"test": 12}},
    )  # fmt: skip
    page = text_of(client.get(f"/t/lab/models/versions/{new.id}/"))
    assert page.count(">Accuracy<") == page.count("never used") == 1
    assert "Measured on 12 test rows" in page
    rows = re.findall(r'<th scope="row">(stays|leaves)</th>(.*?)</tr>', page, re.DOTALL)
    assert [[*re.findall(r">([\d.]+)<", cells)] for _, cells in rows[:2]] == [
        ["0.7500", "0.8571", "0.8000", "8"],
        ["0.7500", "0.6000", "0.6667", "4"],
    ]
    assert page.index(">plan<") < page.index(">age<") < page.index(">joined<"), "the most important first"
    assert "0.2500" in page
    before = text_of(client.get(f"/t/lab/models/versions/{old.id}/"))
    assert "Importance is not measured for this version." in before
    both = text_of(client.get("/t/lab/models/compare/", {"v": [old.id, new.id]}))
    assert re.search(r"0\.7500 <span class=\"x-tag\">best</span>", both)
    assert re.search(r"Epochs <span class=\"x-tag\">differs</span>", both)
    assert "Units per layer <span" not in both
    sizes = both.split("Batch size", 1)[1].split("</tr>")[0]
    assert re.findall(r'num">(\w+)</td>', sizes) == ["automatic", "64"]
    assert "Choose two to four versions" in text_of(client.get("/t/lab/models/compare/", {"v": [old.id, "x"]}))
    assert client.get("/t/lab/models/compare/", {"v": [old.id, uuid4()]}).status_code == 404


def test_yes_and_no_are_shown_as_the_file_spells_them_and_types_by_one_name(tenant: Tenant, client: Client) -> None:
    top = [{"value": "true", "count": 300}, {"value": "false", "count": 142}]
    column = {"name": "t", "kind": "boolean", "integer": False, "distinct": 2, "missing": 0, "target": True, "top": top}
    version = table(tenant, columns=[column], target="t")
    with tenant_scope(tenant.id):
        read = {"columns": [{"name": "t", "inferred": {"type": "boolean", "spelling": ["nein", "ja"]}}]}
        profile = {"rows": 442, "target": "t", "task": "classification", "columns": [column], "warnings": []}
        DatasetVersion.objects.filter(id=version.id).update(profile=profile, reading=read)
    page = text_of(client.get(f"/t/{tenant.slug}/datasets/{version.dataset_id}/"))
    assert "most frequent: ja (300)" in page
    assert "<title>ja: 300</title>" in page and "<title>nein: 142</title>" in page
    form = text_of(client.get(NEW, {"dataset": version.id}))
    assert "<td>yes/no</td>" in form and "Boolean" not in form


def test_costs_in_one_column_have_the_same_decimals(tenant: Tenant, client: Client) -> None:
    version = make_version(actor_for(tenant), "risk")
    make_endpoint(version, "risk")
    for path in (f"/t/lab/models/{version.model_id}/", "/t/lab/models/", "/t/lab/endpoints/"):
        assert re.search(r'<data class="money"[^>]*>€0\.0000</data>', text_of(client.get(path))), path
    assert f"Up to {settings.EXCHEQUER.max_upload_mb} MiB" in text_of(client.get("/t/lab/datasets/upload/"))
