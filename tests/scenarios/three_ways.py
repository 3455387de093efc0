"""Take one table the whole way over HTTP: read, trained, deployed, predicted online and in a batch; all must agree.

The reference is training's own reading and its predictions. A separate process computes it from the stored table and
the stored model (`out_of_process.py trained`). Only the installation's own ports are used, and no product code in
between.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.scenarios.invoice_client import node_of
from tests.scenarios.out_of_process import ask
from tests.scenarios.stack import Stack
from tests.support.waiting import wait_until

HELD = 40
READ_S, TRAIN_S = 120, 300
QUICK = {"epochs": 12, "patience": 12, "width": 16}

Raw = Mapping[str, Any]
File = tuple[str, bytes]


@dataclass(frozen=True)
class Case:
    """A table and how a person brings it.

    `raw`: its rows as sent online, by column, in file order. `later`: makes files of some of them, without the target,
    in other spellings and formats, each with a person's column choices, if any. `types`: the expected types of columns.
    `choices`: a person's column choices after the first reading; `reading`: file options at upload (`encoding`,
    `delimiter`).
    """

    name: str
    file: File
    target: str
    raw: Sequence[Raw]
    later: Callable[[Sequence[Raw]], Sequence[tuple[Any, ...]]]
    recipe: str = "tabular.classifier"
    types: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)
    reading: Mapping[str, str] = field(default_factory=dict)
    labels: frozenset[str] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Walked:
    """Result of a case: how it was read, and for each way how many held-out rows agree with training."""

    case: Case
    dataset: str = ""
    columns: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    rows: int = 0
    version: str = ""
    agreed: dict[str, int] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)

    def compare(self, way: str, answers: Sequence[Any], wanted: Sequence[Any]) -> None:
        """Count the rows that agree with training in label and scores, and record how the first ones differ."""
        assert len(answers) == len(wanted), way
        self.agreed[way] = 0
        for at, (one, other) in enumerate(zip(answers, wanted, strict=True)):
            if _alike(one, other):
                self.agreed[way] += 1
            elif len(self.differs) < 20:
                self.differs.append(f"{way}, row {at}: {_short(one)}, trained {_short(other)}")


def walk(stack: Stack, case: Case, upload: Callable[[Case], str] | None = None) -> Walked:
    """Take a case the whole way; return the result. `upload` replaces the upload, for example by a browser."""
    found = Walked(case)
    found.dataset = upload(case) if upload else send(stack, case.file, case.name, case.target, **case.reading)
    dataset = stack.get(f"datasets/{found.dataset}/")
    reading = stack.get(f"datasets/{found.dataset}/columns/")
    if case.choices:
        dataset = choose(stack, found.dataset, case.choices)
        reading = stack.get(f"datasets/{found.dataset}/columns/")
    found.columns, found.rows = reading["columns"], dataset["version"]["rows"]
    found.said = dataset["version"]["warnings"]
    read = {one["name"]: one["type"] for one in found.columns}
    assert {name: read.get(name) for name in case.types} == dict(case.types), f"{case.name}: {read}"
    found.version = train(stack, case, found.dataset)
    truth = ask(stack, [], "trained", stack.get("me/")["tenant"]["id"], found.version)
    held = _held(case, found, truth)
    rows = [case.raw[at] for at, _ in held]
    wanted = [answer for _, answer in held]
    if case.labels is not None:
        assert set(wanted[0]["scores"]) == case.labels, wanted[0]
    endpoint, key = deploy(stack, case, found.version)
    try:
        ways, ids = online(stack, case.name, key, rows)
        for way, answers in ways.items():
            found.compare(way, answers, wanted)
        if case.recipe == "tabular.classifier":
            label(stack, endpoint, ids, [str(row[case.target]) for row in rows])
    finally:
        assert stack.request("DELETE", f"endpoints/{endpoint}/").status_code == 204
    for name, content, *choices in case.later(rows):
        answers = batch(stack, found.version, (name, content), f"{case.name} {name}", *choices)
        found.compare(name, answers, wanted)
    return found


def send(stack: Stack, file: File, name: str, target: str = "", **more: str) -> str:
    """Upload a file, wait until it is read and return the dataset's id."""
    fields = {"name": name, "target": target, **more}
    made = stack.post("datasets/", data=fields, files={"file": (file[0], file[1], "application/octet-stream")})
    ready(stack, made["id"])
    return str(made["id"])


