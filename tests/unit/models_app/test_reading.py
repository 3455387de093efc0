"""Files as people bring them: the type of each column, its evidence, and its missing values."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_app.runner_protocol import Context, InputError, Reporter
from models_app.tables.columns import cells, dates
from models_app.tables.columns.contract import DATES, NUMBERS, Contract
from models_app.tables.columns.convert import convert
from models_app.tables.reader import ingest

LETTER = ("a", "b")


def reading(folder: Path, data: bytes | str, target: str | None = None, *, writing=None, **choices) -> dict:
    """Return the ingest's result; `columns` of its reading by name."""
    (folder / "in").mkdir(exist_ok=True, parents=True)
    (folder / "in" / "source").write_bytes(data if isinstance(data, bytes) else data.encode())
    job = {"inputs": {"target": target, "choices": choices, "writing": writing or {}}}
    ingest.run(Context(workdir=folder, job=job, report=Reporter(io.StringIO()), stopping=lambda: False))
    result = json.loads((folder / "out" / "result.json").read_text())
    kinds = {one["name"]: one["kind"] for one in result["columns"]}
    result["read"] = {one["name"]: {**one, "kind": kinds[one["name"]]} for one in result["reading"]["columns"]}
    return result


def table(*columns: tuple[str, list], sign: str = ",") -> str:
    """Return a CSV of columns."""
    rows = [sign.join(name for name, _ in columns)]
    rows += [sign.join(map(str, row)) for row in zip(*(values for _, values in columns), strict=True)]
    return "\n".join(rows) + "\n"


def values(folder: Path, name: str) -> list:
    return pq.read_table(folder / "out" / "data.parquet").column(name).to_pylist()


X = ("x", [at % 9 for at in range(60)])
Y = ("y", [LETTER[at % 2] for at in range(60)])


@pytest.mark.parametrize(
    ("words", "kind", "first"),
    [
        (["1.000,00", "1.003,50"], "numeric", [1000.0, 1003.5]),
        (["1'234.50", "999.25"], "numeric", [1234.5, 999.25]),
        (["1’234", "5’678’901"], "numeric", [1234, 5678901]),
        (["1 234,5", "12\u00a0345,0"], "numeric", [1234.5, 12345.0]),
        (["1\u202f234,5", "3,25"], "numeric", [1234.5, 3.25]),
        (["$1,234.50", "$ 99"], "numeric", [1234.5, 99]),
        (["1.234,50 €", "-3,00 €"], "numeric", [1234.5, -3.0]),
        (["EUR 5", "EUR 7.5"], "numeric", [5, 7.5]),
        (["12 %", "7.5%"], "numeric", [12, 7.5]),
        (["(5.20)", "3.10"], "numeric", [-5.2, 3.1]),
        (["−4", "3"], "numeric", [-4, 3]),
        (["+5", "-3"], "numeric", [5, -3]),
        (["3_750", "4_000"], "categorical", ["3_750", "4_000"]),
        (["007", "042"], "categorical", ["007", "042"]),
        (["01234", "99999"], "categorical", ["01234", "99999"]),
        (["2012/01/01", "2012/02/13"], "datetime", [1325376000, 1329091200]),
        (["03/14/2024", "01/02/2024"], "datetime", [1710374400, 1704153600]),
        (["14/03/2024", "01/02/2024"], "datetime", [1710374400, 1706745600]),
        (["31.12.2025 14:00", "01.02.2025 08:30"], "datetime", [1767189600, 1738398600]),
        (["2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00Z"], "datetime", [1704096000, 1704103200]),
        (["3/14/2024 1:05 PM", "3/14/2024 12:00 am"], "datetime", [1710421500, 1710374400]),
        (["Jun 12 1998", "Mar 3 2001"], "datetime", [897609600, 983577600]),
        (["14-Mar-2024", "01-Feb-2024"], "datetime", [1710374400, 1706745600]),
        (["yes", "no"], "boolean", [True, False]),
        (["TRUE", "False"], "boolean", [True, False]),
        (["yes", "Yes"], "categorical", ["yes", "Yes"]),
        (["0.5", "1."], "numeric", [0.5, 1.0]),
        (["1e3", "2.5E-1"], "numeric", [1000.0, 0.25]),
    ],
)
def test_numbers_dates_and_codes_as_people_write_them(tmp_path, words, kind, first):
    found = reading(tmp_path, table(("v", [words[at % 2] for at in range(60)]), X, sign=";"))
    assert found["read"]["v"]["kind"] == kind
    kept = values(tmp_path, "v")[:2]
    if kind == "datetime":
        kept = [int(moment.timestamp()) for moment in (one.replace(tzinfo=__import__("datetime").UTC) for one in kept)]
    assert kept == first


