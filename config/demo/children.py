"""The demo's real children: each table is ingested, trained on and scored in the sandbox, in parallel to the history.

They need no clock and no database, so they run ahead on another core; their output is stored when the history reaches
the end of their job.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings

from compute.sandbox import workdirs
from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Metric
from config.demo.organisations import Organisation
from config.demo.tables import Sheet, Tables
from models_app.datasets.ingest_child import ENTRYPOINT, MEMORY_BYTES, run_child
from models_app.recipes.base import recipe

PATIENCE_S = 300


class ChildFailed(RuntimeError):
    """A child of the demo failed; the message names it and shows its last lines."""


@dataclass(frozen=True)
class Done:
    """Output of a child: `folder` contains its `out/`; its reports, and its log lines."""

    folder: Path
    metrics: list[Metric]
    lines: list[str]

    @property
    def out(self) -> Path:
        """Return the folder of its results."""
        return self.folder / "out"


@dataclass(frozen=True)
class Learned:
    """The children of one organisation, each as a future: ingested tables, its versions, one prediction.

    `cleaned`: the training table with the weekly round's choices; `brief`: a version of few epochs.
    """

    training: Future[Done]
    cleaned: Future[Done]
    arriving: Future[Done]
    versions: list[Future[Done]]
    predicted: Future[Done]
    brief: Future[Done]


class TrainingPool:
    """Starts children, one per core."""

    def __init__(self) -> None:
        self._home = (settings.EXCHEQUER.home / "work" / "demo").absolute()
        workdirs.clear(self._home)
        self._pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))

    def train_all(self, companies: dict[str, tuple[Organisation, Tables]]) -> dict[str, Learned]:
        """Start everything that the organisations need, in the order of need."""
        trained = {slug: self._later(self._ingest, both.training) for slug, (_, both) in companies.items()}
        first = {slug: self._version(one, 0, both, trained[slug]) for slug, (one, both) in companies.items()}
        learned = {}
        for slug, (one, both) in companies.items():
            arriving = self._later(self._ingest, both.arriving)
            predicted = self._later(self._predict, one.recipe, first[slug], arriving)
            cleaned = self._later(self._ingest, both.training, dict(one.cleaned))
            few = {**one.params[0], "epochs": one.epochs // 10}
            brief = self._later(self._train, one.recipe, few, both.training.target, trained[slug])
            learned[slug] = Learned(trained[slug], cleaned, arriving, [first[slug]], predicted, brief)
        for slug, (one, both) in companies.items():
            more = range(1, len(one.params))
            learned[slug].versions.extend(self._version(one, at, both, trained[slug]) for at in more)
        return learned

    def close(self) -> None:
        """Start nothing more, wait for running children, and remove their folders."""
        self._pool.shutdown(cancel_futures=True)
        workdirs.remove(self._home)

    def _version(self, one: Organisation, at: int, both: Tables, table: Future[Done]) -> Future[Done]:
        return self._later(self._train, one.recipe, dict(one.params[at]), both.training.target, table)

    def _later(self, work: Callable[..., Done], *arguments: Any) -> Future[Done]:
        return self._pool.submit(work, *arguments)

    def _ingest(self, sheet: Sheet, choices: Mapping[str, Any] | None = None) -> Done:
        workdir = self._folder()
        (workdir / "in" / "source").write_bytes(sheet.as_csv())
        fault = run_child(workdir, target=sheet.target, choices=choices)
        if fault is not None:
            raise ChildFailed(fault.message)
        return Done(workdirs.take_output(workdir), [], [])

    def _train(self, recipe_id: str, params: dict[str, Any], target: str, table: Future[Done]) -> Done:
        def fill(folder: Path) -> None:
            shutil.copy(table.result().out / "data.parquet", folder)

        payload = {"task": "train", "recipe": recipe_id, "params": recipe(recipe_id).parse(params)}
        return self._run(payload | {"inputs": {"target": target}, "limits": {"checkpoint_s": 3600.0}}, fill)

    def _predict(self, recipe_id: str, version: Future[Done], table: Future[Done]) -> Done:
        def fill(folder: Path) -> None:
            for name in ("model.safetensors", "signature.json"):
                shutil.copy(version.result().out / name, folder)
            shutil.copy(table.result().out / "data.parquet", folder)

        return self._run({"task": "predict", "recipe": recipe_id, "inputs": {}, "limits": {}}, fill)

    def _run(self, payload: dict[str, Any], fill: Callable[[Path], None]) -> Done:
        workdir, attempt = self._folder(), str(uuid4())
        fill(workdir / "in")
        common = {"attempt": attempt, "device": {"kind": "cpu"}, "threads": 1, "resume": False}
        child = Child(
            entrypoint=ENTRYPOINT, attempt=attempt, workdir=workdir, payload=common | payload,
            slot=Slot(kind="cpu", uuid="demo", index=0, threads=1, memory_bytes=MEMORY_BYTES),
            sandbox_required=settings.EXCHEQUER.sandbox == "required",
        )  # fmt: skip
        give_up = time.monotonic() + PATIENCE_S
        try:
            while not child.exited.wait(0.5) and time.monotonic() < give_up:
                pass
        finally:
            child.kill()
        if child.exit_code != 0:
            last = " | ".join(list(child.lines)[-5:])
            raise ChildFailed(f"{payload['task']} {payload['recipe']} ended with {child.exit_code}: {last}")
        metrics = [said for said in child.said if isinstance(said, Metric)]
        return Done(workdirs.take_output(workdir), metrics, list(child.lines))

    def _folder(self) -> Path:
        workdir = self._home / str(uuid4())
        workdirs.make(workdir)
        return workdir
