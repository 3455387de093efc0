"""Formats of text files: padded quotation marks, comments, no header, another format; and a person's choices."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from models_app.runner_protocol import Context, InputError, Reporter
from models_app.tables import writing
from models_app.tables.reader import ingest
from tests.support.workbooks import workbook
from tests.unit.models_app.test_reading import LETTER, X, Y, reading, table, values


def written(folder: Path, data: bytes, target: str | None = None, **chosen: str) -> dict:
    """Return the ingestion result of a file with a person's choices."""
    (folder / "in").mkdir(exist_ok=True, parents=True)
    (folder / "in" / "source").write_bytes(data)
    job = {"inputs": {"target": target, "writing": chosen}}
    ingest.run(Context(workdir=folder, job=job, report=Reporter(io.StringIO()), stopping=lambda: False))
    return json.loads((folder / "out" / "result.json").read_text())


def test_quotation_marks_after_blanks_hold_values_together(tmp_path):
    medals = ('"GOLD"', '"SILVER, shared"', '"he said ""so"", twice"')
    rows = [f'"N{at}",   {medals[at % 3]}  ,  "{at}", 2012' for at in range(60)]
    result = reading(tmp_path, 'Name,   "Medal",  Time, Year\n' + "\n".join(rows))
    assert [one["name"] for one in result["columns"]] == ["Name", "Medal", "Time", "Year"]
    assert values(tmp_path, "Medal")[:3] == ["GOLD", "SILVER, shared", 'he said "so", twice']
    assert values(tmp_path, "Time")[:3] == [0, 1, 2]


def test_blanks_inside_marks_and_marks_that_do_not_pair_stay_as_they_are(tmp_path):
    rows = [f'"a, ""{at % 3}"" b",{at}' for at in range(60)]
    reading(tmp_path, "t,n\n" + "\n".join(rows))
    assert values(tmp_path, "t")[:2] == ['a, "0" b', 'a, "1" b']
    result = reading(tmp_path, "t,n,y\n" + "\n".join(f'5, "{at},{LETTER[at % 2]}' for at in range(61)))
    assert values(tmp_path, "n")[0] == '"0'
    assert result["rows"] == 61
    result = reading(tmp_path, "t,n,y\n" + "\n".join(f'5, "{at},{LETTER[at % 2]}' for at in range(60)))
    assert (result["rows"], values(tmp_path, "n")[0]) == (60, '"0')


@pytest.mark.parametrize(
    "first",
    ["p,x,s,n,t", "A11,6,A34,n,1", "vhigh,2,no,no,t"],
    ids=["words", "words and numbers", "twice"],
)
def test_a_file_without_names_is_refused_for_that(tmp_path, first):
    cells = first.split(",")
    rows = [",".join([*cells[:4], cells[4] if at % 2 else "other"]) for at in range(60)]
    with pytest.raises(InputError) as refused:
        reading(tmp_path, "\n".join([first, *rows]))
    assert refused.value.code == "no_header"
    assert "holds values like those below" in str(refused.value)


def test_a_column_may_hold_its_own_name(tmp_path):
    result = reading(
        tmp_path, table(("x", ["x", "o"] * 30), ("n", list(range(60))), ("y", ["y", "n"] * 30), ("z", ["1"] * 60))
    )
    assert [one["name"] for one in result["columns"]] == ["x", "n", "y", "z"]


def test_numbers_name_the_columns_of_a_table_with_names_of_rows(tmp_path):
    goals = '"","0","1","2"\n' + "\n".join(f'"{at}",{at % 3},{at % 5},{at % 2}' for at in range(40))
    result = reading(tmp_path, goals)
    assert [one["name"] for one in result["columns"]] == ["index", "0", "1", "2"]


def test_comments_among_the_rows_are_skipped_and_reported(tmp_path):
    lines = table(X, Y).splitlines()
    lines[1:1] = ["## low values ##"]
    lines[20:20] = ["# checked by hand"]
    result = reading(tmp_path, "\n".join(lines) + "\n")
    assert result["rows"] == 60
    assert "2 lines among the rows begin with # and were left out." in result["warnings"]
    result = reading(tmp_path, table(("c", ["#FFF", "#000"] * 30), Y))
    assert values(tmp_path, "c")[:2] == ["#FFF", "#000"]
    with pytest.raises(InputError, match="Row 2 has 1 values"):
        reading(tmp_path, "a,b\n1,2\nno comment\n" + "1,2\n" * 60)


