"""A run that several advance at once, and a file that a step fetches."""

from __future__ import annotations

import pytest

from compute.models import Job
from models_app.models import DatasetVersion, PipelineRun, StepTry
from models_app.object_store import storage
from models_app.pipelines import advancing
from tenants.isolation.scoping import tenant_scope
from tenants.outbound import client
from tests.api.models_app.pipelines.test_pipelines import Company, states
from tests.support.concurrency import as_controllers


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
