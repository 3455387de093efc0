"""Which stored files an export has, and what each is called in it. Checkpoints of jobs and other exports are left out.

No other app stores objects of a tenant. The test of the contents fails for a new column that names a file, until it is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from compute.models import Job
from models_app.batch import batch
from models_app.models import DatasetVersion, ModelVersion
from models_app.models.files import Stored

#: The columns that name the files below; `result` does for batch predictions.
COLUMNS = {
    "models_app_datasetversion": {"source_key", "data_key"},
    "models_app_modelversion": {"artefact_key", "signature_key"},
}
_UNSAFE = re.compile(r"[^\w.()+, -]")


@dataclass(frozen=True)
class Member:
    """A stored file and its name in the archive, which is the same whatever system unpacks it."""

    name: str
    stored: Stored


def members() -> list[Member]:
    """Return the stored files of the open scope in a stable order, each once: versions of one upload share its file."""
    found: dict[str, Member] = {}
    for name, stored in (*_of_datasets(), *_of_models(), *_of_predictions()):
        if stored.key:
            found.setdefault(stored.key, Member(f"files/{name}", stored))
    return list(found.values())


def _of_datasets() -> Iterator[tuple[str, Stored]]:
    """Yield each upload as it was sent, and the table read from it."""
    fields = (
        "dataset__name", "dataset_id", "number", "filename",
        "source_key", "sha256", "size", "source_encrypted", "data_key", "data_sha256", "data_size", "data_encrypted",
    )  # fmt: skip
    for name, dataset_id, number, filename, *files in DatasetVersion.objects.order_by("id").values_list(*fields):
        folder = f"datasets/{safe(name)}-{dataset_id}/v{number}"
        yield f"{folder}/upload/{safe(filename)}", Stored(*files[:4])
        yield f"{folder}/table.parquet", Stored(*files[4:])


def _of_models() -> Iterator[tuple[str, Stored]]:
    fields = (
        "model__name", "model_id", "number",
        "artefact_key", "artefact_sha256", "artefact_size", "artefact_encrypted",
        "signature_key", "signature_sha256", "signature_size", "signature_encrypted",
    )  # fmt: skip
    for name, model_id, number, *files in ModelVersion.objects.order_by("id").values_list(*fields):
        folder = f"models/{safe(name)}-{model_id}/v{number}"
        yield f"{folder}/model.safetensors", Stored(*files[:4])
        yield f"{folder}/signature.json", Stored(*files[4:])


def _of_predictions() -> Iterator[tuple[str, Stored]]:
    jobs = Job.objects.filter(kind=batch.KIND, result__has_key="files").order_by("id")
    for job_id, name, result in jobs.values_list("id", "name", "result"):
        for form, file in result["files"].items():
            yield f"predictions/{safe(name)}-{job_id}/{batch.FILES.get(form, safe(form))}", Stored(**file)


def safe(name: str) -> str:
    """Return a person's name for something as a part of a path: no separator, control character or end that is cut off."""
    return _UNSAFE.sub("_", name)[-80:].strip(" .") or "file"
