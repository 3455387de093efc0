"""The launch forms: what they start with, what a clone keeps, which versions they offer, who pays, and what they warn of."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from billing.pricing import provision_defaults
from compute import jobs, nodes
from compute.devices.base import Found
from compute.models import Job
from models_app.models import Dataset, DatasetVersion
from tenants.errors import Invalid
from tenants.models import Project, Tenant
from tenants.scoping import tenant_scope
from tests.factories import actor_for, default_project_id, make_member, make_tenant
from tests.learned import make_version

pytestmark = pytest.mark.django_db
NEW, BATCH = "/t/lab/jobs/new/", "/t/lab/jobs/new/batch/"
NUMBERS = [{"name": name, "kind": "numeric", "distinct": 400, "integer": False, "missing": 0} for name in ("a", "b")]
WITH_CLASSES = [*NUMBERS, {"name": "t", "kind": "categorical", "distinct": 2, "integer": False, "missing": 0}]


@pytest.fixture
def tenant() -> Tenant:
    made = make_tenant("lab")
    nodes.register(
        name="n1", hostname="h", boot=uuid4(), found=[Found("cpu-0", "cpu", "cpu", "CPU", 0, 2**32)], missing_layers=[]
    )
    with tenant_scope(made.id):
        provision_defaults(made.id)
    return made


@pytest.fixture
def client(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(make_member(tenant, "owner"))
    return client


def table(tenant: Tenant, *, columns: list[dict[str, Any]], target: str = "", number: int = 1) -> DatasetVersion:
    """Return a ready version of the dataset `diabetes`."""
    with tenant_scope(tenant.id):
        dataset, _ = Dataset.objects.get_or_create(name="diabetes", defaults={"created_by_label": "o@lab.example"})
        return DatasetVersion.objects.create(
            dataset=dataset, number=number, filename="d.csv", sha256=f"{number:064}", size=1, target=target, state="ready",
            source_key="s", data_key="d", data_sha256="0" * 64, data_size=1, rows=442, columns=columns,
            uploaded_by_label="o@lab.example",
        )  # fmt: skip


def submitted(tenant: Tenant, version: DatasetVersion, **spec: Any) -> Job:
    wanted = {"recipe": "tabular.classifier", "dataset_version": str(version.id), "target": "t", "params": {}}
    return jobs.submit(
        actor=actor_for(tenant), name="first try", kind="train", project_id=default_project_id(tenant),
        spec=wanted | spec, device_class="cpu", tags={"team": "risk"},
    )  # fmt: skip


def entered(page: str) -> dict[str, str]:
    """Return what a form would send as it stands: hidden and text fields, choices and radio buttons."""
    form = page.partition('id="launch"')[2].partition("</form>")[0]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        said = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if said.get("type") not in ("radio", "checkbox") or " checked" in tag:
            found[said["name"]] = said.get("value", "")
    for name, options in re.findall(r'<select name="([^"]+)".*?>(.*?)</select>', form, re.DOTALL):
        chosen = re.findall(r'value="([^"]*)" selected', options) or re.findall(r'value="([^"]*)"', options)
        found[name] = chosen[0]  # the first one, as a browser does
    return found


def test_a_clone_from_the_page_is_what_a_clone_from_the_api_is(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=WITH_CLASSES, target="t")
    job = submitted(tenant, version, model="risk model")
    with tenant_scope(tenant.id):
        by_api = jobs.clone(actor=actor_for(tenant), job_id=job.id)
    answer = client.post(NEW, entered(client.get(NEW, {"clone": job.id}).content.decode()))
    assert answer.status_code == 302, answer.content.decode()
    with tenant_scope(tenant.id):
        by_page = Job.objects.order_by("id").last()
    assert by_page is not None and by_page.id != by_api.id
    assert by_page.spec["model"] == "risk model"
    for name in ("name", "project_id", "spec", "tags", "cloned_from", "device_class", "tier", "max_seconds"):
        assert getattr(by_page, name) == getattr(by_api, name), name


def test_an_older_version_is_offered_where_it_was_asked_for(tenant: Tenant, client: Client) -> None:
    old = table(tenant, columns=WITH_CLASSES, target="t")
    job = submitted(tenant, old)
    new = table(tenant, columns=WITH_CLASSES, target="t", number=2)
    for path, asked in ((NEW, {"dataset": old.id}), (NEW, {"clone": job.id}), (BATCH, {"dataset": old.id})):
        make_version(actor_for(tenant), f"m{uuid4().hex[:6]}")
        page = client.get(path, asked).content.decode()
        options = page.partition('name="dataset"')[2].partition("</select>")[0]
        assert f'<option value="{old.id}" selected>diabetes v1, 442 rows' in options, path
        assert f'<option value="{new.id}">diabetes v2' in options
    form = entered(client.get(NEW, {"clone": job.id}).content.decode())
    assert "of device time" in client.post(f"{NEW}quote/", form).content.decode()
    assert client.post(NEW, form).status_code == 302
    assert "diabetes v1" not in client.get(NEW).content.decode(), "nobody asked for it"


def test_a_version_that_one_may_not_see_is_not_offered_however_it_is_asked_for(tenant: Tenant) -> None:
    version = table(tenant, columns=WITH_CLASSES, target="t")
    with tenant_scope(tenant.id):
        Dataset.objects.update(restricted=True)
    engineer = Client()
    engineer.force_login(make_member(tenant, "engineer"))
    assert "diabetes" not in engineer.get(NEW, {"dataset": version.id}).content.decode()


def test_a_batch_prediction_is_paid_by_the_project_of_the_version_unless_another_is_chosen(
    tenant: Tenant, client: Client
) -> None:
    with tenant_scope(tenant.id):
        own = Project.objects.create(name="Research", slug="research").id
    model = make_version(actor_for(tenant), "risk", project_id=own)
    columns = [
        {"name": one["name"], "kind": one["kind"], "distinct": 9, "integer": False} for one in model.signature["inputs"]
    ]
    data = table(tenant, columns=columns)
    page = client.get(BATCH, {"version": model.id, "dataset": data.id}).content.decode()
    assert """<option value="" selected>The version&#x27;s own</option>""" in page
    form = entered(page)

    def payer(**more: str) -> UUID:
        answer = client.post(BATCH, form | {"key": str(uuid4())} | more)
        assert answer.status_code == 302, answer.content.decode()
        with tenant_scope(tenant.id):
            return Job.objects.order_by("-id").values_list("project_id", flat=True)[0]

    assert payer() == own
    other = default_project_id(tenant)
    assert payer(project=str(other)) == other


