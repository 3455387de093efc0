"""A preset over the API and by the launch form: saved, started from, launched, changed, removed."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.test import Client

from compute.models import Job
from models_app.models import Dataset, DatasetVersion, Preset
from tenants.isolation.scoping import tenant_scope
from tests.api.objects import launchable
from tests.api.test_matrix import call
from tests.support import factories

pytestmark = pytest.mark.django_db

API = "/api/v1/presets/"


def test_a_launch_is_saved_launched_with_other_fields_changed_and_removed():
    tenant = factories.make_tenant()
    asked = launchable(tenant)
    owner, viewer = factories.make_member(tenant, "owner"), factories.make_member(tenant, "viewer")
    client, other = Client(), Client()
    client.force_login(owner)
    other.force_login(viewer)
    wanted = {key: value for key, value in asked.items() if key not in ("name", "project")}

    def post(path, body, status=201, method="POST", by=client):
        answer = call(by, method, f"{API}{path}", body)
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else {}

    with tenant_scope(tenant.id):
        Preset.objects.all().delete()
    wrong = {**wanted, "recipe": "no.such", "quote": str(uuid4())}
    assert set(post("", {"name": "nightly", "launch": wrong}, 400)["fields"]) == {"launch.recipe", "launch.quote"}
    saved = post("", {"name": "nightly", "launch": {**wanted, "max_cost": "5.00"}})
    assert (saved["max_cost"]["amount"], saved["launch"]["recipe"]) == ("5.000000", "tabular.classifier")
    assert post("", {"name": "nightly", "launch": wanted}, 409)["code"] == "preset_name_taken"
    assert [row["id"] for row in other.get(API).json()["results"]] == [saved["id"]], "all of its project see it"
    post(f"{saved['id']}/launch/", {}, 403, by=other)

    first = post(f"{saved['id']}/launch/", {})
    second = post(f"{saved['id']}/launch/", {"name": "tonight", "max_seconds": 60, "max_cost": None})
    with tenant_scope(tenant.id):
        one, two = (Job.objects.get(id=made["job"]) for made in (first, second))
        assert (one.name, one.max_seconds, one.max_cost) == ("nightly", 3600, 5)
        assert (two.name, two.max_seconds, two.max_cost) == ("tonight", 60, None)
        assert one.submitted_by == owner.id
    assert set(post(f"{saved['id']}/launch/", {"recipe": "x"}, 400)["fields"]) == {"recipe"}

    changed = post(f"{saved['id']}/", {"name": "weekly"}, 200, "PATCH")
    assert (changed["name"], changed["max_cost"]["amount"]) == ("weekly", "5.000000")
    with tenant_scope(tenant.id):
        DatasetVersion.objects.filter(dataset_id=asked["dataset"]).update(state="failed", code="bad_file")
    assert "dataset" in post(f"{saved['id']}/launch/", {}, 400)["fields"], "checked again at each launch"
    post(f"{saved['id']}/", {}, 204, "DELETE")
    post(f"{saved['id']}/launch/", {}, 404)
    with tenant_scope(tenant.id):
        assert Job.objects.filter(id__in=[first["job"], second["job"]]).count() == 2
        assert Dataset.objects.exists()


def test_the_launch_form_saves_a_preset_and_starts_from_it():
    tenant = factories.make_tenant()
    asked = launchable(tenant)
    client = Client()
    client.force_login(factories.make_member(tenant, "owner"))
    page = f"/t/{tenant.slug}/jobs/new/"
    with tenant_scope(tenant.id):
        version = DatasetVersion.objects.get(dataset_id=asked["dataset"])
        project = Preset.objects.get().project_id
        before = Job.objects.count()
    entered = {
        "key": str(uuid4()), "name": "from the form", "project": str(project), "recipe": "tabular.classifier",
        "dataset": str(version.id), "device_class": "cpu", "tier": "on_demand", "max_minutes": "7", "p-target": "t",
    }  # fmt: skip
    answer = client.post(page, {**entered, "save_preset": "1"})
    assert (answer.status_code, answer.headers.get("Location")) == (302, f"/t/{tenant.slug}/presets/"), answer.content
    assert "from the form" in client.get(answer.headers["Location"]).content.decode()
    with tenant_scope(tenant.id):
        assert Job.objects.count() == before, "nothing was launched"
        row = Preset.objects.get(name="from the form")
    started = client.get(f"{page}?preset={row.id}").context["form"].initial
    assert (started["name"], started["dataset"], started["max_minutes"]) == ("from the form", str(version.id), 7)

    one = f"/t/{tenant.slug}/presets/{row.id}/"
    launch = {**row.body, "max_seconds": 120}
    wrong = client.post(one, {"name": "x", "launch": json.dumps({**launch, "recipe": "no.such"})})
    assert wrong.status_code == 422
    assert "recipe: " in wrong.content.decode()
    assert client.post(one, {"name": "shorter", "launch": json.dumps(launch)}).status_code == 302
    assert client.get(f"{page}?preset={row.id}").context["form"].initial["max_minutes"] == 2
    assert client.post(f"{one}remove/").status_code == 302
    with tenant_scope(tenant.id):
        assert not Preset.objects.filter(id=row.id).exists()
