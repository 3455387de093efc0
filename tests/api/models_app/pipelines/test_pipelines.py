"""A pipeline over the API: train, compare, deploy if better; its cap, its queue, its launcher's rights, and its retry."""

from __future__ import annotations

import json
from decimal import Decimal
from uuid import UUID

import pytest
from django.test import Client

from billing.models import Hold
from compute.models import Job
from models_app.endpoints import deployments
from models_app.models import Endpoint, PipelineRun, StepTry
from models_app.pipelines import advancing
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, Notification, Tenant
from tests.api.objects import launchable
from tests.api.tenants.webhooks.test_catalogue import drain, sent, subscribed
from tests.api.test_matrix import call
from tests.support import factories
from tests.support.model_versions import make_version
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db

API = "/api/v1"


class Company:
    """A tenant whose owner trains and deploys, with a version in production at the endpoint `screening`."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.make_tenant()
        self.job = launchable(self.tenant)
        self.owner = factories.make_member(self.tenant, "owner")
        self.client = Client()
        self.client.force_login(self.owner)
        self.actor = factories.actor_for(self.tenant)
        served = make_version(self.actor, metrics={"accuracy": 0.7})
        deployments.deploy(actor=self.actor, name="screening", version_id=served.id)

    def steps(self, **train):
        body = {key: self.job[key] for key in ("recipe", "dataset", "params", "max_seconds")}
        model = {"from": "train", "output": "model_version"}
        better = {"step": "compare", "output": "better", "is": "=", "than": True}
        return [
            {"name": "train", "kind": "train", "with": body, **train},
            {"name": "compare", "kind": "compare", "with": {"model_version": model, "metric": "accuracy", "endpoint": "screening"}},
            {"name": "deploy", "kind": "deploy", "when": better, "with": {"model_version": model, "endpoint": "screening"}},
            {"name": "report", "kind": "report", "needs": ["compare"]},
        ]  # fmt: skip

    def post(self, path, body=None, status=201):
        answer = call(self.client, "POST", f"{API}/{path}", body or {})
        assert answer.status_code == status, answer.content
        return answer.json()

    def save(self, steps=None, **fields):
        return self.post("pipelines/", {"name": "weekly", "steps": steps or self.steps(), **fields})["id"]

    def run(self, run_id):
        return self.client.get(f"{API}/pipeline-runs/{run_id}/").json()

    def end_job(self, run_id, state="succeeded", **result):
        """End the run's one open job as a worker would, and wake what follows."""
        with tenant_scope(self.tenant.id):
            job_id = StepTry.objects.get(run_id=run_id, state="running", job__isnull=False).job_id
            cause = "user_error" if state == "failed" else ""
            Job.objects.filter(id=job_id).update(state=state, cause=cause, message="It failed.", result=result)
        advancing.after_job(self.tenant.id, job_id)

    def trained(self, accuracy):
        """Return a new version with this metric, as the result of a job of training has it."""
        version = make_version(self.actor, metrics={"accuracy": accuracy})
        return {"model_version": str(version.id), "metrics": {"accuracy": accuracy}}


@pytest.fixture
def company() -> Company:
    return Company()


def states(run):
    return {step["name"]: step["state"] for step in run["steps"]}


@pytest.mark.parametrize("accuracy", [0.9, 0.6])
def test_it_trains_compares_and_deploys_only_what_is_better(company, accuracy):
    run = company.post(f"pipelines/{company.save()}/runs/")
    assert states(run) == {"train": "running", "compare": "waiting", "deploy": "waiting", "report": "waiting"}
    company.end_job(run["id"], **company.trained(accuracy))
    better = accuracy > 0.7
    run = company.run(run["id"])
    assert run["state"] == "succeeded", run
    assert states(run) == {
        "train": "succeeded", "compare": "succeeded", "deploy": "succeeded" if better else "skipped", "report": "succeeded",
    }  # fmt: skip
    with tenant_scope(company.tenant.id):
        assert Endpoint.objects.get(name="screening").version.metrics["accuracy"] == (accuracy if better else 0.7)
        assert Notification.objects.filter(user=company.owner, kind="pipeline_report").exists()
    assert [row["id"] for row in company.client.get(f"{API}/pipeline-runs/?state=succeeded").json()["results"]] == [
        run["id"]
    ]