def test_a_run_that_needs_hours_is_not_said_to_end_within_ten_minutes(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=WITH_CLASSES, target="t")
    form = entered(client.get(NEW, {"dataset": version.id}).content.decode())
    deep = {"p-epochs": "1000", "p-patience": "200", "p-layers": "6", "p-width": "2048", "max_minutes": "10"}
    panel = client.post(f"{NEW}quote/", form | deep).context["quote"]
    (warning,) = panel.warnings
    assert "the limit will probably stop it, with a checkpoint and no model" in warning.text
    least, most, limit = warning.parts
    assert (limit, panel.least_s, panel.most_s) == (600, 600, 600)
    assert 600 < least < most
    assert not client.post(f"{NEW}quote/", form).context["quote"].warnings


def test_a_dataset_of_numbers_points_to_the_recipe_that_can_learn_it(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=NUMBERS)
    asked = {"dataset": version.id, "recipe": "tabular.classifier"}
    said = client.get(f"{NEW}parameters/", asked).content.decode()
    assert "Choose Table regressor above" in said
    form = entered(client.get(NEW, asked).content.decode())
    assert (
        "Choose the recipe Table regressor to see what this will cost."
        in client.post(f"{NEW}quote/", form).content.decode()
    )
    assert "Choose Table regressor" not in client.get(f"{NEW}parameters/", {"dataset": version.id}).content.decode()


