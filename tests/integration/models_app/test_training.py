"""A training job from submit to model version: real sandbox, store, database, bill."""

from __future__ import annotations

import io
import threading
import uuid
from pathlib import Path

import pytest
from django.db import connection

from compute import queries as compute_queries
from compute.agent.supervisor import AttemptSupervisor
from compute.devices.base import Found
from compute.devices.host import HostSampler
from compute.fleet import nodes
from compute.jobs import jobs
from compute.leases import leases
from compute.models import Device, Job, JobMetric, Node
from compute.scheduling import assign
from models_app import queries
from models_app.datasets import ingestion, operations
from models_app.files import downloads, orphans
from models_app.models import DatasetVersion, ModelVersion
from models_app.object_store import s3, storage
from models_app.object_store.staging import NotStaged
from models_app.recipes import base
from models_app.training.training import TrainKind
from tenants.audit.verify import verify
from tenants.encryption.stream import MAGIC
from tenants.errors import Invalid, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Project
from tests.support.datasets import TARGET, csv_bytes
from tests.support.factories import actor_for, make_tenant
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _store(s3):
    storage.ensure_bucket()


@pytest.fixture
def node():
    return join(uuid.uuid4())


def join(boot: uuid.UUID) -> uuid.UUID:
    """Register the node with one device, as its worker does at start."""
    nodes.register(
        name="n1",
        hostname="h",
        boot=boot,
        found=[Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 4 * 2**30)],
        missing_layers=[],
    )
    return boot


def dataset(actor, name="breast_cancer") -> DatasetVersion:
    version = operations.upload(
        actor=actor, name=name, file=io.BytesIO(csv_bytes(name)), filename=f"{name}.csv", target=TARGET
    )
    ingestion.ingest(version.id, actor.tenant_id)
    return version


def submit(actor, version, recipe="tabular.classifier", **params) -> Job:
    return jobs.submit(
        actor=actor,
        asked=jobs.Submission(
            name="first try",
            kind="train",
            project_id=project_of(actor),
            device_class="cpu",
            spec={"recipe": recipe, "dataset": str(version.dataset_id), "params": params},
        ),
    )


def project_of(actor):
    with tenant_scope(actor.tenant_id):
        return Project.objects.get(slug="default").id


def claim(as_control, boot) -> leases.Claim:
    """Claim the next job; the node's heartbeat is refreshed, however long the test took until here."""
    nodes.alive(nodes.Registered(Node.objects.get(name="n1").id, "n1", boot))
    with as_control():
        (ring,) = assign.assign_all()
    mine = leases.claim(tenant_id=ring.tenant_id, attempt_id=ring.attempt_id, token=ring.token, node="n1", boot=boot)
    assert mine is not None
    return mine


def run(as_control, boot, home: Path) -> None:
    AttemptSupervisor(claim(as_control, boot), HostSampler("h", 1), home).run()


def test_a_training_job_ends_as_a_model_version_with_lineage_and_cost(as_control, node, tmp_path):
    actor = actor_for(make_tenant(), "engineer")
    version = dataset(actor)
    job = submit(actor, version)
    run(as_control, node, tmp_path)
    with tenant_scope(actor.tenant_id):
        detail = compute_queries.job_detail(job.id)
        assert detail.state == "succeeded", (detail.message, compute_queries.last_log_lines(job.id))
        (model,) = queries.model_list(actor)
        found = queries.lineage(actor, model.latest.id)
        points = compute_queries.metrics(job.id)
        assert verify().ok
        actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert model.name == "first try"
    assert model.latest.headline[0] == "accuracy"
    assert model.latest.headline[1] > 0.9
    assert detail.described["model_version"] == str(found.id)
    assert (found.dataset_sha256, found.job_id, found.target) == (version.sha256, job.id, TARGET)
    assert len(found.recipe_digest) == 64
    assert found.params["seed"] == 42
    assert found.billed_seconds == detail.billed_seconds > 0
    assert found.cost == detail.cost
    assert found.cost.amount > 0
    assert {"train_loss", "val_loss", "val_accuracy"} <= points[0].values.keys()
    assert "models_app.model_version.registered" in actions
    weights = stored_weights(actor, found.id)
    storage.fetch(actor.tenant_id, weights, tmp_path / "model.safetensors")
    assert f"/j/{job.id}/1/" in weights.key