def test_the_end_of_a_run_is_sent_and_ends_its_job_set(company, as_control):
    drain(company.tenant, as_control)
    subscribed(company.tenant, "pipeline_run.ended", "job_set.ended")
    pipeline = company.save()
    run = company.post(f"pipelines/{pipeline}/runs/")
    company.end_job(run["id"], "failed")
    ended = company.client.get(f"{API}/job-sets/{run['job_set']}/").json()
    assert ended["ended_at"]
    company.post(f"pipeline-runs/{run['id']}/retry/", status=200)
    assert company.client.get(f"{API}/job-sets/{run['job_set']}/").json()["ended_at"] is None
    company.end_job(run["id"], **company.trained(0.6))
    other = company.post(f"pipelines/{pipeline}/runs/")
    company.post(f"pipeline-runs/{other['id']}/cancel/", status=200)
    found = [(body["type"], body["object"]["id"], body["data"]["state"]) for body in sent(company.tenant, as_control)]
    assert found == [
        ("job_set.ended", run["job_set"], "failed"), ("pipeline_run.ended", run["id"], "failed"),
        ("job_set.ended", run["job_set"], "succeeded"), ("pipeline_run.ended", run["id"], "succeeded"),
        ("job_set.ended", other["job_set"], "cancelled"), ("pipeline_run.ended", other["id"], "cancelled"),
    ]  # fmt: skip


def test_a_step_that_fails_is_tried_again_and_a_failed_run_goes_on_where_it_failed(company):
    run = company.post(f"pipelines/{company.save(company.steps(retries=1))}/runs/")
    company.end_job(run["id"], "failed")
    assert company.run(run["id"])["state"] == "running"
    company.end_job(run["id"], "failed")
    failed = company.run(run["id"])
    assert (failed["state"], failed["reason"]) == ("failed", "train: It failed.")
    assert states(failed)["deploy"] == "not reached"
    with tenant_scope(company.tenant.id):
        assert Notification.objects.filter(user=company.owner, kind="pipeline_failed").exists()
    again = company.post(f"pipeline-runs/{run['id']}/retry/", status=200)
    assert [one["number"] for one in again["steps"][0]["tries"]] == [1, 2, 3]
    company.end_job(run["id"], **company.trained(0.8))
    assert company.run(run["id"])["state"] == "succeeded"
    company.post(f"pipeline-runs/{run['id']}/retry/", status=409)


def test_what_does_not_need_a_failed_step_goes_on_if_the_step_says_so(company):
    train, *rest = company.steps(on_failure="continue_independent")
    steps = [train, *rest, {**train, "name": "other"}, {"name": "later", "kind": "report", "needs": ["other"]}]
    run = company.post(f"pipelines/{company.save(steps)}/runs/")
    with tenant_scope(company.tenant.id):
        jobs = dict(StepTry.objects.filter(run_id=run["id"]).values_list("step", "job_id"))
        Job.objects.filter(id=jobs["train"]).update(state="failed", cause="user_error", message="It failed.")
    advancing.after_job(company.tenant.id, jobs["train"])
    going = company.run(run["id"])
    assert (going["state"], states(going)["deploy"], states(going)["later"]) == ("running", "not reached", "waiting")
    company.end_job(run["id"], **company.trained(0.9))
    ended = company.run(run["id"])
    assert (ended["state"], ended["reason"], states(ended)["later"]) == ("failed", "train: It failed.", "succeeded")