def choose(stack: Stack, dataset: str, choices: Raw) -> dict[str, Any]:
    """Read a file with other choices and wait for the new version; return the dataset."""
    answer = stack.request("PATCH", f"datasets/{dataset}/columns/", json={"columns": choices})
    assert answer.status_code == 200, answer.text
    return ready(stack, dataset)


def ready(stack: Stack, dataset: str) -> dict[str, Any]:
    """Wait until the newest version of a dataset is read and return the dataset; fail with its reason otherwise."""
    wait_until(lambda: stack.get(f"datasets/{dataset}/")["state"] != "ingesting", "the file is read", READ_S)
    found: dict[str, Any] = stack.get(f"datasets/{dataset}/")
    assert found["state"] == "ready", (found["code"], found["message"])
    return found


def train(stack: Stack, case: Case, dataset: str) -> str:
    """Ask for a quote, then train; return the version."""
    body = {
        "name": case.name,
        "kind": "train",
        "project": "default",
        "recipe": case.recipe,
        "dataset": dataset,
        "params": {**QUICK, **case.params},
        "device_class": "cpu",
        "devices": 1,
        "tier": "on_demand",
        "max_seconds": TRAIN_S,
    }
    quote = stack.post("quotes/", 201, json=body)
    assert float(quote["typical"]["amount"]) > 0, quote
    job = stack.wait_ended(stack.post("jobs/", json=body)["id"], TRAIN_S)
    assert job["state"] == "succeeded", (job["state"], job["cause"], job.get("message"))
    return str(job["model_version"])


def deploy(stack: Stack, case: Case, version: str) -> tuple[str, str]:
    """Take a version into production and deploy it; return the endpoint and a key that may call it."""
    assert stack.request("PATCH", "organisation/", json={"self_approval": True}).status_code == 200
    for stage in ("staging", "production"):
        stack.post(f"versions/{version}/promote/", 200, json={"stage": stage})
    made = stack.post("endpoints/", json={"name": case.name, "version": version, "project": "default"})
    wait_until(lambda: stack.get(f"endpoints/{made['id']}/")["answers"], "the endpoint answers")
    return made["id"], stack.post(f"endpoints/{made['id']}/keys/", json={"name": "three ways"})["key"]


def label(stack: Stack, endpoint: str, ids: Sequence[str], truth: Sequence[str]) -> None:
    """Send ground truth in the file's spelling, twice, then an invalid class."""

    def sent(labels: Sequence[str]) -> dict[str, Any]:
        items = [{"prediction_id": one, "label": word} for one, word in zip(ids, labels, strict=True)]
        return dict(stack.post(f"endpoints/{endpoint}/feedback/", 200, json={"items": items}))

    assert sent(truth) == {"accepted": len(truth), "known": 0, "errors": []}
    assert sent([f" {word} " for word in truth]) == {"accepted": 0, "known": len(truth), "errors": []}
    assert {one["code"] for one in sent(["no such class"] * len(ids))["errors"]} == {"unknown_label"}