def stored_weights(actor, version_id):
    with tenant_scope(actor.tenant_id):
        return ModelVersion.objects.get(id=version_id).weights


def trained_epochs(actor, job) -> int:
    with tenant_scope(actor.tenant_id):
        return JobMetric.objects.filter(job_id=job.id).count()


def test_a_job_stopped_in_the_middle_goes_on_from_its_checkpoint(as_control, node, tmp_path, settings):
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"heartbeat_s": 0.3, "lease_s": 200.0})
    actor = actor_for(make_tenant(), "engineer")
    job = submit(actor, dataset(actor, "digits"), patience=200, epochs=100)
    first = AttemptSupervisor(claim(as_control, node), HostSampler("h", 1), tmp_path)
    thread = threading.Thread(target=lambda: (first.run(), connection.close()))
    thread.start()
    wait_until(lambda: trained_epochs(actor, job), "the first epoch is trained")
    first.shut_down()
    thread.join(120)
    with tenant_scope(actor.tenant_id):
        row = Job.objects.get(id=job.id)
        assert (row.state, row.token) == ("queued", 1)
        assert {file["name"] for file in row.checkpoint["files"]} == {
            "manifest.json",
            "state.json",
            "tensors.safetensors",
        }
    for file in row.checkpoint["files"]:
        with s3.opened(file["key"]) as body:
            assert body.read(4) == MAGIC
    run(as_control, node, tmp_path)
    with tenant_scope(actor.tenant_id):
        row = Job.objects.get(id=job.id)
        assert row.state == "succeeded", row.message
        steps = [point.attempt for point in compute_queries.metrics(job.id)]
        training = ModelVersion.objects.get(job_id=job.id).training
    assert training["epochs"] == 100
    assert steps[0] == 1
    assert steps[-1] == 2
    assert orphans.remove_of_job(job.id, actor.tenant_id) >= 3
    with tenant_scope(actor.tenant_id):
        kept = ModelVersion.objects.get(job_id=job.id)
    assert {item.key for item in storage.listing(actor.tenant_id, "j", job.id)} == {
        kept.artefact_key,
        kept.signature_key,
    }


def test_a_device_that_torch_cannot_open_fails_as_platform_and_is_cordoned(as_control, tmp_path):
    boot = uuid.uuid4()
    nodes.register(
        name="n1",
        hostname="h",
        boot=boot,
        found=[Found("GPU-1", "cuda", "gpu-x", "GPU 0 of host h", 0, 2**30)],
        missing_layers=[],
    )
    actor = actor_for(make_tenant(), "engineer")
    version = dataset(actor)
    job = jobs.submit(
        actor=actor,
        asked=jobs.Submission(
            name="gpu",
            kind="train",
            project_id=project_of(actor),
            device_class="gpu-x",
            spec={"recipe": "tabular.classifier", "dataset": str(version.id)},
        ),
    )
    run(as_control, boot, tmp_path)
    with tenant_scope(actor.tenant_id):
        detail = compute_queries.job_detail(job.id)
        assert (detail.state, detail.cause) == ("failed", "platform")
        assert detail.cost.amount == 0
        assert Device.objects.get(uuid="GPU-1").state == "cordoned"
        assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"recipe": "tabular.poet"}, "recipe"),
        ({"recipe": "tabular.classifier", "dataset": str(uuid.uuid4())}, "dataset"),
        ({"recipe": "tabular.classifier", "dataset": "nonsense"}, "dataset"),
        ({"recipe": "tabular.classifier", "params": {"epochs": 0}}, "params.epochs"),
        ({"recipe": "tabular.classifier", "params": {"epochs": "many"}}, "params.epochs"),
        ({"recipe": "tabular.classifier", "params": {"colour": 1}}, "params.colour"),
        ({"recipe": "tabular.classifier", "params": [1]}, "params"),
        ({"recipe": "tabular.classifier", "target": "mean_radius"}, "target"),
        ({"recipe": "tabular.regressor", "target": "nothing"}, "target"),
        ({"recipe": "tabular.classifier", "params": {"exclude_columns": ["nothing"]}}, "params.exclude_columns"),
        ({"recipe": "tabular.classifier", "model": "x" * 200}, "model"),
        ({"recipe": "tabular.classifier", "gpu": 4}, "gpu"),
    ],
)
def test_a_wrong_request_is_refused_by_field(spec, field):
    actor = actor_for(make_tenant(), "engineer")
    version = dataset(actor)
    with tenant_scope(actor.tenant_id), pytest.raises(Invalid) as refused:
        TrainKind().validate(actor, {"dataset": str(version.dataset_id), **spec})
    assert field in refused.value.fields