def test_a_full_queue_is_waited_for_and_no_failure(company, settings):
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"queued_jobs": 1})
    run = company.post(f"pipelines/{company.save()}/runs/")
    assert states(run)["train"] == "waiting"
    assert "room in the queue" in company.run(run["id"])["reason"]
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"queued_jobs": 10})
    advancing.advance(company.tenant.id, UUID(run["id"]))
    run = company.run(run["id"])
    assert (states(run)["train"], run["reason"]) == ("running", "")
    cancelled = company.post(f"pipeline-runs/{run['id']}/cancel/", status=200)
    assert cancelled["state"] == "cancelled"
    with tenant_scope(company.tenant.id):
        assert StepTry.objects.get().job.state == "cancelled"


def test_a_step_costs_at_most_the_rest_of_the_cap(company):
    run = company.post(f"pipelines/{company.save(cap='0.50')}/runs/")
    with tenant_scope(company.tenant.id):
        job = StepTry.objects.get().job
        assert job.max_cost is not None
        assert job.max_cost <= Decimal("0.50")
        Job.objects.filter(id=job.id).update(spent=Decimal("0.50"))
    company.end_job(run["id"], "failed")
    company.post(f"pipeline-runs/{run['id']}/retry/", status=200)
    failed = company.run(run["id"])
    assert failed["state"] == "failed"
    assert "cap" in failed["reason"]


def test_the_jobs_of_a_run_are_a_set_whose_cap_their_holds_never_pass(company):
    steps = [{**company.steps()[0], "each": [1, 2, 3]}]
    body = {key: company.job[key] for key in ("recipe", "dataset", "params", "max_seconds")}
    quote = company.post("quotes/", {**body, "name": "q", "kind": "train", "project": "default"}, status=201)
    cap = Decimal(quote["worst"]["amount"]) * 2
    run = company.post(f"pipelines/{company.save(steps, cap=str(cap))}/runs/")
    sets = company.client.get(f"{API}/job-sets/").json()["results"]
    (listed,) = [one for one in sets if one["id"] == run["job_set"]]
    assert (listed["kind"], listed["name"]) == ("pipeline", "weekly")
    assert Decimal(listed["cap"]["amount"]) == Decimal(run["cap"]["amount"]) == cap
    with tenant_scope(company.tenant.id):
        assert Job.objects.filter(set_id=run["job_set"]).count() == sum(listed["jobs"].values())
        assert 0 < sum(hold.amount for hold in Hold.objects.filter(state="open")) <= cap
        places = Job.objects.filter(set_id=run["job_set"]).order_by("id").values_list("set_index", flat=True)
        assert list(places) == [1, 2, 3][: len(places)]
    assert company.post(f"job-sets/{run['job_set']}/cancel/", status=409)["code"] == "job_set_of_pipeline_run"
    assert company.post(f"job-sets/{run['job_set']}/retry-failed/", status=409)["code"] == "job_set_of_pipeline_run"
    page = company.client.get(f"/t/{company.tenant.slug}/job-sets/{run['job_set']}/").content.decode()
    assert "Cancel all" not in page


def test_a_run_links_its_jobs_once_it_has_one(company):
    pages = f"/t/{company.tenant.slug}"
    for steps, found in (([{"name": "r", "kind": "report"}], False), (company.steps(), True)):
        run = company.post(f"pipelines/{company.save(steps, name=f'{found}')}/runs/")
        link = f"{pages}/job-sets/{run['job_set']}/"
        assert (link in company.client.get(f"{pages}/pipelines/runs/{run['id']}/").content.decode()) == found
        assert (company.client.get(link).status_code == 200) == found


def test_a_run_acts_by_the_rights_that_its_launcher_has_today(company):
    run = company.post(f"pipelines/{company.save()}/runs/")
    with tenant_scope(company.tenant.id):
        Membership.objects.filter(user=company.owner).delete()
    company.end_job(run["id"], **company.trained(0.9))
    with tenant_scope(company.tenant.id):
        row = PipelineRun.objects.get(id=run["id"])
        assert (row.state, row.reason) == ("failed", advancing.GONE)
        assert StepTry.objects.count() == 1


