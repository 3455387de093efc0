"""Words for missing, booleans and long ids mean the same in training, batch and online, in any spelling."""

from __future__ import annotations

import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_app.recipes.tabular import table
from models_app.recipes.tabular.features import UNKNOWN, Codes, Feature, encode
from models_app.recipes.tabular.prediction import predict
from models_app.recipes.tabular.prediction.request_values import BadInstance
from models_app.tables.columns import cells, dates
from models_app.tables.columns.contract import Contract
from tests.unit.models_app.test_reading import reading, values
from tests.unit.models_app.test_recipes import trained
from tests.unit.models_app.test_three_ways import by_batch, online, written

FLAGS = ("true", "false", "", "5")


@pytest.mark.parametrize(
    ("word", "spelled"), [("-999", "-999.0"), ("0", "0.0"), ("0.0", "0"), ("0", "-0.0"), ("1000", "1e3")]
)
def test_a_number_for_missing_is_missing_however_it_is_spelled_and_a_flag_is_yes_or_no(tmp_path, word, spelled):
    rows = [{"n": str(at % 7 + 1), "f": FLAGS[at % 3], "y": "pq"[at % 2]} for at in range(90)]
    for at in range(0, 90, 5):
        rows[at]["n"] = (word, spelled, f" {spelled} ")[at % 3]
    reading(tmp_path / "i", written(rows, ("n", "f", "y"), ","), "y", n={"missing": [word]}, f={"type": "boolean"})
    assert (np.array(values(tmp_path / "i", "n")) == None).sum() == 18  # noqa: E711 -- cell by cell
    trained(tmp_path / "t", (tmp_path / "i/out/data.parquet").read_bytes(), "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    assert {one.name: one.kind for one in predictor.features} == {"n": "numeric", "f": "boolean"}
    data = table.read(tmp_path / "t/in/data.parquet", target="y", task="classification", exclude=frozenset())
    held = predictor.outputs(encode(predictor.features, data.columns, data.rows))
    scores, _ = by_batch(tmp_path / "p", predictor, written(rows, ("n", "f"), ","))
    numbers = [[float(row["n"]), {"true": 1, "false": 0}.get(row["f"], math.nan)] for row in rows]
    plain = [[n, None if math.isnan(f) else f] for n, f in numbers]
    for answers in (scores, *online(predictor, rows), predictor.scores(predictor.intake.one(plain))):
        assert np.allclose(answers, held, atol=1e-6)
    assert np.allclose(predictor.scores(predictor.intake.matrix(np.array(numbers))), held, atol=1e-6)
    assert predictor.intake.stack([[[1, True], [2, 0.0], [3, None]]])[0].rows == 3
    refused = [predictor.intake.one([[1, 1], [n, 5]]) for n in (2, "2")]
    for take in (
        lambda: predictor.intake.matrix(np.array([[1.0, 1.0], [2.0, 5.0]])),
        lambda: predictor.intake.columns({"n": [1, 2], "f": np.array([1, 5])}, 2),
    ):
        with pytest.raises(BadInstance) as error:
            take()
        refused.append(error.value)
    for one in refused:
        assert isinstance(one, BadInstance)
        assert (one.row, one.column) == (1, "f")
        assert "takes yes or no (true, false, 1, 0 or null), not 5" in str(one)
    _, batched = by_batch(tmp_path / "q", predictor, "n,f\n1,5\n2,5\n3,1\n4,0\n")
    assert batched.odd["f"] == 2


@pytest.mark.parametrize(
    ("cells_of", "word"),
    [(("2024-01-05", "1900-01-01", "2024-03-07", "1900-01-01 00:00"), "1900-01-01"),
     (("05.01.2024", "31.12.9999", "17.03.2024", "31.12.9999 00:00:00"), "31.12.9999")],
)  # fmt: skip
def test_a_date_for_missing_is_missing_however_it_is_spelled(tmp_path, cells_of, word):
    rows = [{"d": cells_of[at % 4], "n": str(at % 7), "y": "pq"[at % 2]} for at in range(84)]
    reading(tmp_path / "i", written(rows, ("d", "n", "y"), ","), "y", d={"missing": [word]})
    known = [value for value in values(tmp_path / "i", "d") if value is not None]
    assert (len(known), {value.year for value in known}) == (42, {2024})
    trained(tmp_path / "t", (tmp_path / "i/out/data.parquet").read_bytes(), "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    data = table.read(tmp_path / "t/in/data.parquet", target="y", task="classification", exclude=frozenset())
    held = predictor.outputs(encode(predictor.features, data.columns, data.rows))
    scores, _ = by_batch(tmp_path / "p", predictor, written(rows, ("d", "n"), ","))
    times = [dates.moment(row["d"], "dmy" if "." in word else "ymd") for row in rows]
    typed = {"d": pa.array(times, pa.timestamp("us")), "n": [int(row["n"]) for row in rows]}
    pq.write_table(pa.table(typed), out := io.BytesIO())
    of_types, _ = by_batch(tmp_path / "q", predictor, out.getvalue())
    seconds = predictor.intake.one([[time / 1e6, int(row["n"])] for time, row in zip(times, rows, strict=True)])
    for answers in (scores, of_types, *online(predictor, rows), predictor.scores(seconds)):
        assert np.allclose(answers, held, atol=1e-6)
    pq.write_table(pa.table({**typed, "y": [row["y"] for row in rows]}), out := io.BytesIO())
    reading(tmp_path / "r", out.getvalue(), "y", d={"missing": ["1900-01-01", "9999-12-31"]})
    assert [value for value in values(tmp_path / "r", "d") if value is not None] == known


@pytest.mark.parametrize("word", ["0", "-1"])
def test_a_number_for_missing_among_yes_and_no_is_no_false(tmp_path, word):
    rows = [{"f": ("yes", "no", word, "yes")[at % 4], "n": str(at % 7), "y": "pq"[at % 2]} for at in range(84)]
    reading(tmp_path / "i", written(rows, ("f", "n", "y"), ","), "y", f={"type": "boolean", "missing": [word]})
    assert values(tmp_path / "i", "f")[:4] == [True, False, None, True]
    trained(tmp_path / "t", (tmp_path / "i/out/data.parquet").read_bytes(), "tabular.classifier", target="y", epochs=2)
    predictor = predict.load(tmp_path / "t" / "out")
    data = table.read(tmp_path / "t/in/data.parquet", target="y", task="classification", exclude=frozenset())
    held = predictor.outputs(encode(predictor.features, data.columns, data.rows))
    scores, batched = by_batch(tmp_path / "p", predictor, written(rows, ("f", "n"), ","))
    assert not batched.odd["f"]
    typed = [[{"yes": True, "no": False, word: int(word)}[row["f"]], int(row["n"])] for row in rows]
    stacked = predictor.scores(predictor.intake.stack([typed])[0])
    inside = [list(one["scores"].values()) for one in predictor.predict(typed)]
    for answers in (scores, *online(predictor, rows), stacked, inside):
        assert np.allclose(answers, held, atol=1e-6)
    few = [row for row in rows if row["f"] == "no"]
    flags = {"f": np.array([False] * len(few)), "n": [int(row["n"]) for row in few]}
    notes = predictor.scores(predictor.intake.columns(flags, len(few)))
    assert np.allclose(notes, online(predictor, few)[0], atol=1e-6)
    pq.write_table(pa.table({"f": [False] * len(few), "n": flags["n"]}), out := io.BytesIO())
    assert np.allclose(by_batch(tmp_path / "q", predictor, out.getvalue())[0], notes, atol=1e-6)
    if word == "0":
        gone = [row for row in rows if row["f"] == word]
        expected = online(predictor, gone)[0]
        pq.write_table(pa.table({"f": [0] * len(gone), "n": [int(row["n"]) for row in gone]}), out := io.BytesIO())
        for at, later in enumerate((out.getvalue(), written(gone, ("f", "n"), ","))):
            assert np.allclose(by_batch(tmp_path / f"r{at}", predictor, later)[0], expected, atol=1e-6)


def test_a_signed_zero_means_false(tmp_path):
    pq.write_table(pa.table({"f": [-0.0, 1.0, 0.0, None] * 20, "y": ["p", "q"] * 40}), out := io.BytesIO())
    reading(tmp_path, out.getvalue(), "y", f={"type": "boolean"})
    assert values(tmp_path, "f")[:4] == [False, True, False, None]


def test_long_ids_are_compared_digit_by_digit():
    known = ("1234567890123456789", "1e2", "7", "1e999999999999999999999")
    codes = Codes(Feature("id", "categorical", categories=known, contract=Contract("categorical")))
    assert codes.of("1234567890123456789.0") == codes.of(known[0]) != UNKNOWN
    assert (codes.of("100.00"), codes.of("7.")) == (codes.of("1e2"), codes.of("7"))
    assert codes.of("1234567890123456788") == codes.of("1e888888888888888888888") == UNKNOWN
    assert cells.spelled(1234567890123456788, known) is None
    assert cells.spelled("1234567890123456789.0", known) == known[0]
