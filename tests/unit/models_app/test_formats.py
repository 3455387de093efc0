"""Workbooks, JSON and gzipped files are read as the tables that they hold."""

from __future__ import annotations

import gzip
import json

import pytest

from compute.sandbox.process import Child, Slot
from models_app.runner_protocol import EXIT_OK, InputError
from tests.component.models_app.test_hostile_files import MAIN
from tests.support.workbooks import workbook
from tests.unit.models_app.test_reading import reading, table, values

ROWS = [[at, at * 1.5, 45_292 + at, at % 2 == 0, ("NA", " x ")[at % 2], "-" if at == 7 else at] for at in range(60)]
NAMES = ["id", "price", "when", "flag", "word", "mix"]


def test_a_workbook_is_read_with_its_types_below_its_title(tmp_path):
    rows = [["Report"], NAMES, *ROWS, [None], [""]]
    found = reading(tmp_path, workbook(rows, dates={2}, sheets=2), "word")
    kinds = {name: one["kind"] for name, one in found["read"].items()}
    assert kinds == dict(
        zip(NAMES, ["numeric", "numeric", "datetime", "boolean", "categorical", "numeric"], strict=True)
    )
    assert found["rows"] == 60
    assert values(tmp_path, "id")[:2] == [0, 1]
    assert values(tmp_path, "when")[0].isoformat() == "2024-01-01T00:00:00"
    assert set(values(tmp_path, "word")) == {"NA", " x "}, "text stays as it is stored"
    assert found["read"]["mix"]["evidence"] == "59 of 60 values are numbers; '-' in row 8 is taken as missing."
    assert any("2 sheets; 's1' was read" in warning for warning in found["warnings"])


@pytest.mark.parametrize("form", ["lines", "list", "with a mark"])
def test_json_is_read_with_its_types(tmp_path, form):
    rows = [
        {"id": 9 * 10**18 + at, "s": ("NA", "")[at % 2], "d": f"2024-01-{at % 28 + 1:02d}", "n": None if at == 3 else at / 2, "b": at % 3 == 0}
        for at in range(60)
    ]  # fmt: skip
    rows[5]["late"] = "x"
    lines = "\n".join(map(json.dumps, rows))
    data = {"lines": lines, "list": json.dumps(rows, indent=1), "with a mark": "\ufeff" + lines}[form]
    found = reading(tmp_path, data, "s")
    kinds = {name: one["kind"] for name, one in found["read"].items()}
    assert kinds == {
        "id": "numeric",
        "s": "categorical",
        "d": "datetime",
        "n": "numeric",
        "b": "boolean",
        "late": "categorical",
    }
    assert values(tmp_path, "id") == [row["id"] for row in rows]
    assert values(tmp_path, "s") == [row["s"] for row in rows]


def test_gzip_is_unpacked_whatever_is_inside(tmp_path):
    text = table(("a", list(range(60))), ("b", ["x", "y"] * 30))
    assert reading(tmp_path / "c", gzip.compress(text.encode()))["reading"]["file"]["format"] == "csv"
    assert reading(tmp_path / "x", gzip.compress(workbook([NAMES, *ROWS])))["reading"]["file"]["format"] == "excel"


def test_the_sandboxed_child_reads_workbooks_json_and_code_pages(tmp_path):
    for name, data in {
        "workbook": workbook([NAMES, *ROWS]),
        "json": b'{"a": 1, "b": "x"}\n' * 40,
        "gzip": gzip.compress("город,цена\nМосква,1\nКазань,2\n".encode("cp1251") * 1),
    }.items():
        work = tmp_path / name
        (work / "in").mkdir(parents=True)
        (work / "out").mkdir()
        (work / "in" / "source").write_bytes(data)
        child = Child(
            entrypoint=MAIN, attempt="a", workdir=work, slot=Slot("cpu", "ops", 79, 1, 1 << 30),
            payload={"attempt": "a", "task": "ingest", "inputs": {"target": None}, "device": {"kind": "cpu"}, "threads": 1}, sandbox_required=False,
        )  # fmt: skip
        assert child.exited.wait(120)
        assert child.exit_code == EXIT_OK, (name, list(child.lines), list(child.said))


TWO_HEADERS = "place,place,money\n{second}\n" + "".join(f"north,{n},{n / 4}\n" for n in range(40))


@pytest.mark.parametrize("second", ["region,visits,spend", ",count,EUR"])
def test_a_second_header_or_a_row_of_units_is_reported(tmp_path, second):
    found = reading(tmp_path, TWO_HEADERS.format(second=second), None)
    assert "looks like a second header, or units" in found["warnings"][0]


def test_a_target_in_the_second_header_is_distinguished_from_a_missing_one(tmp_path):
    with pytest.raises(InputError, match=r"no column 'visits'.*looks like a second header"):
        reading(tmp_path, TWO_HEADERS.format(second="region,visits,spend"), "visits")


@pytest.mark.parametrize("second", ["north,-,unknown", "north,3,0.5", "-,-,-"])
def test_a_row_with_a_slip_is_no_second_header(tmp_path, second):
    found = reading(tmp_path, TWO_HEADERS.format(second=second).replace("place,place", "region,visits"), None)
    assert not [warning for warning in found["warnings"] if "second header" in warning]