def online(stack: Stack, name: str, key: str, rows: Sequence[Raw]) -> tuple[dict[str, list[Any]], list[str]]:
    """Predict rows by protocol 1, as objects, and by tensors of protocol 2; return the predictions and the first's ids."""
    base, headers = f"http://{node_of(stack)}", {"Authorization": f"Bearer {key}"}
    about = requests.get(f"{base}/v2/models/{name}", headers=headers, timeout=30).json()
    names = [one["name"] for one in about["inputs"]]
    instances = [{one: row[one] for one in names} for row in rows]
    first = requests.post(
        f"{base}/v1/models/{name}:predict", json={"instances": instances}, headers=headers, timeout=60
    )
    assert first.status_code == 200, first.text
    inputs = [
        {
            "name": one,
            "datatype": (kind := _datatype(rows, one)),
            "shape": [len(rows)],
            "data": _elements(rows, one, kind),
        }
        for one in names
    ]
    second = requests.post(f"{base}/v2/models/{name}/infer", json={"inputs": inputs}, headers=headers, timeout=60)
    assert second.status_code == 200, second.text
    tensors = {one["name"]: one["data"] for one in second.json()["outputs"]}
    if "label" not in tensors:
        return {"v1": first.json()["predictions"], "v2": tensors["prediction"]}, first.json()["prediction_ids"]
    width = len(tensors["scores"]) // len(rows)
    scores = [tensors["scores"][at * width : (at + 1) * width] for at in range(len(rows))]
    both = [{"label": label, "scores": each} for label, each in zip(tensors["label"], scores, strict=True)]
    return {"v1": first.json()["predictions"], "v2": both}, first.json()["prediction_ids"]


def batch(stack: Stack, version: str, file: File, name: str, choices: Raw | None = None) -> list[Any]:
    """Upload a file and predict it by a job; return the predictions from the downloaded CSV."""
    dataset = send(stack, file, name[:120])
    if choices:
        choose(stack, dataset, choices)
    body = {
        "name": name[:120],
        "kind": "batch_predict",
        "project": "default",
        "model_version": version,
        "dataset": dataset,
        "device_class": "cpu",
        "devices": 1,
        "tier": "on_demand",
        "max_seconds": TRAIN_S,
    }
    job = stack.wait_ended(stack.post("jobs/", json=body)["id"], TRAIN_S)
    assert job["state"] == "succeeded", (job["state"], job["cause"], job.get("message"))
    answer = stack.request("GET", f"jobs/{job['id']}/result/csv/")
    assert answer.status_code == 200, answer.text
    found: list[Any] = []
    for line in csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")):
        scores = [float(value) for key, value in line.items() if key.startswith("score_")]
        found.append({"label": line["label"], "scores": scores} if scores else float(line["prediction"]))
    return found


def _alike(one: Any, other: Any) -> bool:
    if not isinstance(other, Mapping):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-5)
    scores = [list(each.values()) if isinstance(each, Mapping) else each for each in (one["scores"], other["scores"])]
    # The CSV escapes a label that a spreadsheet would read as a formula.
    label = str(one["label"]).removeprefix("'") if str(one["label"])[1:2] in tuple("=+-@") else one["label"]
    return str(label) == str(other["label"]) and all(
        math.isclose(a, b, abs_tol=1e-5) for a, b in zip(*scores, strict=True)
    )


def _short(one: Any) -> str:
    return repr(one)[:160]


def _held(case: Case, found: Walked, truth: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return (row in the file, prediction of training's own reading) of held-out rows."""
    test = [(one["row"], one["answer"]) for one in truth if one["test"]]
    assert len(case.raw) == found.rows, (len(case.raw), found.rows)
    return sorted(random.Random(5).sample(test, min(HELD, len(test))), key=lambda one: one[0])


def _elements(rows: Sequence[Raw], name: str, datatype: str) -> list[Any]:
    """Return a column's elements; mixed values are all sent as text."""
    found = [row[name] for row in rows]
    return [str(value) if datatype == "BYTES" and value is not None else value for value in found]


def _datatype(rows: Sequence[Raw], name: str) -> str:
    """Return the datatype of a column in a client: BYTES for text, or that of its JSON values."""
    kinds = {type(row[name]) for row in rows} - {type(None)}
    if kinds <= {bool} and kinds:
        return "BOOL"
    if kinds <= {int} and kinds:
        return "INT64"
    return "FP64" if kinds and kinds <= {int, float} else "BYTES"
