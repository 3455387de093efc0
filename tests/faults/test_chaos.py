"""Jobs by the hundred through faults by the hundred: each ends once, with one result and one set of charges (J1-J5, J7, J8)."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from compute.jobs import jobs
from compute.models import Attempt
from compute.queries import JobDetail
from models_app.datasets import ingestion, operations
from models_app.files import orphans
from models_app.models import ModelVersion
from models_app.object_store import storage
from tests.fakes.runner.kind import digest_of
from tests.faults.aftermath import assert_all_is_well
from tests.faults.chaos import Chaos
from tests.faults.harness import WorkCluster, work_cluster
from tests.support.datasets import TARGET, csv_bytes
from tests.support.servers.services import S3

pytestmark = pytest.mark.django_db(transaction=True)
LEASE_S = 4.0
STEPS = 24


def store_of(s3: S3) -> dict[str, str]:
    return {
        "S3_ENDPOINT_URL": s3.endpoint_url,
        "S3_BUCKET": s3.bucket,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
    }


def training(home: WorkCluster) -> Callable[[], UUID]:
    """Return a function that launches a real training run on a table that this stores."""
    table = operations.upload(
        actor=home.actor, name="cells", file=io.BytesIO(csv_bytes("breast_cancer")), filename="a.csv", target=TARGET
    )
    ingestion.ingest(table.id, home.actor.tenant_id)
    params = {"epochs": 120, "patience": 120}
    spec = {"recipe": "tabular.classifier", "dataset": str(table.dataset_id), "params": params}

    def launch() -> UUID:
        asked = jobs.Submission(name="cells", kind="train", project_id=home.project, spec=spec, device_class="cpu")
        return jobs.submit(actor=home.actor, asked=asked).id

    return launch


def check_result(job: JobDetail, made: Attempt) -> None:
    """One result, of the attempt that succeeded; a counter shows in it that no step was skipped or repeated (J3)."""
    if job.kind == "tick":
        assert (job.result["token"], job.result["digest"]) == (made.token, digest_of(STEPS))
        return
    (version,) = ModelVersion.objects.filter(job_id=job.id)
    assert job.result["model_version"] == str(version.id)
    assert version.artefact_key.split("/")[-2] == str(made.token)


def assert_survives(
    environment: Callable[..., dict[str, str]], folder: Path, broker: str, s3: S3, **size: float
) -> Chaos:
    """Run a storm of this size on real controllers and workers, then check everything."""
    storage.ensure_bucket()
    every, seed, many, faults = (int(size[name]) for name in ("trains_every", "seed", "many", "faults"))
    with work_cluster(environment, folder, broker, **store_of(s3), EXCHEQUER_LEASE_S=LEASE_S) as home:
        home.controller()
        train = training(home)

        def submit(number: int) -> UUID:
            return train() if number % every == 0 else home.submit(steps=STEPS, step_s=0.05, every=4)

        run = Chaos(home, broker, submit, seed, LEASE_S)
        run.run(many=many, faults=faults, pause_s=size["pause_s"])
        assert (len(run.submitted) >= many, sum(run.done.values())) == (True, faults)
        assert_all_is_well(run, check_result)
        assert run.frozen, "a stopped worker lost its lease"
        ticks = [job for job_id in run.submitted if (job := home.job(job_id)).kind == "tick" and job.result]
        assert not ticks or any(job.result["resumed_at"] > 0 for job in ticks), "some went on from a checkpoint"
        for job_id in run.submitted:  # as the task does that an end wakes
            orphans.remove_of_job(job_id, home.tenant.id)
        kept = [one.key for one in storage.listing(home.tenant.id, "j")]
        assert orphans.unreferenced(home.tenant.id, kept) == []
        return run


def test_j1_thirty_jobs_outlive_twenty_five_faults(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str, s3: S3
) -> None:
    assert_survives(
        process_environment, tmp_path, own_valkey, s3, many=30, faults=25, seed=1, trains_every=10, pause_s=0.5
    )


@pytest.mark.nightly
def test_j1_two_hundred_trainings_outlive_a_hundred_and_fifty_faults(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str, s3: S3
) -> None:
    run = assert_survives(
        process_environment, tmp_path, own_valkey, s3, many=200, faults=150, seed=2, trains_every=1, pause_s=3.0
    )
    recovered = sorted(run.recovery_s)
    print(f"{dict(run.done)}; recovery {recovered[len(recovered) // 2]:.1f} s, at most {recovered[-1]:.1f} s")  # noqa: T201
