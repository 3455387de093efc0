"""Batch prediction in the sandboxed child: same predictions as in one process, bounded memory, tables that do not fit."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Fault, Progress
from models_app.recipes import columns
from models_app.recipes.tabular.features import Feature
from models_app.recipes.tabular.network import TabularNet
from models_app.recipes.tabular.prediction import batch, predict
from models_app.recipes.tabular.prediction.answers import FORMULA, Answers
from models_app.recipes.tabular.shapes import tensor_shapes
from models_app.runner import main
from models_app.runner_protocol import EXIT_DEVICE, EXIT_INPUT, EXIT_OK, EXIT_STOPPED, InputError
from models_app.tables.columns.kinds import KIND_KEY
from tenants.web import pagination
from tests.support.work import wait_until_sent, work_until_the_end
from tests.unit.models_app.test_recipes import ingested, trained

pytestmark = pytest.mark.xdist_group("batch")

MAIN = Path(main.__file__)
CPU = Slot("cpu", "cpu-0", 5, 1, 1 << 32)


def mixed_csv(rows: int, *, seed: int = 3, target: str = "kind") -> bytes:
    """Return a table with every kind of column and missing values; the target depends on two of them."""
    random = np.random.default_rng(seed)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["note", "size", "colour", "when", "fresh", target, "price"])
    for at in range(rows):
        size, colour = random.normal(10, 4), random.choice(["red", "green", "blue"])
        kind = "=big" if size > 12 else "small" if colour == "red" else "other"
        gap = at % 7
        writer.writerow(
            [
                f"line {at}",
                "" if gap == 1 else f"{size:.4f}",
                "" if gap == 2 else colour,
                "" if gap == 3 else f"2024-{at % 12 + 1:02}-{at % 28 + 1:02}",
                "" if gap == 4 else ("yes" if size > 9 else "no"),
                kind,
                f"{size * 1000 + len(colour):.2f}",
            ]
        )
    return out.getvalue().encode()


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """A classifier with text classes and a regressor, each with its own folder of model.safetensors and signature.json."""
    found = {}
    for recipe, target in (("tabular.classifier", "kind"), ("tabular.regressor", "price")):
        folder = tmp_path_factory.mktemp("model")
        parquet = ingested(folder / "ingest", mixed_csv(400), target)
        exclude = ["price"] if target == "kind" else ["kind"]
        trained(folder, parquet, recipe, target=target, epochs=8, exclude_columns=exclude)
        found[recipe] = folder / "out"
    return found


def start(work: Path, model: Path, parquet: bytes, *, slot: Slot = CPU, recipe="tabular.classifier") -> Child:
    for name in ("in", "out"):
        (work / name).mkdir(parents=True)
    (work / "in" / "data.parquet").write_bytes(parquet)
    for name in ("model.safetensors", "signature.json"):
        shutil.copy(model / name, work / "in" / name)
    payload = {
        "attempt": "a1", "task": "predict", "device": {"kind": slot.kind, "uuid": slot.uuid}, "threads": 1, "seed": 1,
        "recipe": recipe, "limits": {}, "resume": False,
    }  # fmt: skip
    return Child(entrypoint=MAIN, attempt="a1", workdir=work, slot=slot, payload=payload, sandbox_required=False)


def ended(child: Child) -> int:
    assert child.exited.wait(120)
    assert child.exit_code is not None
    return child.exit_code


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("recipe", ["tabular.classifier", "tabular.regressor"])
def test_batch_predictions_equal_the_model_in_process(tmp_path, models, recipe):
    source = mixed_csv(900, seed=8)
    child = start(tmp_path / "work", models[recipe], ingested(tmp_path / "data", source, None), recipe=recipe)
    assert ended(child) == EXIT_OK, list(child.lines)
    out = tmp_path / "work" / "out"
    assert {path.name for path in out.iterdir()} == {"predictions.parquet", "predictions.csv", "result.json"}
    answers = pq.read_table(out / "predictions.parquet").to_pylist()
    shown = read_csv(out / "predictions.csv")
    rows = list(csv.DictReader(io.StringIO(source.decode())))
    instances = [{name: value or None for name, value in row.items()} for row in rows]
    model = predict.load(models[recipe])
    expected = model.predict(instances)
    assert [answer["row"] for answer in answers] == list(range(1, 901))
    assert [int(row["row"]) for row in shown] == list(range(1, 901))
    for answer, plain, wanted in zip(answers, shown, expected, strict=True):
        if isinstance(wanted, float):
            assert answer["prediction"] == pytest.approx(wanted, rel=1e-5)
            assert float(plain["prediction"]) == answer["prediction"]
            continue
        assert answer["label"] == wanted["label"]
        assert plain["label"] == ("'=big" if wanted["label"] == "=big" else wanted["label"])
        for name, score in wanted["scores"].items():
            assert answer[f"score_{name}"] == pytest.approx(score, abs=1e-5)
            assert float(plain[f"score_{name}"]) == pytest.approx(score, abs=1e-5)
    assert json.loads((out / "result.json").read_text())["rows"] == 900
    said = [entry.values for entry in child.said if isinstance(entry, Progress)]
    assert [entry["phase"] for entry in said[:2]] == ["starting", "predicting"]
    assert (said[-1]["done"], said[-1]["total"]) == (900, 900)
    log = "\n".join(child.lines)
    assert "on cpu, 1 thread: 900 rows to predict" in log
    assert "ignored, as the model was not trained on them: 'note'" in log


def test_a_column_without_any_value_counts_as_missing(tmp_path, models):
    lines = mixed_csv(60).decode().splitlines()
    emptied = "\n".join([lines[0], *(",".join([*line.split(",")[:2], "", *line.split(",")[3:]]) for line in lines[1:])])
    child = start(tmp_path / "work", models["tabular.classifier"], ingested(tmp_path / "d", emptied.encode(), None))
    assert ended(child) == EXIT_OK, list(child.lines)
    assert "without any value, so taken as missing: 'colour'" in "\n".join(child.lines)
    rows = list(csv.DictReader(io.StringIO(emptied)))
    expected = predict.load(models["tabular.classifier"]).predict(
        [{k: v or None for k, v in row.items()} for row in rows]
    )
    answers = pq.read_table(tmp_path / "work" / "out" / "predictions.parquet").to_pylist()
    assert [answer["label"] for answer in answers] == [wanted["label"] for wanted in expected]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("size,colour", "length,hue", 1), "does not have: 'size', 'colour'"),
        (lambda text: text.replace(",yes,", ",7,").replace(",no,", ",9,"), "fresh (numbers, the model needs yes/no)"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name_before_the_first_row(tmp_path, models, change, words):
    source = change(mixed_csv(80).decode()).encode()
    child = start(tmp_path / "work", models["tabular.classifier"], ingested(tmp_path / "data", source, None))
    assert ended(child) == EXIT_INPUT
    (fault,) = [said for said in child.said if isinstance(said, Fault)]
    assert words in fault.message
    assert not any(said.values["phase"] == "predicting" for said in child.said if isinstance(said, Progress))
    assert not list((tmp_path / "work" / "out").iterdir())


def test_a_device_that_cannot_be_opened_is_never_replaced_by_the_cpu(tmp_path, models):
    slot = Slot("cuda", "GPU-1", 0, 1, 1 << 32)
    child = start(
        tmp_path / "w", models["tabular.classifier"], ingested(tmp_path / "d", mixed_csv(40), None), slot=slot
    )
    assert ended(child) == EXIT_DEVICE


@pytest.fixture(scope="module")
def million(models, tmp_path_factory):
    """The columns of `mixed_csv` over a million rows, written in groups."""
    path = tmp_path_factory.mktemp("million") / "data.parquet"
    small = tmp_path_factory.mktemp("small")
    group = pq.read_table(io.BytesIO(ingested(small, mixed_csv(50_000), None)))
    with pq.ParquetWriter(path, group.schema) as writer:
        for _ in range(20):
            writer.write_table(group)
    return path


def peak_bytes(child: Child) -> int:
    """Return the peak memory of the child, read while it lives."""
    most = 0
    while not child.exited.wait(0.005):
        try:
            status = Path(f"/proc/{child.group}/status").read_text()
        except OSError:
            continue
        found = [line for line in status.splitlines() if line.startswith("VmHWM")]
        most = max(most, int(found[0].split()[1]) * 1024 if found else 0)
    return most


def test_a_million_rows_need_little_more_memory_than_twenty_thousand(tmp_path, models, million):
    model = models["tabular.classifier"]
    few = io.BytesIO()
    pq.write_table(pq.read_table(million).slice(0, 20_000), few)
    small = start(tmp_path / "few", model, few.getvalue())
    least = peak_bytes(small)
    assert ended(small) == EXIT_OK, list(small.lines)
    large = start(tmp_path / "many", model, million.read_bytes())
    most = peak_bytes(large)
    assert ended(large) == EXIT_OK, list(large.lines)
    assert pq.ParquetFile(tmp_path / "many" / "out" / "predictions.parquet").metadata.num_rows == 1_000_000
    assert most - least < 120 * 2**20, (least, most)


def test_a_request_to_stop_ends_within_two_seconds(tmp_path, models, million):
    child = start(tmp_path, models["tabular.classifier"], million.read_bytes())
    wait_until_sent(child, lambda said: isinstance(said, Progress) and said.values["phase"] == "predicting")
    child.ask_to_stop()
    assert work_until_the_end(child) < 2.0
    assert ended(child) == EXIT_STOPPED


def test_columns_are_compared_by_name_and_kind_whatever_their_order():
    inputs = [{"name": "a", "kind": "numeric"}, {"name": "b", "kind": "categorical"}, {"name": "c", "kind": "datetime"}]
    good = columns.fit(inputs, {"z": "text", "c": "datetime", "b": "text", "a": "empty"})
    assert (good.faults, good.extra, good.empty) == ([], ("z",), ("a",))
    bad = columns.fit(inputs, {"a": "text", "b": "boolean"})
    assert "'c'" in bad.faults[0]
    assert "a (free text, the model needs numbers)" in bad.faults[1]
    assert [name for name, _, _ in bad.wrong] == ["a"], "categories are read from whatever a column holds"
    assert columns.fit(inputs, {"a\xa0": "numeric", "b": "text", " c": "datetime"}).faults == []
    slips = {"a": {"numeric": 0.01}, "c": {"datetime": 0.0}}
    assert [name for name, _, _ in columns.fit(inputs, {"a": "text", "b": "text", "c": "text"}, slips).wrong] == ["c"]
    many = columns.fit([{"name": f"n{at}", "kind": "numeric"} for at in range(20)], {})
    assert "and 12 more" in many.faults[0]


@pytest.mark.parametrize("classes", [["a", "b"], [0, 1, 2], [False, True], ['he said "so"', "x,y", "two\nlines"]])
def test_the_csv_reads_back_whatever_the_classes_are(tmp_path, classes):
    scores = np.random.default_rng(1).dirichlet(np.ones(len(classes)), 300)
    with Answers(tmp_path, classes, 300) as answers:
        answers.add(scores[:100])
        answers.add(scores[100:])
    best = [classes[at] for at in scores.argmax(axis=1)]
    assert pq.read_table(tmp_path / "predictions.parquet")["label"].to_pylist() == best
    words = [("true" if one else "false") if isinstance(one, bool) else str(one) for one in best]
    shown = read_csv(tmp_path / "predictions.csv")
    assert [row["label"] for row in shown] == words
    assert len(shown[0]) == 2 + len(classes)


def test_no_cell_of_the_csv_is_a_formula(tmp_path):
    hostile = [f"{sign}1+1" for sign in FORMULA]
    assert set(pagination.FORMULA) <= set(FORMULA)
    with Answers(tmp_path, hostile, len(hostile)) as answers:
        answers.add(np.eye(len(hostile)))
    for row in read_csv(tmp_path / "predictions.csv"):
        assert row["label"].startswith("'")
        assert not any(value.startswith(FORMULA) for value in [*row.values(), *row.keys()])


def test_a_negative_number_among_the_classes_is_no_formula(tmp_path):
    with Answers(tmp_path, ["-1", "+1", "-1.5", "-1-1"], 4) as answers:
        answers.add(np.eye(4))
    assert [row["label"] for row in read_csv(tmp_path / "predictions.csv")] == ["-1", "+1", "-1.5", "'-1-1"]


def test_very_many_scores_leave_the_csv_with_the_labels_own(tmp_path, monkeypatch):
    monkeypatch.setattr("models_app.recipes.tabular.prediction.answers.MOST_CSV_SCORES", 5)
    with Answers(tmp_path, ["a", "b"], 3) as answers:
        answers.add(np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]))
    assert read_csv(tmp_path / "predictions.csv")[0] == {"row": "1", "label": "b", "score": "0.75"}
    assert pq.read_schema(tmp_path / "predictions.parquet").names == ["row", "label", "score_a", "score_b"]


def test_a_batch_of_rows_stays_small_however_wide_the_table():
    network = {"width": 128, "outputs": 2}
    assert batch.batch_rows([Feature("a", "numeric")], network) > 8_000
    wide = [Feature(f"n{at}", "numeric") for at in range(2_000)]
    assert 64 <= batch.batch_rows(wide, network) <= 600
    assert batch.batch_rows(wide, {"width": 2048, "outputs": 100}) >= 64


def test_the_shapes_of_a_signature_are_those_of_its_network():
    for codes, layers in (([], 1), ([3, 260], 3)):
        net = TabularNet(numeric=5, codes=codes, outputs=4, layers=layers, width=8, dropout=0.1)
        assert tensor_shapes(net.shape) == {name: list(value.shape) for name, value in net.state_dict().items()}


def test_every_kind_of_the_canonical_file_is_read(tmp_path, models):
    schema = pq.read_schema(io.BytesIO(ingested(tmp_path, mixed_csv(40), None)))
    assert {field.metadata[KIND_KEY].decode() for field in schema} >= {"numeric", "categorical", "datetime", "boolean"}
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"size": [1.0]}), path)  # no kinds: not one of ours
    with pytest.raises(InputError, match="size"):
        batch.Rows(path, predict.load(models["tabular.classifier"], torch.device("cpu")))