def test_an_untouched_form_asks_for_a_target_and_finds_no_fault(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=WITH_CLASSES)
    form = entered(client.get(NEW, {"dataset": version.id}).content.decode())
    said = client.post(f"{NEW}quote/", form).content.decode()
    assert "Choose a target column to see what this will cost." in said
    assert "This field is required" not in said
    assert "of device time" in client.post(f"{NEW}quote/", form | {"p-target": "t"}).content.decode()


@pytest.mark.parametrize("path", [NEW, BATCH])
def test_a_name_that_was_typed_on_the_other_tab_is_there(tenant: Tenant, client: Client, path: str) -> None:
    make_version(actor_for(tenant))
    table(tenant, columns=WITH_CLASSES)
    assert entered(client.get(path, {"name": "november"}).content.decode())["name"] == "november"


def test_a_version_with_other_columns_says_so(tenant: Tenant, client: Client) -> None:
    first = table(tenant, columns=WITH_CLASSES, target="t")
    path = f"/t/lab/datasets/{first.dataset_id}/"
    assert "Columns differ" not in client.get(path).content.decode()
    table(tenant, columns=[NUMBERS[0], {**NUMBERS[1], "name": "c"}], number=2)
    assert "Columns differ from version 1: added c; gone b, t." in client.get(path).content.decode()
    assert "Columns differ" not in client.get(path, {"version": first.id}).content.decode()
    table(tenant, columns=[NUMBERS[0], {**NUMBERS[1], "name": "c"}], number=3)
    assert "Columns differ" not in client.get(path).content.decode()


def advised(tenant: Tenant, *, target: str = "t") -> DatasetVersion:
    """Return a version with an identifier, a constant, a column that gives its target away, and one to learn from."""
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
    page = client.get(NEW, {"dataset": version.id}).content.decode()
    for name, reason in (("id", "an identifier"), ("same", "the same value in every row"), ("leak", "gives t away")):
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
    again = client.get(NEW, {"clone": job.id}).content.decode()
    assert re.findall(r'<input[^>]*value="(\w+)"[^>]* checked[^>]*>', again.partition('id="left-out"')[2])[0] == "leak"
    assert client.post(NEW, {**entered(again), "p-keep": "leak"}).status_code == 302
    assert last_spec(tenant)["params"]["exclude_columns"] == ["id", "same", "a"]


def test_what_gives_one_target_away_is_kept_for_another(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    asked = {"dataset": version.id, "recipe": "tabular.regressor", "p-target": "a", "p-keep": ["id"]}
    said = client.get(f"{NEW}parameters/", asked).content.decode().partition('id="left-out"')[2]
    assert re.findall("Keep <strong>(\\w+)</strong>", said) == ["id", "same"]
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


def test_every_column_is_listed_as_a_target_and_says_why_it_cannot_be_one(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    page = client.get(NEW, {"dataset": version.id}).content.decode()
    options = page.partition('name="p-target"')[2].partition("</select>")[0]
    for name, reason in (
        ("id", "has 442 different values: a classifier tells at most 100 classes apart"),
        ("same", "holds one value only: there is nothing to learn"),
        ("noted", "holds free text, which no recipe predicts"),
    ):
        assert re.search(f'<option value="{name}" disabled>{name}: {reason}', options), name
        form = {**entered(page), "p-target": name, "key": str(uuid4())}
        for path in (f"{NEW}quote/", NEW):
            assert reason in client.post(path, form).content.decode().replace("&#x27;", "'"), (path, name)


def test_rows_without_a_target_do_not_count_as_rows_to_learn_from(tenant: Tenant, client: Client) -> None:
    version = advised(tenant)
    with tenant_scope(tenant.id):
        columns = [{**one, "missing": 420 if one["name"] == "t" else 0} for one in version.columns]
        DatasetVersion.objects.filter(id=version.id).update(
            profile={"rows": 442, "target": "t", "task": "classification", "columns": columns}
        )
    with pytest.raises(Invalid, match="22 rows with a value of 't'"):
        submitted(tenant, version)