def test_german_thousands_are_inferred_from_other_cells(tmp_path):
    price = [f"{(1000 + 37 * at) // 1000}.{(1000 + 37 * at) % 1000:03d}" for at in range(60)]
    amount = [f"1.{at:03d},50" for at in range(60)]
    found = reading(tmp_path, table(("Preis", price), ("Betrag", amount), X, sign=";"))["read"]
    assert (found["Preis"]["inferred"]["number"], found["Preis"]["ambiguous"]) == ("1.234,5", "")
    assert values(tmp_path, "Preis")[:2] == [1000, 1037]
    alone = reading(tmp_path, table(("Preis", price), X, sign=";"))["read"]["Preis"]
    assert "two ways" in alone["ambiguous"]
    plain = reading(tmp_path, table(("Preis", price), X))["read"]["Preis"]
    assert (plain["inferred"]["number"], plain["ambiguous"]) == ("1234.5", "")
    chosen = reading(tmp_path, table(("Preis", price), X), Preis={"number": "1.234,5"})["read"]["Preis"]
    assert (chosen["ambiguous"], values(tmp_path, "Preis")[1]) == ("", 1037)


def test_an_ambiguous_order_of_day_and_month_is_left_to_the_user(tmp_path):
    days = [f"{at % 12 + 1:02d}/{at % 12 + 1:02d}/2024" if at % 2 else f"0{at % 9 + 1}/05/2024" for at in range(60)]
    data = table(("d", days), X)
    assert "the day or the month comes first" in reading(tmp_path, data)["read"]["d"]["ambiguous"]
    first = values(tmp_path, "d")[0]
    chosen = reading(tmp_path, data, d={"date": "dmy"})["read"]["d"]
    assert chosen["ambiguous"] == ""
    assert (first.month, first.day) == (values(tmp_path, "d")[0].day, values(tmp_path, "d")[0].month)
    notes = table(("d", days), ("e", ["25/12/2024"] * 60), X)
    assert reading(tmp_path, notes)["read"]["d"]["inferred"]["date"] == "dmy", "another column tells"


@pytest.mark.parametrize(
    ("words", "evidence"),
    [
        ({7: "-"}, "59 of 60 values are numbers; '-' in row 8 is taken as missing."),
        ({11: "-", 39: "-"}, "58 of 60 values are numbers; '-' in rows 12, 40 are taken as missing."),
        (
            {3: "n/a", 5: "unknown"},
            "58 of 60 values are numbers; 'unknown' in row 6, 'n/a' in row 4 are taken as missing.",
        ),
        ({9: "12a"}, "59 of 60 values are numbers; '12a' in row 10 is taken as missing."),
    ],
)
def test_a_few_malformed_cells_keep_a_column_numeric_and_are_listed(tmp_path, words, evidence):
    found = reading(tmp_path, table(("a", [words.get(at, at * 1.5) for at in range(60)]), X, Y), "y")
    assert (found["read"]["a"]["kind"], found["read"]["a"]["evidence"]) == ("numeric", evidence)
    assert found["read"]["a"]["missing"] == dict.fromkeys(sorted(set(words.values())), 1) | (
        {"-": 2} if len(words) == 2 and "-" in words.values() else {}
    )
    assert any(evidence in warning for warning in found["warnings"])
    as_words = reading(
        tmp_path, table(("a", [words.get(at, at * 1.5) for at in range(60)]), X, Y), "y", a={"type": "text"}
    )
    assert as_words["read"]["a"]["kind"] == "text"


