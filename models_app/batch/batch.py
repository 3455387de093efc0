"""The job kind `batch_predict`: scores a dataset version with a model version, and stores the predictions as files.

There is no checkpoint: a stopped or killed run starts from the first row again, and its seconds are billed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from billing.metering.metering import billed
from billing.money import Money
from compute.jobs.visibility import visible_jobs
from compute.kinds import BadArtefact, BadOutput, JobView, Plan
from compute.models import Job
from models_app.batch import batch_reading, batch_specs
from models_app.models import DatasetVersion, ModelVersion
from models_app.models.files import Stored
from models_app.object_store import storage
from models_app.object_store.staging import fetch_input, platform
from models_app.registry import artefacts
from tenants.access.actor import Actor
from tenants.errors import Conflict, NotFound
from tenants.isolation.scoping import tenant_scope

KIND = "batch_predict"
FILES = {"parquet": "predictions.parquet", "csv": "predictions.csv"}
CONTENT_TYPES = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv"}
PARQUET_MAGIC = b"PAR1"


class NoResult(Conflict):
    """This job has no result to download: only a batch prediction that succeeded has one."""

    code = "no_result"


class BatchPredictKind:
    """Predicts every row of a dataset version with one model version."""

    name = KIND
    meter = "batch_seconds"
    entrypoint = Path(__file__).resolve().parents[1] / "runner" / "main.py"

    def validate(self, actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the normalised spec: model version, dataset, its version, size. Raises Invalid by field."""
        return batch_specs.validate(actor, spec)

    def plan(self, spec: dict[str, Any]) -> Plan:
        """Return the seconds that a typical run takes on one CPU thread."""
        recipe = ModelVersion.objects.values_list("recipe", flat=True).get(id=UUID(spec["model_version"]))
        return batch_specs.plan(spec, recipe)

    def describe(self, job: JobView) -> dict[str, Any]:
        """Return what the API says about a batch prediction beyond the fields of every job."""
        said = {name: job.spec.get(name) for name in ("model_version", "dataset", "dataset_version")}
        rows = job.result.get("rows")
        cost = cost_per_1000(job.id, rows).json() if rows else None
        return {**said, "rows": rows, "cost_per_1000": cost, "read": job.result.get("read", [])}

    def stage(self, job: JobView, workdir: Path) -> dict[str, Any]:
        """Fetch model and table, verify the model, and return the child's instructions.

        Raises BadArtefact for a damaged file, before anything runs and is charged.
        """
        with tenant_scope(job.tenant_id):
            model = ModelVersion.objects.select_related("model").get(id=UUID(job.spec["model_version"]))
            data = DatasetVersion.objects.get(id=UUID(job.spec["dataset_version"]))
        folder = workdir / "in"
        folder.mkdir(exist_ok=True)
        fetch_input(job.tenant_id, model.weights, folder / "model.safetensors", f"The file of weights of {model}")
        fetch_input(job.tenant_id, model.signature_file, folder / "signature.json", f"The signature of {model}")
        try:
            described = artefacts.read_json(folder / "signature.json")
            artefacts.check_model(described, model.recipe, folder / "model.safetensors")
        except BadOutput as error:
            words = f"{model} cannot be used: {error}. Retrain it. This run is free."
            raise BadArtefact(words) from error
        fetch_input(job.tenant_id, data.table, folder / "data.parquet", "The dataset's table")
        return {"task": "predict", "recipe": model.recipe, "limits": {}, "resume": False}

    def reads(self, job: JobView) -> list[str]:
        """Return the keys of the model's files and of the dataset version."""
        with tenant_scope(job.tenant_id):
            model = ModelVersion.objects.get(id=UUID(job.spec["model_version"]))
            table = DatasetVersion.objects.get(id=UUID(job.spec["dataset_version"])).table
        return [model.weights.key, model.signature_file.key, table.key]

    def save_checkpoint(self, job: JobView, token: int, folder: Path) -> dict[str, Any]:
        """Refuse: batch predictions make no checkpoints."""
        raise BadOutput("a batch prediction makes no checkpoint")

    def collect(self, job: JobView, token: int, workdir: Path) -> dict[str, Any]:
        """Check the child's output and store both files under keys that contain the token."""
        out = workdir / "out"
        result = artefacts.read_json(out / "result.json")
        with tenant_scope(job.tenant_id):
            known = ModelVersion.objects.get(id=UUID(job.spec["model_version"])).signature
        if result.get("rows") != job.spec["size"]["rows"]:
            raise BadOutput("it did not answer every row")
        _check_parquet(out / FILES["parquet"])
        files = {}
        for form, name in FILES.items():
            with platform():
                key = storage.new_key(job.tenant_id, "j", job.id, token)
                files[form] = storage.put(job.tenant_id, key, out / name, content_type=CONTENT_TYPES[form]).to_json()
        return {"rows": result["rows"], "files": files, "read": batch_reading.notes(result, known)}

    def complete(self, job: JobView, collected: dict[str, Any]) -> dict[str, Any]:
        """Return the job's result: row counts and file locations."""
        return collected


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One file of a result; `filename` is its name for the client."""

    format: str
    name: str
    size: int
    sha256: str
    filename: str
    stored: Stored


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """Result of a batch prediction and its cost per thousand rows; `read`: notes on how its file was read."""

    rows: int
    read: tuple[str, ...]
    cost_per_1000: Money
    files: tuple[ResultFile, ...]


def result(actor: Actor, job_id: UUID) -> BatchResult:
    """Return the result of a batch prediction and its files. Raises NotFound, NoResult.

    Visible to those who may see its dataset.
    """
    job = visible_jobs(actor).filter(id=job_id).only("kind", "name", "result", "spec").first()
    if job is None:
        raise NotFound
    if job.kind != KIND or not job.result:
        raise NoResult
    files = []
    for form, name in FILES.items():
        stored = Stored(**job.result["files"][form])
        filename = f"{job.name}-{name}"
        files.append(
            ResultFile(format=form, name=name, size=stored.size, sha256=stored.sha256, filename=filename, stored=stored)
        )
    rows = job.result["rows"]
    read = tuple(job.result.get("read", ()))
    return BatchResult(rows=rows, read=read, cost_per_1000=cost_per_1000(job_id, rows), files=tuple(files))


def cost_per_1000(job_id: UUID, rows: int) -> Money:
    """Return the cost per thousand rows of a job as billed now, later refunds included."""
    currency = Job.objects.values_list("currency", flat=True).get(id=job_id)
    return billed([job_id])[job_id].worth(currency) * (Decimal(1000) / rows)


def kept_keys(jobs: set[UUID]) -> set[str]:
    """Return the keys of the files that the results of these jobs point at."""
    results = Job.objects.filter(id__in=jobs, kind=KIND).values_list("result", flat=True)
    return {file["key"] for found in results for file in (found or {}).get("files", {}).values()}


def _check_parquet(path: Path) -> None:
    """Raise BadOutput unless the file starts and ends as a Parquet file does; it is never parsed here."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-4, 2)
            whole = head == file.read(4) == PARQUET_MAGIC
    except OSError:
        whole = False
    if not whole:
        raise BadOutput(f"{path.name} is not a whole Parquet file")
