"""The launch forms: initial values, clones, offered versions, paying project, and warnings."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from django.test import Client

from compute.jobs import jobs
from compute.models import Job
from models_app.models import Dataset, Preset
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, Tenant
from tests.support.factories import actor_for, default_project_id, make_member
from tests.support.launch_forms import BATCH, NEW, NUMBERS, WITH_CLASSES, entered, make_lab, submitted, table
from tests.support.model_versions import make_version
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


def test_a_clone_from_the_page_is_what_a_clone_from_the_api_is(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=WITH_CLASSES, target="t")
    job = submitted(tenant, version, model="risk model")
    with tenant_scope(tenant.id):
        by_api = jobs.clone(actor=actor_for(tenant), job_id=job.id)
    answer = client.post(NEW, entered(text_of(client.get(NEW, {"clone": job.id}))))
    assert answer.status_code == 302, text_of(answer)
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
        page = text_of(client.get(path, asked))
        options = page.partition('name="dataset"')[2].partition("</select>")[0]
        assert f'<option value="{old.id}" selected>diabetes v1, 442 rows' in options, path
        assert f'<option value="{new.id}">diabetes v2' in options
    form = entered(text_of(client.get(NEW, {"clone": job.id})))
    assert "of device time" in text_of(client.post(f"{NEW}quote/", form))
    assert client.post(NEW, form).status_code == 302
    assert "diabetes v1" not in text_of(client.get(NEW)), "nobody asked for it"


def test_a_version_that_one_may_not_see_is_not_offered_however_it_is_asked_for(tenant: Tenant) -> None:
    version = table(tenant, columns=WITH_CLASSES, target="t")
    with tenant_scope(tenant.id):
        Dataset.objects.update(restricted=True)
    engineer = Client()
    engineer.force_login(make_member(tenant, "engineer"))
    assert "diabetes" not in text_of(engineer.get(NEW, {"dataset": version.id}))


def test_a_batch_prediction_is_paid_by_the_versions_project_by_default(tenant: Tenant, client: Client) -> None:
    with tenant_scope(tenant.id):
        own = Project.objects.create(name="Research", slug="research").id
    model = make_version(actor_for(tenant), "risk", project_id=own)
    columns = [
        {"name": one["name"], "kind": one["kind"], "distinct": 9, "integer": False} for one in model.signature["inputs"]
    ]
    data = table(tenant, columns=columns)
    page = text_of(client.get(BATCH, {"version": model.id, "dataset": data.id}))
    assert """<option value="" selected>The version&#x27;s own</option>""" in page
    form = entered(page)

    def payer(**more: str) -> UUID:
        answer = client.post(BATCH, form | {"key": str(uuid4())} | more)
        assert answer.status_code == 302, text_of(answer)
        with tenant_scope(tenant.id):
            return Job.objects.order_by("-id").values_list("project_id", flat=True)[0]

    assert payer() == own
    other = default_project_id(tenant)
    assert payer(project=str(other)) == other


def test_a_run_beyond_its_time_limit_is_warned_of(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=WITH_CLASSES, target="t")
    form = entered(text_of(client.get(NEW, {"dataset": version.id})))
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
    said = text_of(client.get(f"{NEW}parameters/", asked))
    assert "Choose Table regressor above" in said
    form = entered(text_of(client.get(NEW, asked)))
    assert "Choose the recipe Table regressor to see what this will cost." in text_of(client.post(f"{NEW}quote/", form))
    assert "Choose Table regressor" not in text_of(client.get(f"{NEW}parameters/", {"dataset": version.id}))


def test_an_untouched_form_asks_for_a_target_and_finds_no_fault(tenant: Tenant, client: Client) -> None:
    version = table(tenant, columns=WITH_CLASSES)
    form = entered(text_of(client.get(NEW, {"dataset": version.id})))
    said = text_of(client.post(f"{NEW}quote/", form))
    assert "Choose a target column to see what this will cost." in said
    assert "This field is required" not in said
    assert "of device time" in text_of(client.post(f"{NEW}quote/", form | {"p-target": "t"}))