@pytest.mark.parametrize(
    "words",
    [["NA", "NE", "NC", "DE"], ["Na", "Mg", "Al", "Si"], ["None", "Low", "High"], ["+", "-"], ["EMEA", "APAC", "NA"], ["3", "4", "6", "rotary"], ["null", "Smith", "Jones"][1:]],
    ids="-".join,
)  # fmt: skip
@pytest.mark.parametrize("target", ["v", "x"])
def test_a_word_that_may_be_a_category_is_one(tmp_path, words, target):
    found = reading(tmp_path, table(("v", [words[at % len(words)] for at in range(60)]), X), target)["read"]["v"]
    assert (found["kind"], found["missing"]) == ("categorical", {})
    assert set(values(tmp_path, "v")) == set(words)


@pytest.mark.parametrize("word", ["NA", "n/a", "?", "null", "nan", "#N/A"])
def test_words_for_missing_are_taken_by_evidence_counted_and_can_be_changed(tmp_path, word):
    data = table(("v", [word if at % 10 == 0 else ("red", "green")[at % 2] for at in range(60)]), X, Y)
    found = reading(tmp_path, data, "y")["read"]["v"]
    assert (found["kind"], found["missing"]) == ("categorical", {word: 6})
    kept = reading(tmp_path, data, "y", v={"missing": []})["read"]["v"]
    assert kept["missing"] == {}
    assert word in values(tmp_path, "v")
    more = reading(tmp_path, data, "y", v={"missing": ["red", word]})["read"]["v"]
    assert more["missing"] == {word: 6, "red": values(tmp_path, "v").count(None) - 6}


