# ruff: noqa: F811 - fixtures are imported by the names they are asked for
"""A batch prediction from submit to download: real sandbox, store, database, bill; and a damaged model."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import uuid
from contextlib import contextmanager
from decimal import Decimal

import boto3
import pyarrow.parquet as pq
import pytest
from django.conf import settings as django_settings
from django.db import connection

from compute import queries as compute_queries
from compute.agent.supervisor import AttemptSupervisor
from compute.devices.host import HostSampler
from compute.jobs import jobs
from compute.models import Job
from models_app import queries
from models_app.batch import batch
from models_app.batch.batch import BatchPredictKind
from models_app.datasets import ingestion, operations
from models_app.files import orphans
from models_app.models import ModelVersion, Stage
from models_app.object_store import s3, storage
from models_app.recipes.tabular.prediction import predict
from tenants.access.actor import Actor
from tenants.encryption.stream import MAGIC
from tenants.errors import Invalid, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.models_app import test_training as training
from tests.integration.models_app.test_training import _store, claim, dataset, node, project_of, run, submit  # noqa: F401 - fixtures
from tests.support.datasets import csv_bytes
from tests.support.factories import actor_for, make_tenant
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("batch jobs")]


@pytest.fixture
def learned(once_made, as_control, node, tmp_path):
    """An engineer, a ready dataset and a model version trained on it."""

    def make():
        actor = actor_for(make_tenant(), "engineer")
        version = dataset(actor)
        job = submit(actor, version, epochs=3)
        run(as_control, node, tmp_path / "train")
        with tenant_scope(actor.tenant_id):
            return actor, version, ModelVersion.objects.get(job_id=job.id)

    found = once_made("learned", make)
    training.join(node)
    return found


def predict_all(actor: Actor, version, model, **more) -> Job:
    return jobs.submit(
        actor=actor,
        asked=jobs.Submission(
            name="score all",
            kind="batch_predict",
            project_id=project_of(actor),
            device_class="cpu",
            spec={"model_version": str(model.id), "dataset": str(version.dataset_id)},
            **more,
        ),
    )


def detail_of(actor, job):
    with tenant_scope(actor.tenant_id):
        return compute_queries.job_detail(job.id)


def result_of(actor, job) -> batch.BatchResult:
    with tenant_scope(actor.tenant_id):
        return batch.result(actor, job.id)


def raw(key: str) -> bytes:
    with s3.opened(key) as body:
        return body.read()


def fetched(actor, file) -> bytes:
    return b"".join(storage.stream(actor.tenant_id, file.stored))


def test_a_batch_prediction_ends_as_two_files(as_control, node, tmp_path, learned):
    actor, version, model = learned
    job = predict_all(actor, version, model)
    run(as_control, node, tmp_path)
    detail = detail_of(actor, job)
    assert detail.state == "succeeded", (detail.message, detail.cause)
    assert (detail.progress["done"], detail.progress["total"]) == (569, 569)
    found = result_of(actor, job)
    assert found.rows == detail.described["rows"] == 569
    assert detail.billed_seconds > 0
    assert found.cost_per_1000.amount == pytest.approx(detail.cost.amount * 1000 / Decimal(569))
    assert detail.described["cost_per_1000"] == found.cost_per_1000.json()
    files = {file.format: file for file in found.files}
    answers = pq.read_table(io.BytesIO(fetched(actor, files["parquet"]))).to_pylist()
    assert fetched(actor, files["csv"]).decode().splitlines()[0] == '"row","label","score_0","score_1"'
    folder = tmp_path / "model"
    folder.mkdir()
    with tenant_scope(actor.tenant_id):
        row = ModelVersion.objects.get(id=model.id)
    for name, file in (("model.safetensors", row.weights), ("signature.json", row.signature_file)):
        storage.fetch(actor.tenant_id, file, folder / name)
    header, *lines = csv_bytes("breast_cancer").decode().splitlines()
    instances = [dict(zip(header.split(","), map(float, line.split(",")), strict=True)) for line in lines]
    for answer, wanted in zip(answers, predict.load(folder).predict(instances), strict=True):
        assert answer["label"] == wanted["label"]
        assert answer["score_1"] == pytest.approx(wanted["scores"]["1"], abs=1e-5)
    with tenant_scope(actor.tenant_id):
        kept = {file["key"] for file in Job.objects.get(id=job.id).result["files"].values()}
    stored = {item.key: raw(item.key) for item in storage.listing(actor.tenant_id)}
    assert len(stored) >= 6  # upload, table, weights, signature, two files of predictions; checkpoints, if any
    for body in stored.values():
        assert body.startswith(MAGIC)
        assert not any(
            word in body for word in (b"PAR1", b"mean_radius", b"diagnosis", b'"row"', b"score_0", b"__meta")
        )
    orphans.remove_of_job(job.id, actor.tenant_id)
    assert {item.key for item in storage.listing(actor.tenant_id, "j", job.id)} == kept


def test_a_run_that_was_killed_starts_from_the_first_row_and_both_are_billed(
    as_control, node, tmp_path, learned, settings
):
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"heartbeat_s": 0.3, "lease_s": 200.0})
    actor, version, model = learned
    job = predict_all(actor, version, model)
    first = AttemptSupervisor(claim(as_control, node), HostSampler("h", 1), tmp_path / "first")
    thread = threading.Thread(target=lambda: (first.run(), connection.close()))
    thread.start()
    wait_until(lambda: detail_of(actor, job).billed_seconds, "the first seconds are billed")
    assert first._child is not None
    os.killpg(first._child.group, signal.SIGKILL)
    thread.join(120)
    lost = detail_of(actor, job)
    assert (lost.state, lost.has_checkpoint, lost.attempts[0].cause) == ("queued", False, "killed")
    run(as_control, node, tmp_path / "second")
    detail = detail_of(actor, job)
    assert detail.state == "succeeded", detail.message
    assert result_of(actor, job).rows == 569
    assert all(attempt.billed_seconds > 0 for attempt in detail.attempts)
    assert detail.billed_seconds == sum(attempt.billed_seconds for attempt in detail.attempts)


def test_a_table_with_missing_columns_is_refused_at_upload(learned):
    actor, version, model = learned
    other = operations.upload(
        actor=actor, name="flowers", file=io.BytesIO(csv_bytes("diabetes")), filename="f.csv", target="target"
    )
    ingestion.ingest(other.id, actor.tenant_id)
    with pytest.raises(Invalid) as refused:
        predict_all(actor, other, model)
    assert "'mean_radius'" in refused.value.fields["dataset"][0]
    with tenant_scope(actor.tenant_id):
        once = BatchPredictKind().validate(actor, {"model_version": str(model.id), "dataset": str(version.dataset_id)})
        assert BatchPredictKind().validate(actor, once) == once
        assert 2 <= BatchPredictKind().plan(once).typical_s <= 10


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_version": None}, "model_version"),
        ({"model_version": "nonsense"}, "model_version"),
        ({"model_version": str(uuid.uuid4())}, "model_version"),
        ({"dataset": str(uuid.uuid4())}, "dataset"),
        ({"recipe": "tabular.classifier"}, "recipe"),
        ({"stage": Stage.ARCHIVED}, "model_version"),
    ],
)
def test_a_wrong_request_is_refused_by_field(as_control, node, learned, change, field):
    actor, version, model = learned
    with tenant_scope(actor.tenant_id):
        if "stage" in change:
            ModelVersion.objects.filter(id=model.id).update(stage=change["stage"])
            change = {}
        spec = {"model_version": str(model.id), "dataset": str(version.dataset_id), **change}
        with pytest.raises(Invalid) as refused:
            BatchPredictKind().validate(actor, spec)
    assert field in refused.value.fields


def test_models_and_results_of_another_tenant_are_missing(as_control, node, tmp_path, learned):
    actor, version, model = learned
    stranger = actor_for(make_tenant(), "engineer")
    with pytest.raises(Invalid, match="no such model version"):
        predict_all(stranger, dataset(stranger), model)
    job = predict_all(actor, version, model)
    run(as_control, node, tmp_path)
    with pytest.raises(NotFound):
        result_of(stranger, job)
    with tenant_scope(actor.tenant_id):
        colleague = actor_for(actor_tenant(actor), "viewer")
    operations.restrict(actor=actor, dataset_id=version.dataset_id, restricted=True)
    with pytest.raises(NotFound):
        result_of(colleague, job)
    assert result_of(actor, job).rows == 569


def actor_tenant(actor):
    return Tenant.objects.get(id=actor.tenant_id)


@contextmanager
def spoilt(key: str, change):
    """Overwrite a stored file, bypassing the product."""
    env = django_settings.EXCHEQUER
    client = boto3.client(
        "s3", endpoint_url=env.s3_endpoint_url, aws_access_key_id=env.aws_access_key_id,
        aws_secret_access_key=env.aws_secret_access_key, region_name=env.aws_region,
    )  # fmt: skip
    body = client.get_object(Bucket=env.s3_bucket, Key=key)["Body"].read()
    client.put_object(Bucket=env.s3_bucket, Key=key, Body=change(body))
    yield
    client.put_object(Bucket=env.s3_bucket, Key=key, Body=body)


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("artefact_key", flipped, "The file of weights of first try v1 is damaged"),
        ("signature_key", flipped, "The signature of first try v1 is damaged"),
        ("artefact_key", lambda body: body[: len(body) // 2], "The file of weights of first try v1 is damaged"),
    ],
)
def test_a_damaged_model_ends_the_job_for_that_cause_and_costs_nothing(
    as_control,
    node,
    tmp_path,
    learned,
    column,
    change,
    words,
):
    actor, version, model = learned
    with spoilt(getattr(model, column), change):
        job = predict_all(actor, version, model)
        run(as_control, node, tmp_path)
    detail = detail_of(actor, job)
    assert (detail.state, detail.cause) == ("failed", "artifact")
    assert words in detail.message
    assert (detail.billed_seconds, detail.cost.amount) == (0, 0)
    with tenant_scope(actor.tenant_id):
        assert Job.objects.get(id=job.id).hold_id is None


def test_a_signature_of_another_network_ends_the_job_for_that_cause(as_control, node, tmp_path, learned, monkeypatch):
    actor, version, model = learned
    real = storage.fetch

    def narrowed(tenant_id, stored, target):
        real(tenant_id, stored, target)
        if target.name == "signature.json":
            said = json.loads(target.read_text())
            said["network"]["width"] = 16
            target.write_text(json.dumps(said))

    monkeypatch.setattr(storage, "fetch", narrowed)
    job = predict_all(actor, version, model)
    run(as_control, node, tmp_path)
    detail = detail_of(actor, job)
    assert (detail.state, detail.cause) == ("failed", "artifact")
    assert "the weights do not fit the signature" in detail.message
    assert detail.cost.amount == 0


def test_only_versions_in_use_are_offered(learned):
    actor, _version, model = learned
    with tenant_scope(actor.tenant_id):
        assert queries.usable(actor) == [(model.id, "first try v1, registered")]
        ModelVersion.objects.filter(id=model.id).update(stage=Stage.ARCHIVED)
        assert queries.usable(actor) == []