@pytest.mark.parametrize("path", [NEW, BATCH])
def test_a_name_that_was_typed_on_the_other_tab_is_there(tenant: Tenant, client: Client, path: str) -> None:
    make_version(actor_for(tenant))
    table(tenant, columns=WITH_CLASSES)
    assert entered(text_of(client.get(path, {"name": "november"})))["name"] == "november"


def test_a_version_with_other_columns_says_so(tenant: Tenant, client: Client) -> None:
    first = table(tenant, columns=WITH_CLASSES, target="t")
    path = f"/t/lab/datasets/{first.dataset_id}/"
    assert "Columns differ" not in text_of(client.get(path))
    table(tenant, columns=[NUMBERS[0], {**NUMBERS[1], "name": "c"}], number=2)
    assert "Columns differ from version 1: added c; gone b, t." in text_of(client.get(path))
    assert "Columns differ" not in text_of(client.get(path, {"version": first.id}))
    table(tenant, columns=[NUMBERS[0], {**NUMBERS[1], "name": "c"}], number=3)
    assert "Columns differ" not in text_of(client.get(path))


def test_tags_are_entered_on_the_form_and_kept_by_its_clone(tenant: Tenant, client: Client) -> None:
    table(tenant, columns=WITH_CLASSES, target="t")
    first = entered(text_of(client.get(NEW)))
    assert "tags" in first
    job = submitted(tenant, table(tenant, columns=WITH_CLASSES, target="t", number=2))
    form = entered(text_of(client.get(NEW, {"clone": job.id})))
    for wrong in ("team", "team=", "a b=c", ", ".join(f"k{n}=v" for n in range(21))):
        refused = client.post(NEW, {**form, "tags": wrong})
        assert refused.status_code == 422, wrong
        assert 'id="id_tags_error"' in text_of(refused)
    assert client.post(NEW, {**form, "tags": "team=vision, note=one, two"}).status_code == 302
    with tenant_scope(tenant.id):
        made = Job.objects.order_by("id").last()
    assert made is not None and made.tags == {"team": "vision", "note": "one, two"}
    again = entered(text_of(client.get(NEW, {"clone": made.id})))
    assert client.post(NEW, again).status_code == 302
    with tenant_scope(tenant.id):
        clone = Job.objects.order_by("id").last()
    assert clone is not None and clone.tags == made.tags and clone.id != made.id


@pytest.mark.django_db(transaction=True)
def test_a_part_of_a_device_is_offered_once_its_class_is_open_and_kept_by_clone_and_preset(
    tenant: Tenant, client: Client, superuser: psycopg.Connection
) -> None:
    job = submitted(tenant, table(tenant, columns=WITH_CLASSES, target="t"))
    assert "Part of the device" not in text_of(client.get(NEW))
    superuser.execute(
        "INSERT INTO compute_sharedclass (device_class, parts, set_by_label) VALUES ('cpu', '[2, 4]', 'x')"
    )
    page = text_of(client.get(NEW, {"clone": job.id}))
    assert "also 1/2, 1/4 of one" in page
    form = entered(page)
    assert form["share"] == "1"
    refused = client.post(NEW, {**form, "share": "1/8"})
    assert (refused.status_code, 'id="id_share_error"' in text_of(refused)) == (422, True)
    assert "takes whole ones" in text_of(client.post(NEW, {**form, "share": "1/4", "devices": "2"}))
    assert client.post(NEW, {**form, "share": "1/4"}).status_code == 302
    with tenant_scope(tenant.id):
        made = Job.objects.order_by("id").last()
    assert made is not None and made.share == 250
    assert "1/4 of CPU" in text_of(client.get(f"/t/lab/jobs/{made.id}/"))
    assert "1/4 of CPU" in text_of(client.get("/t/lab/jobs/"))
    assert client.get("/t/lab/jobs/?export=csv").content.decode().splitlines()[1].endswith(',"1/4"')
    again = entered(text_of(client.get(NEW, {"clone": made.id})))
    assert again["share"] == "1/4"
    saved = client.post(NEW, {**again, "save_preset": "1"})
    assert saved.status_code == 302
    with tenant_scope(tenant.id):
        preset = Preset.objects.get()
    assert preset.body["share"] == "1/4"
    assert entered(text_of(client.get(NEW, {"preset": preset.id})))["share"] == "1/4"
