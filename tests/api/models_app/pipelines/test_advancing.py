"""A run that several advance at once, and a file that a step fetches."""

from __future__ import annotations

from uuid import uuid4

import pytest

from compute.models import Job
from models_app.models import DatasetVersion, PipelineRun, StepTry
from models_app.object_store import storage
from models_app.pipelines import advancing, weekly
from tenants.isolation.scoping import tenant_scope
from tenants.outbound import client
from tests.api.models_app.pipelines.test_pipelines import Company, states
from tests.api.objects import COLUMNS
from tests.support.concurrency import as_controllers


@pytest.fixture
def company_of_data(db):
    """A company, and the id of a version of its data, whose columns are known."""
    company = Company()
    with tenant_scope(company.tenant.id):
        version = DatasetVersion.objects.get(dataset_id=company.job["dataset"])
        version.reading, version.choices = {}, {}
        version.save()
    return company, str(version.id)


@pytest.mark.django_db(transaction=True)
def test_two_who_advance_a_run_at_once_launch_each_step_once(settings):
    """A sweep and the end of a job meet: the run's lock and the key of the try let one of them launch."""
    company = Company()
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"queued_jobs": 1})
    run = company.post(f"pipelines/{company.save(company.steps(each=[1, 2, 3]))}/runs/")
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"queued_jobs": 100})
    as_controllers(advancing.advance_all, 3)
    with tenant_scope(company.tenant.id):
        tries = StepTry.objects.filter(run_id=run["id"])
        assert sorted((one.item, one.number) for one in tries) == [(0, 1), (1, 1), (2, 1)]
        assert Job.objects.filter(id__in=tries.values("job_id")).count() == 3


@pytest.mark.django_db
def test_a_step_fetches_a_file_and_goes_on_when_it_was_read(monkeypatch):
    """The other server and the object store are stand-ins: what they answer is tested where they are called."""
    company = Company()
    answers = [client.Answer(503, (), b""), client.Answer(200, (), b"a,t\n1,x\n2,y\n")]
    monkeypatch.setattr(client, "fetch", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(storage, "put", lambda tenant_id, key, file, **_: storage.Stored(key, "0" * 64, 9))
    extract = {
        "name": "extract",
        "kind": "extract",
        "retries": 1,
        "with": {"url": "https://data.example/n.csv", "dataset": "n"},
    }
    report = {"name": "report", "kind": "report", "with": {"figures": {"rows": {"from": "extract", "output": "rows"}}}}
    run = company.post(f"pipelines/{company.save([extract, report])}/runs/")
    advancing.fetch(company.tenant.id, run["id"])
    first = company.run(run["id"])["steps"][0]["tries"][0]
    assert (first["state"], first["message"]) == ("failed", "The server answered 503 in place of the file.")
    advancing.fetch(company.tenant.id, run["id"])
    assert states(company.run(run["id"])) == {"extract": "running", "report": "waiting"}
    with tenant_scope(company.tenant.id):
        DatasetVersion.objects.filter(dataset__name="n").update(state="ready", rows=2, data_key="d")
    advancing.advance(company.tenant.id, run["id"])
    run = company.run(run["id"])
    assert run["state"] == "succeeded", run
    assert run["steps"][1]["tries"][0]["outputs"]["lines"] == ["extract: succeeded", "rows: 2"]
    with tenant_scope(company.tenant.id):
        assert PipelineRun.objects.get(id=run["id"]).ended_at is not None


@pytest.mark.django_db
def test_a_step_cleans_a_version_by_reading_it_with_choices(company_of_data):
    company, version_id = company_of_data
    choices = {"a": {"missing": ["n/a"]}, "t": {"role": "target"}}
    clean = {"name": "clean", "kind": "clean", "with": {"dataset_version": version_id, "columns": choices}}
    report = {"name": "report", "kind": "report", "with": {"figures": {"rows": {"from": "clean", "output": "rows"}}}}
    pipeline = company.save([clean, report])
    run = company.post(f"pipelines/{pipeline}/runs/")
    waits = run["steps"][0]["tries"][0]
    assert (waits["state"], waits["message"]) == ("running", "The file is being read.")
    with tenant_scope(company.tenant.id):
        made = DatasetVersion.objects.get(id=waits["outputs"]["dataset_version"])
        assert (str(made.id) != version_id, made.choices, made.target) == (True, {"a": {"missing": ["n/a"]}}, "t")
        DatasetVersion.objects.filter(id=made.id).update(state="ready", rows=2, data_key="d", columns=COLUMNS)
    advancing.advance(company.tenant.id, run["id"])
    run = company.run(run["id"])
    assert (run["state"], run["steps"][0]["tries"][0]["outputs"]["rows"]) == ("succeeded", 2)
    again = company.post(f"pipelines/{pipeline}/runs/")
    assert again["state"] == "succeeded", "the same choices made this version before"
    assert again["steps"][0]["tries"][0]["outputs"]["dataset_version"] == str(made.id)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"columns": {"nowhere": {"type": "text"}}}, "has no column 'nowhere'"),
        ({"columns": {"a": {"type": "colour"}}}, "type is one of"),
        ({"columns": ["a"]}, "Give an object."),
        ({"columns": {}, "file": "utf-8"}, "Give an object."),
        ({"columns": {"a": {"missing": ["-"]}}, "dataset_version": "newest"}, "Give an id"),
        ({"columns": {"a": {"missing": ["-"]}}, "dataset_version": str(uuid4())}, "Not found"),
    ],
)
def test_choices_that_do_not_fit_fail_the_step_with_the_column(company_of_data, wanted, said):
    company, version_id = company_of_data
    clean = {"name": "clean", "kind": "clean", "with": {"dataset_version": version_id, **wanted}}
    run = company.post(f"pipelines/{company.save([clean])}/runs/")
    assert run["state"] == "failed"
    assert said in run["reason"], run["reason"]


@pytest.mark.django_db
def test_the_example_of_a_new_pipeline_can_be_saved_as_it_is(company_of_data):
    company, _ = company_of_data
    saved = company.save(weekly.STEPS)
    kinds = [step["kind"] for step in company.client.get(f"/api/v1/pipelines/{saved}/").json()["steps"]]
    assert kinds == ["extract", "clean", "train", "compare", "deploy", "report"]