@pytest.mark.parametrize("word", ["NA", "n/a", "?", "null", "-", "None"])
def test_a_class_of_the_target_is_never_dropped(tmp_path, word):
    data = table(("v", [word if at % 2 else ("red", "green")[at % 4 // 2] for at in range(60)]), X)
    found = reading(tmp_path, data, "v")
    assert found["read"]["v"]["missing"] == {}
    assert values(tmp_path, "v").count(word) == 30
    gaps = reading(tmp_path, data.replace(word, ""), "v")
    assert gaps["read"]["v"]["missing"] == {"": 30}
    assert any("has no value in 30 rows" in warning for warning in gaps["warnings"])


def test_a_format_with_types_of_its_own_is_read_as_stored(tmp_path):
    out = io.BytesIO()
    words = ["NA", "None", " padded ", "", "-", "2024-01-01", "12"]
    pq.write_table(
        pa.table({"v": [words[at % 7] for at in range(70)], "n": list(range(70)), "y": ["NA", "b"] * 35}), out
    )
    found = reading(tmp_path, out.getvalue(), "y")["read"]
    assert (found["v"]["kind"], found["v"]["missing"]) == ("categorical", {})
    assert set(values(tmp_path, "v")) == set(words)
    assert values(tmp_path, "y").count("NA") == 35
    chosen = reading(tmp_path, out.getvalue(), "y", v={"missing": ["NA", ""]}, n={"missing": ["5"]})["read"]
    assert chosen["v"]["missing"] == {"NA": 10, "": 10}
    assert values(tmp_path, "n").count(None) == 1


@pytest.mark.parametrize("first", [9_000_000_000_000_000_000, 2**63 - 60, 18_000_000_000_000_000_000, 10**30])
def test_whole_numbers_stay_exact_however_long(tmp_path, first):
    ids = [first + at for at in range(60)]
    found = reading(tmp_path, table(("id", ids), X, Y), "y")
    assert [int(one) for one in values(tmp_path, "id")] == ids
    assert next(one for one in found["columns"] if one["name"] == "id")["distinct"] == 60
    assert not any("same value" in warning for warning in found["warnings"])
    if first < 2**64 - 60:
        out = io.BytesIO()
        pq.write_table(pa.table({"id": pa.array(ids, pa.uint64()), "y": list(Y[1])}), out)
        reading(tmp_path, out.getvalue(), "y")
        assert [int(one) for one in values(tmp_path, "id")] == ids


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_every_encoding_of_parquet_is_read(tmp_path, encoding):
    out = io.BytesIO()
    words = [f"word {at % 20}" for at in range(500)]
    pq.write_table(
        pa.table({"s": words, "n": list(range(500))}), out, use_dictionary=False, column_encoding={"s": encoding}
    )
    assert reading(tmp_path, out.getvalue())["read"]["s"]["kind"] == "categorical"
    assert values(tmp_path, "s") == words


def test_a_choice_that_the_data_cannot_be_is_refused(tmp_path):
    with pytest.raises(InputError, match="No value of column 'y' can be read as numeric") as refused:
        reading(tmp_path, table(X, Y), y={"type": "numeric"})
    assert refused.value.code == "column_unfit"
    found = reading(tmp_path, table(X, Y), x={"type": "categorical", "role": "identifier"})
    assert found["read"]["x"]["kind"] == "categorical"
    assert values(tmp_path, "x")[:3] == ["0", "1", "2"]


WORDS = ["1", "1.5", "-3", "+4", "1.234,5", "1,234.5", "1'234", "1 234,5", "5 €", "$5", "12 %", "(3)", "007", "1e3", "3_750", "x", "", "NA", " 7 ", "１２", "2024-01-01",
         "2024-02-30", "01/02/2024", "13/02/2024", "2024-01-01T10:00:00+02:00", "1.2.24 3:04 pm", "yes", "NO", "0", "-0", "9" * 19]  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("kind", ["numeric", "boolean", "datetime", "categorical"])
def test_a_column_is_cleaned_as_each_of_its_cells_is(number, kind):
    for date in DATES:
        contract = Contract(kind, number=number, date=date, missing=("x",))
        found, odd = convert(pa.array(WORDS), contract)
        expected, refused = [], 0
        for word in WORDS:
            try:
                value = cells.clean(word, contract)
            except (cells.Odd, OverflowError):
                value, refused = None, refused + 1
            if kind == "numeric" and value is not None:
                try:
                    value = float(value)
                except OverflowError:
                    value, refused = None, refused + 1
            expected.append(value)
        plain = found.cast(pa.int64()).to_pylist() if kind == "datetime" else found.to_pylist()
        assert [one / 1e6 if kind == "datetime" and one is not None else one for one in plain] == expected
        assert odd == refused


@pytest.mark.parametrize(
    ("label", "classes", "found"),
    [
        ("yes", ["no", "yes"], "yes"), (" yes ", ["no", "yes"], "yes"), (True, ["no", "yes"], "yes"), ("yes", ["false", "true"], "true"),
        (False, ["False", "TRUE"], "False"), ("true", ["False", "TRUE"], "TRUE"), (1, ["0.0", "1.0"], "1.0"), ("1", ["01", "1"], "1"),
        ("01", ["01", "1"], "01"), (1.0, ["0", "1"], "1"), ("x", ["X", "x"], "x"), ("maybe", ["no", "yes"], None), ("", ["a", "b"], None),
    ],
)  # fmt: skip
def test_a_label_that_comes_back_is_the_class_that_it_names(label, classes, found):
    assert cells.spelled(label, classes) == found


def test_moments_have_the_days_that_there_are():
    assert dates.moment("0000-01-01", "ymd") == -62167219200 * 10**6
    assert (
        dates.moment("2023-02-29", "ymd") is dates.moment("2024-13-01", "ymd") is dates.moment("25:00", "ymd") is None
    )