def test_a_normalised_request_is_stable_and_planned_in_seconds():
    actor = actor_for(make_tenant(), "engineer")
    version = dataset(actor)
    with tenant_scope(actor.tenant_id):
        once = TrainKind().validate(actor, {"recipe": "tabular.classifier", "dataset": str(version.dataset_id)})
        assert TrainKind().validate(actor, once) == once
    assert once["dataset_version"] == str(version.id)
    assert once["target"] == TARGET
    assert 3 <= TrainKind().plan(once).typical_s <= 30


def test_datasets_and_models_of_another_tenant_are_missing(as_control, node, tmp_path):
    actor, stranger = actor_for(make_tenant(), "engineer"), actor_for(make_tenant(), "engineer")
    version = dataset(actor)
    with pytest.raises(Invalid, match="no such dataset"):
        submit(stranger, version)
    submit(actor, version, epochs=1)
    run(as_control, node, tmp_path)
    with tenant_scope(actor.tenant_id):
        (model,) = queries.model_list(actor)
    with tenant_scope(stranger.tenant_id):
        assert not queries.model_list(stranger)
        for ask in (
            lambda: queries.lineage(stranger, model.latest.id),
            lambda: queries.version_list(stranger, model.id),
            lambda: downloads.weights(stranger, model.latest.id),
        ):
            with pytest.raises(NotFound):
                ask()


def test_an_unreachable_store_is_a_failure_of_the_platform(as_control, node, tmp_path, monkeypatch):
    actor = actor_for(make_tenant(), "engineer")
    submit(actor, dataset(actor))
    mine = claim(as_control, node)

    def away(*_, **__):
        raise storage.StorageUnavailable

    monkeypatch.setattr(storage, "fetch", away)
    with pytest.raises(NotStaged):
        TrainKind().stage(mine.job, tmp_path)


def test_what_a_job_takes_beside_its_parameters_is_not_looked_for_in_them() -> None:
    with pytest.raises(base.InvalidParameters) as refused:
        base.recipe("tabular.classifier").parse({"target": "diagnosis"})
    assert "go beside `params`" in refused.value.fields["target"][0]


def test_a_target_of_one_value_is_reported() -> None:
    columns = [
        {"name": "y", "kind": "numeric", "integer": True, "distinct": 1},
        {"name": "x", "kind": "numeric", "integer": False, "distinct": 90},
    ]
    actor = actor_for(make_tenant(), "engineer")
    version = dataset(actor)
    with tenant_scope(actor.tenant_id):
        DatasetVersion.objects.filter(id=version.id).update(columns=columns, rows=90)
    with tenant_scope(actor.tenant_id), pytest.raises(Invalid) as refused:
        TrainKind().validate(actor, {"recipe": "tabular.regressor", "dataset": str(version.dataset_id), "target": "y"})
    said = "Column 'y' has one value only: there is nothing to predict. Columns that fit: x."
    assert refused.value.fields["target"] == [said]