@pytest.mark.parametrize(
    ("header", "again"), [("city,v,goal", "city,v,goal"), ("city, v ,goal", "city,v,goal"), (",v,goal", ",v,goal")]
)
def test_joined_files_are_read_without_the_headers_between_them(tmp_path, header, again):
    rows = [f"C{at % 7},{at},{LETTER[at % 2]}" for at in range(60)]
    result = reading(tmp_path, "\n".join([header, *rows[:20], again, *rows[20:40], again, *rows[40:]]) + "\n")
    assert (result["rows"], [one["kind"] for one in result["columns"]]) == (
        60,
        ["categorical", "numeric", "categorical"],
    )
    assert values(tmp_path, "v") == list(range(60))
    assert set(values(tmp_path, "goal")) == {*LETTER[:2]}
    assert "2 lines among the rows name the columns again and were left out." in result["warnings"]


@pytest.mark.parametrize("head", ["@relation iris\n", "% source\n% more\n\n@RELATION 'iris'\n"])
def test_an_arff_file_is_refused_by_its_name(tmp_path, head):
    with pytest.raises(InputError) as refused:
        reading(tmp_path, head + "@attribute a real\n@data\n1,2\n")
    assert (refused.value.code, "ARFF" in str(refused.value)) == ("refused_format", True)


def test_dates_as_text_in_a_workbook_are_dates_as_in_json(tmp_path):
    rows = [["day", "word", "n"]] + [[f"2024-02-{at % 28 + 1:02d}", f"1/{at % 9 + 1}/2024", at] for at in range(60)]
    read = reading(tmp_path, workbook(rows))["read"]
    assert (read["day"]["kind"], read["word"]["kind"]) == ("datetime", "categorical")


def test_empty_cells_of_stored_text_are_counted(tmp_path):
    lines = [json.dumps({"w": LETTER[at % 2] if at % 6 else None, "n": at}) for at in range(60)]
    assert reading(tmp_path, "\n".join(lines))["read"]["w"]["missing"] == {"": 10}


NAMES = "Имя,год,y\n" + "\n".join(f"Пётр,{at},{LETTER[at % 2]}" for at in range(60))


@pytest.mark.parametrize("name", ["cp1251", "koi8_r", "cp866", "utf-16", "utf-8"])
def test_a_chosen_encoding_is_what_the_file_is_read_by(tmp_path, name):
    result = written(tmp_path, NAMES.encode(name), encoding=name)
    assert result["reading"]["file"]["encoding"] == name
    assert values(tmp_path, "Имя")[0] == "Пётр"
    assert not any("read as" in said for said in result["warnings"])


@pytest.mark.parametrize(("name", "said"), [("utf-8", "not UTF-8"), ("utf-16", "not UTF-16")])
def test_an_encoding_that_the_file_is_not_in_is_refused(tmp_path, name, said):
    with pytest.raises(InputError) as refused:
        written(tmp_path, NAMES.encode("cp1251"), encoding=name)
    assert (refused.value.code, said in str(refused.value)) == ("wrong_encoding", True)


@pytest.mark.parametrize("sign", list(writing.DELIMITERS), ids=list(writing.DELIMITERS.values()))
def test_a_chosen_delimiter_cuts_the_rows(tmp_path, sign):
    result = written(tmp_path, table(X, Y, ("t", ["6.5"] * 60), sign=sign).encode(), delimiter=sign)
    assert [one["name"] for one in result["columns"]] == ["x", "y", "t"]
    assert result["reading"]["file"]["delimiter"] == sign


def test_a_chosen_delimiter_wins_over_the_one_that_the_file_seems_to_have(tmp_path):
    data = table(("a,b", ["1,5", "2,5"] * 30), ("y", LETTER * 30), sign=";").encode()
    assert [one["name"] for one in written(tmp_path, data, delimiter=";")["columns"]] == ["a,b", "y"]
    assert [one["name"] for one in written(tmp_path, data, delimiter=",")["columns"]] == ["a", "b;y"]