def test_a_wrong_definition_is_refused_at_its_step_and_field(company):
    steps = company.steps(needs=["nothing"])
    refused = company.post("pipelines/", {"name": "x", "steps": steps}, status=400)
    assert refused["fields"] == {"steps.train.needs": ["There is no step 'nothing'."]}
    company.save()
    assert (
        company.post("pipelines/", {"name": "weekly", "steps": company.steps()}, status=409)["code"]
        == "pipeline_name_taken"
    )


def test_the_pages_save_a_pipeline_launch_it_and_draw_its_run(company):
    pages = f"/t/{company.tenant.slug}/pipelines/"
    shown = company.client.get(f"{pages}new/").content.decode()
    assert "learning_rate" in shown  # the template is in the form
    with tenant_scope(company.tenant.id):
        project = str(factories.default_project_id(company.tenant))
    entered = {"name": "by page", "project": project, "cap": "5"}
    refused = company.client.post(f"{pages}new/", entered | {"steps": '[{"name": "a", "kind": "bake"}]'})
    assert refused.status_code == 422
    assert "steps.a.kind: Choose one of" in refused.content.decode()
    assert "Line 1, column 2" in company.client.post(f"{pages}new/", entered | {"steps": "{"}).content.decode()
    saved = company.client.post(f"{pages}new/", entered | {"steps": json.dumps(company.steps())})
    assert saved.status_code == 302, saved.content
    launched = company.client.post(f"{saved['Location']}launch/")
    run = company.client.get(launched["Location"]).content.decode()
    assert 'aria-label="train: runs"' in run
    assert "hx-get" in run
    assert "of at most" in run
    assert company.client.get(f"{launched['Location']}live/").status_code == 200
    assert company.client.post(f"{launched['Location']}cancel/").status_code == 302
    assert "Retry from the failed step" in company.client.get(launched["Location"]).content.decode()
    changed = company.client.post(
        f"{saved['Location']}change/", {"name": "renamed", "steps": '[{"name": "r", "kind": "report"}]'}
    )
    assert changed.status_code == 302, changed.content
    assert "version 2" in company.client.get(saved["Location"]).content.decode()


def test_a_pipeline_in_use_stays_and_a_removed_one_leaves_its_runs(company):
    pipeline = company.save()
    run = company.post(f"pipelines/{pipeline}/runs/")
    schedule = company.post("schedules/", {"name": "weekly", "cron": "@weekly", "pipeline": pipeline})
    base = f"/t/{company.tenant.slug}/pipelines/"

    def remove():
        return company.client.delete(f"{API}/pipelines/{pipeline}/")

    assert (remove().status_code, remove().json()["code"]) == (409, "pipeline_in_use")
    assert "The schedule weekly launches this pipeline." in remove().json()["title"]
    company.client.delete(f"{API}/schedules/{schedule['id']}/")
    assert "A run of this pipeline is open." in remove().json()["title"]
    company.post(f"pipeline-runs/{run['id']}/cancel/", status=200)
    assert company.client.post(f"{base}{pipeline}/remove/")["Location"] == base
    assert company.client.get(f"{base}{pipeline}/").status_code == 404
    assert pipeline not in [row["id"] for row in company.client.get(f"{API}/pipelines/").json()["results"]]
    assert call(company.client, "POST", f"{API}/pipelines/{pipeline}/runs/", {}).status_code == 404
    refused = call(company.client, "POST", f"{API}/schedules/", {"name": "s", "cron": "@daily", "pipeline": pipeline})
    assert refused.json()["fields"] == {"pipeline": ["There is no such pipeline that you may launch."]}
    refused = call(company.client, "POST", f"{API}/pipeline-runs/{run['id']}/retry/", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "pipeline_removed")
    assert company.run(run["id"])["state"] == "cancelled"
    shown = text_of(company.client.get(f"{base}runs/{run['id']}/"))
    assert "the pipeline was removed" in shown and "Retry" not in shown
    assert company.save() != pipeline, "its name is free again"
