"""One raw cell, three ways: training, a batch over a later file, and an online request agree."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_app.batch import batch_reading
from models_app.measures.baseline import baseline
from models_app.recipes.tabular import table
from models_app.recipes.tabular.features import Feature, encode
from models_app.recipes.tabular.prediction import batch, predict
from models_app.recipes.tabular.prediction.block import Block
from models_app.runner_protocol import InputError
from models_app.serving.requests import protocol_v1, protocol_v2
from tests.unit.models_app.test_reading import reading
from tests.unit.models_app.test_recipes import trained

pytestmark = pytest.mark.xdist_group("three ways")

ROWS = 120
random.seed(11)


def cell(kind: str, at: int) -> str:
    """Return a raw cell: blanks, words for missing and slips among the column's values."""
    if at % 17 == 3:
        return ""
    return {
        "german": f"{1 + at % 40}.{at * 37 % 1000:03d},{at % 10}0" if at % 23 else "k.A.",
        "dollars": f"${at * 3}.50" if at % 29 else "-",
        "share": f" {at % 90} %",
        "day": f"{at % 28 + 1}.{at % 12 + 1}.2024 {at % 24}:05" if at % 31 else "n/a",
        "iso": f"2024-02-{at % 28 + 1:02d}",
        "flag": ("ja", "nein")[at % 2] if at % 2 else ("yes", "no")[at // 2 % 2],
        "yes": ("TRUE", "False")[at * 7 % 3 % 2],
        "code": f"{at % 4}" if at % 13 else "x1",
        "zip": f"0{1000 + at % 5}",
        "country": ("NA", "NE", "DE ", "\u00a0FR")[at % 4],
        "mood": ("fine", "?", "NA", "None", " bad ")[at * 3 % 5],
        "plain": f"{at * 0.37:.3f}",
    }[kind]


KINDS = ("german", "dollars", "share", "day", "iso", "flag", "yes", "code", "zip", "country", "mood", "plain")


def written(rows, names=(*KINDS, "label"), sign=";") -> str:
    out = io.StringIO(newline="")
    made = csv.DictWriter(out, names, delimiter=sign, extrasaction="ignore", lineterminator="\n")
    made.writeheader()
    made.writerows(rows)
    return out.getvalue()


@pytest.fixture(scope="module")
def raw() -> list[dict[str, str]]:
    rows = [{kind: cell(kind, at) for kind in KINDS} for at in range(ROWS)]
    return [{**row, "label": ("01", "02")[(at * 7 % 3) % 2]} for at, row in enumerate(rows)]


@pytest.fixture(scope="module")
def model(raw, tmp_path_factory) -> tuple[Path, predict.Predictor]:
    folder = tmp_path_factory.mktemp("model")
    reading(folder / "ingest", written(raw), "label")
    data = (folder / "ingest" / "out" / "data.parquet").read_bytes()
    trained(folder, data, "tabular.classifier", target="label", epochs=3)
    return folder, predict.load(folder / "out")


def by_batch(folder: Path, model: predict.Predictor, data: str | bytes) -> tuple[np.ndarray, batch.Rows]:
    reading(folder, data)
    rows = batch.Rows(folder / "out" / "data.parquet", model)
    return np.concatenate([model.outputs(encoded) for encoded in rows.batches()]), rows


def online(model: predict.Predictor, rows: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Send raw cells as text, by protocol 1 and by tensors of protocol 2."""
    names = [feature.name for feature in model.features]
    body = orjson.dumps({"instances": [{name: row[name] for name in names} for row in rows]})
    (first,) = model.intake.stack([protocol_v1.parse(body)])
    inputs = [
        {"name": name, "datatype": "BYTES", "shape": [len(rows)], "data": [row[name] for row in rows]} for name in names
    ]
    request = protocol_v2.parse(orjson.dumps({"inputs": inputs}), None, model.intake, ("label", "scores"))
    assert isinstance(first, Block), first
    return model.scores(first), model.scores(request.block)


def test_training_batch_and_both_protocols_answer_a_raw_cell_alike(raw, model, tmp_path):
    folder, predictor = model
    used = {feature.name: feature.kind for feature in predictor.features}
    assert used == {
        "german": "numeric", "dollars": "numeric", "share": "numeric", "day": "datetime", "iso": "datetime",
        "flag": "categorical", "yes": "boolean", "code": "categorical", "zip": "categorical", "country": "categorical",
        "mood": "categorical", "plain": "numeric",
    }  # fmt: skip
    data = table.read(folder / "in" / "data.parquet", target="label", task="classification", exclude=frozenset())
    held = predictor.outputs(encode(predictor.features, data.columns, data.rows))
    assert data.rows == ROWS
    scores, rows = by_batch(tmp_path, predictor, written(raw, KINDS))
    assert np.allclose(scores, held, atol=1e-6)
    assert not any(rows.odd.values()) and not any(rows.unknown.values())
    for answers in online(predictor, raw):
        assert np.allclose(answers, held, atol=1e-6)
    inside = predictor.predict([{name: row[name] for name in KINDS} for row in raw])
    assert np.allclose([list(one["scores"].values()) for one in inside], held, atol=1e-6)
    assert {one["label"] for one in inside} <= {"01", "02"}


@pytest.mark.parametrize("size", [1, 3, 10, 40])
def test_a_later_file_is_read_by_the_models_contract(raw, model, tmp_path, size):
    """Few rows: categories are missing, codes look like numbers, dates are ambiguous, a column may be empty."""
    _, predictor = model
    chosen = [row for row in raw if row["code"] not in ("x1", "")][:size]
    scores, _ = by_batch(tmp_path, predictor, written(chosen, ("note", *reversed(KINDS)), sign="\t"))
    for answers in online(predictor, chosen):
        assert np.allclose(scores, answers, atol=1e-6)


def test_malformed_cells_and_new_categories_of_a_later_file_are_reported(raw, model, tmp_path):
    _, predictor = model
    later = [dict(row) for row in raw]
    later[5]["plain"], later[6]["plain"], later[7]["country"] = "twelve", "13 apples", "XX"
    scores, rows = by_batch(tmp_path, predictor, written(later, KINDS))
    assert (rows.odd["plain"], rows.unknown["country"]) == (2, 1)
    later[5]["plain"] = later[6]["plain"] = ""
    for answers in online(predictor, later):
        assert np.allclose(scores, answers, atol=1e-6)


def test_codes_that_became_numbers_on_the_way_are_the_same_codes(raw, model, tmp_path):
    """Programs that read whole numbers beside a gap write them back with a point, and pad column names."""
    _, predictor = model
    later = [{**row, "code": f"{row['code']}.0" if row["code"].isdigit() else row["code"]} for row in raw]
    scores, rows = by_batch(tmp_path / "csv", predictor, written(later, KINDS).replace("plain", "\u00a0plain ", 1))
    expected, _ = by_batch(tmp_path / "same", predictor, written(raw, KINDS))
    assert np.allclose(scores, expected, atol=1e-6)
    assert not rows.unknown["code"]


def test_typed_files_and_text_files_are_read_by_models_of_the_other(tmp_path):
    rows = [{"n": str(at % 7), "c": str(at % 3), "w": "ab"[at % 2], "y": "pq"[at % 2]} for at in range(90)]
    rows[0]["c"] = "other"
    reading(tmp_path / "i", written(rows, ("n", "c", "w", "y"), ","), "y", c={"type": "categorical"})
    data = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    trained(tmp_path / "t", data, "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    out = io.BytesIO()
    typed = {
        "n": [float(row["n"]) for row in rows[1:]],
        "c": [int(row["c"]) for row in rows[1:]],
        "w": [row["w"] for row in rows[1:]],
    }
    pq.write_table(pa.table(typed), out)
    scores, _ = by_batch(tmp_path / "p", predictor, out.getvalue())
    expected, _ = by_batch(tmp_path / "c", predictor, written(rows[1:], ("n", "c", "w"), ","))
    assert np.allclose(scores, expected, atol=1e-6)
    pq.write_table(
        pa.table({**typed, "n": [row["n"] for row in rows[1:]], "c": [float(row["c"]) for row in rows[1:]]}),
        out := io.BytesIO(),
    )
    scores, _ = by_batch(tmp_path / "q", predictor, out.getvalue())
    assert np.allclose(scores, expected, atol=1e-6)


LABELS = (
    ("yes", "no"),
    ("TRUE", "False"),
    ("01", "1"),
    ("1.0", "0.0"),
    ("NA", "b"),
    ("Y", "N"),
    ("t", "f"),
    ("x", "X"),
)


@pytest.mark.parametrize("labels", LABELS, ids="-".join)
def test_labels_keep_their_spelling(tmp_path, labels):
    rows = [{"a": str(at % 7), "b": str(at % 5), "y": labels[at % 2]} for at in range(80)]
    result = reading(tmp_path / "i", written(rows, ("a", "b", "y"), ","), "y")
    assert result["rows"] == 80
    data = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    told = trained(tmp_path / "t", data, "tabular.classifier", target="y", epochs=1)
    signature = json.loads((tmp_path / "t" / "out" / "signature.json").read_text())
    assert signature["classes"] == sorted(labels)
    assert told["baseline"]["output"]["values"] == sorted(labels)
    answer = predict.load(tmp_path / "t" / "out").predict([{"a": "1", "b": "2"}])[0]
    assert set(answer["scores"]) == set(labels)
    assert answer["label"] in labels


def test_a_target_chosen_at_launch_keeps_classes_that_looked_like_missing_values(tmp_path):
    rows = [{"a": str(at % 7), "y": ("good", "fair", "NA")[at % 3], "z": "pq"[at % 2]} for at in range(90)]
    read = reading(tmp_path / "i", written(rows, ("a", "y", "z"), ","), "z")["read"]
    assert read["y"]["missing"] == {"NA": 30}
    path = tmp_path / "i" / "out" / "data.parquet"
    found = table.read(path, target="y", task="classification", exclude=frozenset())
    assert (found.target.classes, found.rows, found.dropped_rows) == (("NA", "fair", "good"), 90, 0)
    reading(tmp_path / "i", written(rows, ("a", "y", "z"), ","), "z", y={"missing": ["NA"]})
    found = table.read(path, target="y", task="classification", exclude=frozenset())
    assert (found.target.classes, found.rows, found.dropped_rows) == (("fair", "good"), 60, 30)


def test_whole_numbers_beyond_float_precision_are_left_out_with_the_reason(tmp_path):
    rows = [{"id": str(9 * 10**18 + at), "a": str(at % 7), "y": "pq"[at % 2]} for at in range(80)]
    reading(tmp_path / "i", written(rows, ("id", "a", "y"), ","), "y")
    told = trained(
        tmp_path / "t", (tmp_path / "i/out/data.parquet").read_bytes(), "tabular.classifier", target="y", epochs=1
    )
    assert told["ignored_columns"] == [
        {"name": "id", "reason": "whole numbers beyond 2^53, which no network can distinguish"}
    ]


def test_a_model_from_before_contracts_reads_as_it_did():
    feature = Feature.from_json(
        {"name": "a", "kind": "numeric", "mean": 1.0, "scale": 2.0, "indicator": False, "categories": []}
    )
    assert feature.contract is None
    assert "contract" not in feature.to_json()
    assert baseline({}, 0, classes=("a",), predicted=np.array([0]))["format"] == 1


def dated(at: int) -> dict[str, str]:
    """Return a row whose date alone shows that the day comes first."""
    return {"d": f"{at % 28 + 1:02d}/{at % 12 + 1:02d}/2024", "n": f"{at % 9}.5", "y": "pq"[at % 2]}


def test_how_a_person_chose_to_read_dates_holds_for_later_files_whatever_they_show(tmp_path):
    rows = [dated(at) for at in range(120)]
    reading(tmp_path / "i", written(rows, ("d", "n", "y"), ","), "y", d={"type": "datetime", "date": "mdy"})
    data = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    trained(tmp_path / "t", data, "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    found = table.read(tmp_path / "i/out/data.parquet", target="y", task="classification", exclude=frozenset())
    held = predictor.outputs(encode(predictor.features, found.columns, found.rows))
    scores, told = by_batch(tmp_path / "p", predictor, written(rows, ("d", "n"), ","))
    assert np.allclose(scores, held, atol=1e-6)
    assert told.otherwise == {}
    for answers in online(predictor, rows):
        assert np.allclose(answers, held, atol=1e-6)
    reading(tmp_path / "p", written(rows, ("d", "n"), ","), d={"date": "dmy"})
    again = batch.Rows(tmp_path / "p/out/data.parquet", predictor)
    other = np.concatenate([predictor.outputs(encoded) for encoded in again.batches()])
    assert not np.allclose(other, answers, atol=1e-6), "who chooses for the later file is heard"


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_later_file_may_use_other_unambiguous_notations(tmp_path, form):
    rows = [
        {"d": f"2024-{at % 12 + 1:02d}-{at % 28 + 1:02d}", "n": str(at * 1000.5), "y": "pq"[at % 2]} for at in range(90)
    ]
    reading(tmp_path / "i", written(rows, ("d", "n", "y"), ","), "y")
    data = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    trained(tmp_path / "t", data, "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    expected, same = by_batch(tmp_path / "same", predictor, written(rows, ("d", "n"), ","))
    later = [
        {"d": "{2}.{1}.{0}".format(*row["d"].split("-")), "n": f"{float(row['n']):,.1f}".translate({44: 46, 46: 44})}
        for row in rows
    ]
    file = written(later, ("d", "n")) if form == "csv" else "\n".join(map(json.dumps, later))
    scores, told = by_batch(tmp_path / "other", predictor, file)
    assert np.allclose(scores, expected, atol=1e-6)
    assert (told.otherwise, same.otherwise) == ({"d": "dmy", "n": "1.234,5"}, {})


def test_ambiguous_cells_are_read_as_in_training_and_reported(tmp_path):
    rows = [{"n": str(1000 + 37 * at), "c": "uvw"[at % 3], "y": "pq"[at % 2]} for at in range(90)]
    data = "\n".join(json.dumps({**row, "n": int(row["n"])}) for row in rows)
    reading(tmp_path / "i", data, "y")
    parquet = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    trained(tmp_path / "t", parquet, "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    expected, _ = by_batch(tmp_path / "same", predictor, data)
    later = [{**row, "n": f"{row['n'][:-3]}.{row['n'][-3:]}"} for row in rows]
    scores, told = by_batch(tmp_path / "other", predictor, written(later, ("n", "c")))
    assert told.doubted == {"n": "1234.5"}
    for answers in online(predictor, later):
        assert np.allclose(scores, answers, atol=1e-6)
    reading(tmp_path / "other", written(later, ("n", "c")), n={"number": "1.234,5"})
    again = batch.Rows(tmp_path / "other/out/data.parquet", predictor)
    assert np.allclose(np.concatenate([predictor.outputs(one) for one in again.batches()]), expected, atol=1e-6)
    assert again.doubted == {}


@pytest.mark.parametrize("sign", [";", "\t", ","], ids=["semicolon", "tab", "comma"])
def test_ambiguous_thousands_are_read_as_in_training(tmp_path, sign):
    rows = [{"n": f"{1 + at % 9}.{at * 37 % 1000:03d},5", "y": "pq"[at % 2]} for at in range(90)]
    reading(tmp_path / "i", written(rows, ("n", "y")), "y")
    parquet = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    trained(tmp_path / "t", parquet, "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    whole = [{"n": row["n"].removesuffix(",5"), "z": "a"} for row in rows]
    both = [{**row, "n": row["n"].replace(".", ",") if at % 2 else row["n"]} for at, row in enumerate(whole)]
    for later in (whole, both):
        scores, told = by_batch(tmp_path / "later", predictor, written(later, ("n", "z"), sign))
        for answers in online(predictor, later):
            assert np.allclose(scores, answers, atol=1e-6)
        assert told.doubted == ({} if sign == ";" else {"n": "1.234,5"})


def test_other_columns_decide_a_notation_only_in_a_file_unlike_the_training_data(tmp_path):
    rows = [
        {
            "n": f"{1 + at % 9},{at * 37 % 1000:03d}.5", "m": f"{at % 7},5", "d": f"{at % 12 + 1:02d}/{at % 28 + 1:02d}/2024",
            "e": f"{at % 28 + 1}.{at % 12 + 1}.2024", "y": "pq"[at % 2],
        }
        for at in range(90)
    ]  # fmt: skip
    reading(tmp_path / "i", written(rows, ("n", "m", "d", "e", "y")), "y")
    parquet = (tmp_path / "i" / "out" / "data.parquet").read_bytes()
    trained(tmp_path / "t", parquet, "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    later = [{**row, "n": row["n"].removesuffix(".5"), "d": f"0{at % 9 + 1}/05/2024"} for at, row in enumerate(rows)]
    scores, told = by_batch(tmp_path / "later", predictor, written(later, ("n", "m", "d", "e")))
    for answers in online(predictor, later):
        assert np.allclose(scores, answers, atol=1e-6)
    assert (told.otherwise, told.doubted) == ({}, {"n": "1,234.5", "d": "mdy"})
    other = [{**row, "m": row["m"].replace(",", ".")} for row in later]
    _, told = by_batch(tmp_path / "other", predictor, written(other, ("n", "m", "d", "e")))
    assert "n" not in told.doubted, "here another column shows that decimals are written otherwise"


def test_the_report_of_a_batch_names_only_columns_of_the_model():
    result = {
        "taken_as_missing": {"a": 2, "x": 1, "b": -1}, "unknown_categories": {"b": 1}, "empty_columns": ["c", "y"],
        "read_as_written": {"a": "dmy", "b": "odd"}, "read_as_trained": {"c": "1,234.5", "z": "dmy"},
    }  # fmt: skip
    said = batch_reading.notes(result, {"inputs": [{"name": name} for name in "abc"]})
    assert said == [
        "Column a: 2 cells are not of the model's type and read as missing.",
        "Column a: dates are written day first, unlike in training, and were read that way.",
        "Column b: 1 cell is in a category that is not in the training data.",
        "Column c can be read in two ways, and was read as in training: numbers as 1,234.5. If that is wrong, choose how it is written on the dataset's page.",
        "Without any value, read as missing: c.",
    ]
    assert batch_reading.notes({"taken_as_missing": ["a"], "empty_columns": None}, {}) == []
    many = {"taken_as_missing": {f"n{at}": 1 for at in range(30)}}
    assert batch_reading.notes(many, {"inputs": [{"name": f"n{at}"} for at in range(30)]})[-1].startswith("And 10 more")


def test_a_column_of_mostly_malformed_cells_is_read_cell_by_cell(raw, model, tmp_path):
    _, predictor = model
    later = [{**row, "plain": row["plain"] if at % 10 == 0 else f"about {row['plain']}"} for at, row in enumerate(raw)]
    scores, told = by_batch(tmp_path, predictor, written(later, KINDS))
    assert told.odd["plain"] == sum(at % 10 > 0 for at in range(ROWS))
    for row in later:
        row["plain"] = "" if row["plain"].startswith("about") else row["plain"]
    for answers in online(predictor, later):
        assert np.allclose(scores, answers, atol=1e-6)
    with pytest.raises(InputError, match="another kind"):
        by_batch(tmp_path, predictor, written([{**row, "plain": "about so"} for row in raw], KINDS))
