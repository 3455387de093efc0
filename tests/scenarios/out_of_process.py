"""Code that a scenario runs in a separate process: a bare model without the product, and NVIDIA's published client.

`python -m tests.scenarios.out_of_process model TENANT VERSION < rows.json` fetches a version's stored files from the
object store of the installation in EXCHEQUER_HOME and predicts; `... trained TENANT VERSION` predicts its training
table; `... triton HOST:PORT NAME KEY < rows.json` calls an endpoint. All print JSON.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.scenarios.stack import ROOT, Stack


def model(tenant_id: str, version_id: str) -> list[Any]:
    """Return the stored model's predictions for the rows on standard input."""
    with stored(tenant_id, version_id) as (folder, _):
        from models_app.recipes.tabular.prediction import predict

        return predict.load(folder).predict(json.load(sys.stdin))


def trained(tenant_id: str, version_id: str) -> list[Any]:
    """Return the model's predictions for its training table, as training read it.

    One `{"row", "test", "answer"}` for each row with a target: its index in the table, whether it was held back from
    training.
    """
    with stored(tenant_id, version_id) as (folder, params):
        import numpy as np

        from models_app.recipes.tabular import table
        from models_app.recipes.tabular.features import encode
        from models_app.recipes.tabular.prediction import predict

        found = predict.load(folder)
        goal, task = found.signature["target"]["name"], "classification" if found.classes else "regression"
        data = table.read(folder / "data.parquet", target=goal, task=task, exclude=frozenset(params["exclude_columns"]))
        cut = table.split(
            data.target, validation=params["validation_share"], test=params["test_share"], seed=params["seed"]
        )
        answers = found.answers(found.outputs(encode(found.features, data.columns, data.rows)))
        held = set(np.asarray(cut.test).tolist())
        return [
            {"row": int(row), "test": at in held, "answer": answers[at]} for at, row in enumerate(data.kept.tolist())
        ]


@contextmanager
def stored(tenant_id: str, version_id: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Fetch a version's stored weights, signature and training table; and its parameters."""
    from config.env import choose_database_role

    choose_database_role("")
    import django

    django.setup()
    from models_app.models import ModelVersion
    from models_app.object_store import storage
    from tenants.isolation.scoping import tenant_scope

    with tenant_scope(UUID(tenant_id)):
        version = ModelVersion.objects.select_related("dataset_version").get(id=version_id)
    files = {
        "model.safetensors": version.weights,
        "signature.json": version.signature_file,
        "data.parquet": version.dataset_version.table,
    }
    with tempfile.TemporaryDirectory() as name:
        for file, one in files.items():
            storage.fetch(version.tenant_id, one, Path(name) / file)
        yield Path(name), version.params


def triton(address: str, name: str, key: str) -> list[Any]:
    """Return an endpoint's predictions for the rows on standard input, lists of numbers, sent as one matrix."""
    import numpy as np
    import tritonclient.http as client

    rows = np.array(json.load(sys.stdin), dtype=np.float64)
    tensor = client.InferInput("inputs", list(rows.shape), "FP64")
    tensor.set_data_from_numpy(rows)
    headers = {"Authorization": f"Bearer {key}"}
    with client.InferenceServerClient(address) as server:
        assert server.is_server_ready()
        assert server.is_model_ready(name, headers=headers)
        answer = server.infer(name, [tensor], headers=headers)
    labels, scores = answer.as_numpy("label"), answer.as_numpy("scores")
    assert labels is not None
    assert scores is not None
    return [
        {"label": label.decode() if isinstance(label, bytes) else str(label), "scores": given.tolist()}
        for label, given in zip(labels, scores, strict=True)
    ]


def ask(stack: Stack, rows: list[Any], *command: str) -> list[Any]:
    """Predict rows in a separate process; see `out_of_process.py`."""
    return list(
        json.loads(run([sys.executable, "-m", "tests.scenarios.out_of_process", *command], stack, json.dumps(rows)))
    )


def run(command: list[str], stack: Stack | None = None, given: str = "") -> str:
    """Run a program, assert success and return its output."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    home = {"EXCHEQUER_HOME": str(stack.home)} if stack else {}
    done = subprocess.run(
        command, input=given, cwd=ROOT, env=kept | home, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same(found: list[Any], truth: list[Any]) -> None:
    """Assert that labels are equal and scores within 1e-5, row by row."""
    for one, other in zip(found, truth, strict=True):
        assert str(one["label"]) == str(other["label"])
        scores = [list(each.values()) if isinstance(each, dict) else each for each in (one["scores"], other["scores"])]
        assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(*scores, strict=True))


if __name__ == "__main__":
    command = {"model": model, "trained": trained, "triton": triton}[sys.argv[1]]
    json.dump(command(*sys.argv[2:]), sys.stdout)
