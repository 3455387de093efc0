"""The job kind `train`: the hooks that compute calls to validate, stage, store and complete a training job."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

from compute.kinds import BadOutput, JobView, Plan
from models_app.models import DatasetVersion
from models_app.object_store import storage
from models_app.object_store.staging import fetch_input, platform
from models_app.recipes.base import recipe
from models_app.registry import artefacts, registration
from models_app.training import specs
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope

CHECKPOINT_S = 5.0
CHECKPOINT_FILES = frozenset({"tensors.safetensors", "state.json", "manifest.json"})
#: Which values of a metric are better where that is not the higher ones; "" where none is.
BETTER = {"log_loss": "lower", "mae": "lower", "rmse": "lower", "majority_share": ""}


class TrainKind:
    """Trains a recipe on a dataset version and registers the model."""

    name = "train"
    meter = "device_seconds"
    better = BETTER
    entrypoint = Path(__file__).resolve().parents[1] / "runner" / "main.py"

    def validate(self, actor: Actor, spec: dict[str, Any]) -> dict[str, Any]:
        """Return the normalised spec: recipe, dataset, version, target, all parameters. Raises Invalid by field."""
        return specs.validate(actor, spec)

    def plan(self, spec: dict[str, Any]) -> Plan:
        """Return the seconds that a typical run takes on one CPU thread."""
        return specs.plan(spec)

    def describe(self, job: JobView) -> dict[str, Any]:
        """Return what the API says about a training job beyond the fields of every job."""
        names = ("recipe", "dataset", "dataset_version", "target", "params", "left_out")
        said = {name: job.spec.get(name) for name in names}
        return {
            **said,
            "model": job.result.get("model"),
            "model_version": job.result.get("model_version"),
            "metrics": job.result.get("metrics"),
        }

    def stage(self, job: JobView, workdir: Path) -> dict[str, Any]:
        """Fetch the dataset version and the checkpoint, if any, and return the child's instructions."""
        with tenant_scope(job.tenant_id):
            version = DatasetVersion.objects.get(id=UUID(job.spec["dataset_version"]))
        (workdir / "in").mkdir(exist_ok=True)
        fetch_input(job.tenant_id, version.table, workdir / "in" / "data.parquet", "The dataset's table")
        resumed = self._restore(job, workdir)
        return {
            "task": "train",
            "recipe": job.spec["recipe"],
            "params": job.spec["params"],
            "inputs": {"target": job.spec["target"], "left_out": job.spec.get("left_out", {})},
            "limits": {"checkpoint_s": CHECKPOINT_S},
            "resume": resumed,
        }

    def reads(self, job: JobView) -> list[str]:
        """Return the keys of the dataset version and of the checkpoint."""
        with tenant_scope(job.tenant_id):
            table = DatasetVersion.objects.get(id=UUID(job.spec["dataset_version"])).table
        return [table.key, *(str(file["key"]) for file in job.checkpoint.get("files", []))]

    def save_checkpoint(self, job: JobView, token: int, folder: Path) -> dict[str, Any]:
        """Upload a complete checkpoint, drop all but this attempt's last two, and return its pointer."""
        files = []
        for path in sorted(folder.iterdir()):
            if path.name not in CHECKPOINT_FILES:
                raise BadOutput(f"a checkpoint holds no {path.name!r}")
            with platform():
                stored = storage.put(job.tenant_id, storage.new_key(job.tenant_id, "j", job.id, token), path)
            files.append({"name": path.name, **stored.to_json()})
        if {file["name"] for file in files} != CHECKPOINT_FILES:
            raise BadOutput("the checkpoint is not complete")
        self._forget_old(job, token, [str(file["key"]) for file in files])
        return {"files": files, "recipe": job.spec["recipe"]}

    def collect(self, job: JobView, token: int, workdir: Path) -> dict[str, Any]:
        """Check the child's output and store weights and signature under keys that contain the token."""
        out = workdir / "out"
        result, signature = artefacts.read_json(out / "result.json"), artefacts.read_json(out / "signature.json")
        artefacts.check_model(signature, job.spec["recipe"], out / "model.safetensors")
        if not isinstance(result.get("metrics"), dict):
            raise BadOutput("the result measures nothing")
        with platform():
            weights = storage.put(
                job.tenant_id, storage.new_key(job.tenant_id, "j", job.id, token), out / "model.safetensors"
            )
            described = storage.put(
                job.tenant_id,
                storage.new_key(job.tenant_id, "j", job.id, token),
                out / "signature.json",
                content_type="application/json",
            )
        training = {name: value for name, value in result.items() if name not in ("metrics", "files", "baseline")}
        return {
            "weights": weights.to_json(), "signature_file": described.to_json(), "signature": signature,
            "metrics": result["metrics"], "training": training, "baseline": artefacts.baseline_of(result),
            "digest": recipe(job.spec["recipe"]).digest(),
        }  # fmt: skip

    def complete(self, job: JobView, collected: dict[str, Any]) -> dict[str, Any]:
        """Register the model version, inside the completion transaction; return the job's result."""
        chosen = recipe(job.spec["recipe"])
        version = registration.register(
            actor=Actor.system(job.tenant_id, "training"),
            trained=registration.Trained(
                model=job.spec["model"] or job.name,
                job_id=job.id,
                attempt_id=job.attempt_id,
                project_id=job.project_id,
                submitted_by=job.submitted_by,
                dataset_version_id=UUID(job.spec["dataset_version"]),
                recipe=chosen.id,
                recipe_version=collected["signature"].get("recipe_version", chosen.version),
                recipe_digest=collected["digest"],
                params=job.spec["params"],
                metrics=collected["metrics"],
                training=collected["training"],
                signature=collected["signature"],
                baseline=collected.get("baseline", {}),
                weights=storage.Stored(**collected["weights"]),
                signature_file=storage.Stored(**collected["signature_file"]),
            ),
        )
        figures = {name: value for name, value in collected["metrics"].items() if isinstance(value, float | int)}
        return {"model": str(version.model_id), "model_version": str(version.id), "metrics": figures}

    def _restore(self, job: JobView, workdir: Path) -> bool:
        """Restore the last checkpoint; if it is missing or damaged, start from the beginning."""
        files = job.checkpoint.get("files", [])
        folder = workdir / "checkpoint"
        if not files:
            return False
        folder.mkdir(exist_ok=True)
        try:
            for file in files:
                if file["name"] not in CHECKPOINT_FILES:
                    raise storage.ChecksumMismatch(f"{file['name']!r} is no part of a checkpoint")
                with platform():
                    storage.fetch(job.tenant_id, _stored(file), folder / file["name"])
        except (storage.ChecksumMismatch, storage.ObjectMissing):
            shutil.rmtree(folder, ignore_errors=True)
            return False
        return True

    def _forget_old(self, job: JobView, token: int, newest: list[str]) -> None:
        """Remove older checkpoints of this attempt except the last, which the job may still point at."""
        mine = sorted(item.key for item in storage.listing(job.tenant_id, "j", job.id, token))
        keep = set(mine[-2 * len(CHECKPOINT_FILES) :]) | set(newest)
        try:
            storage.delete(job.tenant_id, [key for key in mine if key not in keep])
        except storage.StorageUnavailable:
            return  # removed when the job has ended


def _stored(file: dict[str, Any]) -> storage.Stored:
    """Return one file of a checkpoint's pointer."""
    return storage.Stored(**{name: value for name, value in file.items() if name != "name"})
