"""Hostile and broken files: each is a coded error with a sentence, or a clean dataset; memory stays bounded."""

from __future__ import annotations

import io
import json
import pickle
import resource
import subprocess
import sys
import time
import zipfile
from gzip import compress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Fault
from models_app.runner_protocol import EXIT_INPUT, EXIT_OK, Context, InputError, Reporter
from models_app.tables.reader import ingest
from models_app.views.profile import columns

MAIN = Path(ingest.__file__).parents[2] / "runner" / "main.py"
GOOD = "age,job,wage\n31,smith,10.5\n44,baker,12\n"


def parquet(table: pa.Table, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def damaged(data: bytes, at: int, count: int = 64) -> bytes:
    return data[:at] + b"\xff" * count + data[at + count :]


def dictionary_bomb() -> bytes:
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 60_000]))
    return parquet(pa.table({"a": column, "b": list(range(200_000))}), compression="zstd")


def constant_bomb() -> bytes:
    rows = 1_000_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array([1]))
    return parquet(pa.table({f"c{at}": column for at in range(70)}), compression="zstd")


def wide(columns: int) -> bytes:
    return (",".join(f"c{at}" for at in range(columns)) + "\n" + ",".join(["1"] * columns) + "\n").encode()


def evil_pickle() -> bytes:
    class Boom:
        def __reduce__(self):
            return (open, ("/tmp/exchequer-pickle-canary", "w"))

    return pickle.dumps(Boom())


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "0" * 10_000_000)
    return out.getvalue()


def workbook(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


SMALL = parquet(pa.table({"a": list(range(1000)), "b": [f"x{i}" for i in range(1000)]}))

ZOO: dict[str, tuple[object, str]] = {
    "empty": (b"", "empty_file"),
    "blank": (b"  \n\n  ", "empty_file"),
    "header only": (b"a,b\n", "no_rows"),
    "one column": (b"a\n1\n2\n", "one_column"),
    "numbers for a header": (b"1,2\n3,4\n", "no_header"),
    "control characters in a name": (b'"a\x07",b\n1,2\n', "bad_column_name"),
    "an endless name": (b"a" * 300 + b",b\n1,2\n", "column_name_too_long"),
    "ragged rows": (b"a,b\n1,2\n1,2,3\n", "ragged_rows"),
    "short rows": (b"a,b,c\n1,2,3\n1,2\n", "ragged_rows"),
    "a million columns": (
        lambda: wide(1_000_000),
        "row_too_long",
    ),
    "three thousand columns": (
        lambda: wide(3000),
        "too_many_columns",
    ),
    "one huge line": (lambda: b"x" * 30_000_000, "row_too_long"),
    "a huge line in the middle": (lambda: b"a,b\n1,2\n" + b"9" * 20_000_000 + b",1\n", "row_too_long"),
    "a quotation mark that never closes": (lambda: b'a,b\n1,"2\n' + b"3,4\n" * 2_000_000, "value_too_long"),
    "a huge value": (lambda: b"a,b\n1," + b"y" * 100_000 + b"\n", "value_too_long"),
    "infinite numbers": (b"a,b\n1,2\ninf,3\n4,-Infinity\n", "infinite_value"),
    "numbers that overflow": (b"a,b\n1,2\n1e300,3\n", "number_out_of_range"),
    "numbers beyond any float": (b"a,b\n1,2\n1e999,3\n", "number_out_of_range"),
    "binary noise": (bytes(range(256)) * 40, "not_text"),
    "zero bytes": (b"a,b\n1,\x00\n", "not_text"),
    "a broken utf-16 file": ("a,b\n1,2\n".encode("utf-16") + b"\x00", "not_text"),
    "a pickle": (evil_pickle, "refused_format"),
    "a torch file": (zipped, "refused_format"),
    "a gzip bomb": (lambda: compress(b"0" * 100_000_000), "too_big_unpacked"),
    "a cut gzip file": (lambda: compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20], "bad_gzip"),
    "an old workbook that is none": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "bad_workbook"),
    "a workbook bomb": (lambda: workbook({"xl/workbook.xml": b"0" * 100_000_000}), "too_big_unpacked"),
    "a workbook without sheets": (lambda: workbook({"xl/workbook.xml": b"<workbook/>"}), "bad_workbook"),
    "JSON with lists": (b'{"a": [1], "b": 2}\n' * 40, "unsupported_type"),
    "JSON that breaks off": (b'{"a": 1, "b": 2}\n{"a": 1,', "bad_json"),
    "JSON that is no table": (b'[{"a": 1}, 5]', "bad_json"),
    "deep JSON": (b'{"a":' * 200_000, "bad_json"),
    "a numpy array": (b"\x93NUMPY\x01\x00v\x00{}", "refused_format"),
    "a web page named as a workbook": (b"\xef\xbb\xbf\n<html><table><tr><td>1</td></tr></table>", "refused_format"),
    "XML": (b'<?xml version="1.0"?><Workbook/>', "refused_format"),
    "a PDF": (b"%PDF-1.7\n", "refused_format"),
    "a program": (b"\x7fELF\x02\x01\x01", "refused_format"),
    "a file over the cap": (lambda: b"a,b\n" + b"1,2\n" * 13_200_000, "file_too_large"),
    "a truncated parquet": (SMALL[:-30], "truncated_parquet"),
    "a parquet with a lying footer": (SMALL[:-8] + b"\xff\xff\xff\x7fPAR1", "truncated_parquet"),
    "a parquet with a broken footer": (damaged(SMALL, len(SMALL) - 300, 200), "bad_parquet"),
    "a parquet with broken pages": (damaged(SMALL, 200, 2000), "bad_parquet"),
    "a parquet dictionary bomb": (dictionary_bomb, "too_big_unpacked"),
    "a parquet of constants": (constant_bomb, "too_big_unpacked"),
    "a parquet of lists": (parquet(pa.table({"a": [[1], [2]], "b": [1, 2]})), "unsupported_type"),
    "a parquet of bytes": (parquet(pa.table({"a": [b"x", b"y"], "b": [1, 2]})), "unsupported_type"),
    "a parquet with infinity": (parquet(pa.table({"a": [1.0, float("inf")], "b": [1, 2]})), "infinite_value"),
    "a parquet of durations": (
        parquet(pa.table({"a": pa.array([1, 2], pa.duration("s")), "b": [1, 2]})),
        "unsupported_type",
    ),
    "a parquet of times": (parquet(pa.table({"a": pa.array([1, 2], pa.time32("s")), "b": [1, 2]})), "unsupported_type"),
    "a parquet of days too far away": (
        parquet(pa.table({"a": pa.array([1, 2**31 - 1], pa.date32()), "b": [1, 2]})),
        "date_out_of_range",
    ),
    "a parquet of seconds too far away": (
        parquet(pa.table({"a": pa.array([1, 2**62], pa.timestamp("ms")), "b": [1, 2]}), coerce_timestamps="ms"),
        "date_out_of_range",
    ),
    "a parquet of endless decimals": (
        parquet(pa.table({"a": pa.array([10**60, 2], pa.decimal256(76, 0)), "b": [1, 2]})),
        "number_out_of_range",
    ),
    "a parquet of zero bytes": (parquet(pa.table({"a": ["x\0", "y"] * 20, "b": list(range(40))})), "not_text"),
    "a parquet whose names are not UTF-8": (
        parquet(pa.table({"aaaa": [1, 2], "b": [1, 2]})).replace(b"aaaa", b"a\xe9\xffa"),
        "bad_column_name",
    ),
    "a parquet without columns": (parquet(pa.table({})), "one_column"),
    "a stated delimiter of two bytes": ("sep=é\nxéy\n1é2\n".encode(), "one_column"),
    "a stated delimiter of three bytes": ("sep=€\r\nx€y\r\n1€2\r\n".encode(), "one_column"),
    "a parquet without rows": (
        parquet(pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.int64())})),
        "no_rows",
    ),
}


def read(folder: Path, data: bytes, target: str | None = None, *, named_parquet: bool = False) -> dict:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "source").write_bytes(data)
    ingest.run(
        Context(
            workdir=folder,
            job={
                "inputs": {"target": target, "named_parquet": named_parquet},
                "limits": {"upload_bytes": 50 * 1024**2},
            },
            report=Reporter(io.StringIO()),
            stopping=lambda: False,
        )
    )
    return json.loads((folder / "out" / "profile.json").read_text())


@pytest.mark.parametrize("name", ZOO)
def test_every_hostile_file_is_a_coded_error_with_a_sentence(tmp_path, name):
    made, code = ZOO[name]
    data = made() if callable(made) else made
    started = time.process_time()  # other load on this machine is not counted
    with pytest.raises(InputError) as refused:
        read(tmp_path, data)
    assert refused.value.code == code, refused.value.message
    assert refused.value.message.endswith((".", "?"))
    assert refused.value.message.count("\n") == 0
    assert time.process_time() - started < 10
    assert not Path("/tmp/exchequer-pickle-canary").exists()


@pytest.mark.parametrize(
    "data",
    [b"not a table\n", b"PAR1", b"\x00\x01\xff" * 50, bytes(range(1, 256)) * 40],
    ids=["a line", "only the mark", "zero bytes", "noise"],
)
def test_a_file_that_is_parquet_only_by_name_is_refused(tmp_path, data):
    with pytest.raises(InputError, match="not a Parquet file") as refused:
        read(tmp_path, data, named_parquet=True)
    assert refused.value.code == "not_parquet"
    with pytest.raises(InputError) as refused:
        read(tmp_path, data)
    assert refused.value.code != "not_parquet"


def test_a_table_is_read_whatever_its_name(tmp_path):
    assert read(tmp_path, GOOD.encode(), named_parquet=True)["rows"] == 2
    with pytest.raises(InputError) as refused:
        read(tmp_path, SMALL[:-30], named_parquet=True)
    assert refused.value.code == "truncated_parquet"


@pytest.mark.parametrize(
    ("target", "hint"),
    [("wages", "Did you mean wage, age?"), ("JOB", "Did you mean job?"), ("zzz", "Its columns are age, job, wage.")],
)
def test_an_unknown_target_names_the_nearest_columns(tmp_path, target, hint):
    with pytest.raises(InputError) as refused:
        read(tmp_path, GOOD.encode(), target)
    assert refused.value.code == "target_missing"
    assert hint in refused.value.message
    assert "The file is fine" in refused.value.message


def kinds(profile: dict) -> dict[str, str]:
    return {column["name"]: column["kind"] for column in profile["columns"]}


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode(),
        GOOD.encode("utf-8-sig"),
        GOOD.encode("utf-16"),
        GOOD.encode("utf-16-le"),
        GOOD.encode("utf-16-be"),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        GOOD.replace(".", "§").replace(",", ";").replace("§", ",").encode(),
        GOOD.replace(",", "\t").encode(),
        ("sep=|\n" + GOOD.replace(",", "|")).encode(),
        ("\n\n" + GOOD + "\n\n").encode(),
    ],
    ids=[
        "utf-8",
        "bom",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "crlf",
        "cr",
        "decimal comma",
        "tab",
        "stated delimiter",
        "blank lines",
    ],
)
def test_one_table_in_many_formats_reads_the_same(tmp_path, data):
    profile = read(tmp_path, data, "wage")
    assert profile["rows"] == 2
    assert kinds(profile) == {"age": "numeric", "job": "categorical", "wage": "numeric"}
    assert profile["columns"][2]["max"] == 12.0


def test_latin_letters_are_read_with_a_warning(tmp_path):
    profile = read(tmp_path, "stadt,zahl\nKöln,1\nZürich,2\n".encode("latin-1"))
    assert {entry["value"] for entry in profile["columns"][0]["top"]} == {"Köln", "Zürich"}
    assert any("Windows-1252" in warning for warning in profile["warnings"])


def test_quoted_line_breaks_and_delimiters_stay_inside_their_value(tmp_path):
    profile = read(tmp_path, b'a,b\n"one\ntwo, three",1\n"four ""five""",2\n')
    assert profile["rows"] == 2
    assert {entry["value"] for entry in profile["columns"][0]["top"]} == {"one\ntwo, three", 'four "five"'}


def test_types_are_found_and_missing_words_are_missing(tmp_path):
    rows = ["n,code,flag,day,moment,free,void"]
    rows += [
        f"{'NA' if i == 3 else i},0{i % 5},{'yes' if i % 2 else 'no'},2024-02-{i % 28 + 1:02d},2024-02-01T10:00:{i % 60:02d}+02:00,text {i},NaN"
        for i in range(60)
    ]
    profile = read(tmp_path, "\n".join(rows).encode())
    assert kinds(profile) == {
        "n": "numeric",
        "code": "categorical",
        "flag": "boolean",
        "day": "datetime",
        "moment": "datetime",
        "free": "text",
        "void": "empty",
    }
    assert profile["columns"][0]["missing"] == 1


def test_a_parquet_file_keeps_its_types(tmp_path):
    table = pa.table(
        {
            "i": pa.array([1, None, 3] * 20, pa.int16()),
            "f": [0.5, float("nan"), 2.0] * 20,
            "s": ["a", "b", "a"] * 20,
            "t": pa.array([0, 1, 2] * 20, pa.timestamp("ms")),
            "b": [True, False, None] * 20,
        }
    )
    profile = read(tmp_path, parquet(table), "s")
    assert kinds(profile) == {"i": "numeric", "f": "numeric", "s": "categorical", "t": "datetime", "b": "boolean"}
    assert [column["missing"] for column in profile["columns"]] == [20, 20, 0, 0, 20]


def number_column(values: list) -> bytes:
    return "\n".join(["x,y", *(f"{value},{at % 2}" for at, value in enumerate(values))]).encode()


@pytest.mark.parametrize(
    "values",
    [
        [41111111111111111 + at for at in range(60)],
        [41111111111111111] * 60,
        ["1e17"] * 60,
        ["0.3", "0.30000000000000004"] * 30,
        [-(2**63), 2**63 - 1] * 30,
    ],
    ids=["ids in sequence", "one id", "one large number", "noise of rounding", "the ends of int64"],
)
@pytest.mark.parametrize("target", ["x", "y"])
def test_numbers_that_lie_too_close_together_for_bins_are_described(tmp_path, values, target):
    described = read(tmp_path, number_column(values), target)["columns"][0]
    histogram = described["histogram"]
    assert sum(histogram["counts"]) == 60
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert histogram["edges"][0] <= described["min"]
    assert described["max"] <= histogram["edges"][-1]


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("ns", "Asia/Tokyo"),
        pa.decimal128(5, 2), pa.string(), pa.large_string(), pa.null(), pa.dictionary(pa.int8(), pa.int64()),
        pa.dictionary(pa.int8(), pa.string()),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("target", ["void", "y"])
def test_a_parquet_column_without_any_value_is_empty_whatever_its_type(tmp_path, kind, target):
    table = pa.table({"void": pa.nulls(40, kind), "y": [0, 1] * 20})
    void, _ = read(tmp_path, parquet(table), target)["columns"]
    assert (void["kind"], void["missing"], void["missing_share"], void["distinct"]) == ("empty", 40, 1.0, 0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([2**64 - 1, 0] * 20, pa.uint64()), "categorical"),
        (pa.array([1.5, None] * 20, pa.float16()), "numeric"),
        (pa.array([1, 2] * 20, pa.decimal256(60, 2)), "numeric"),
        (pa.array([1, 2] * 20).dictionary_encode(), "numeric"),
        (pa.array([True, False] * 20).dictionary_encode(), "boolean"),
        (pa.array([0, 1] * 20, pa.timestamp("ns", "Asia/Tokyo")), "datetime"),
        (pa.array([-62167219200, 1] * 20, pa.timestamp("s")), "datetime"),
        (pa.array([2**63 - 1, -(2**63)] * 20, pa.timestamp("us")), "datetime"),
        (pa.array(["a", "b"] * 20, pa.string_view()), "categorical"),
    ],
    ids=lambda made: str(getattr(made, "type", made)),
)
def test_rare_types_of_parquet_are_read_as_what_they_hold(tmp_path, values, kind):
    profile = read(tmp_path, parquet(pa.table({"x": values, "y": [0, 1] * 20})), "y")
    assert kinds(profile) == {"x": kind, "y": "numeric"}
    assert {column.name: column.kind for column in columns(profile)} == kinds(profile), "and the page can show it"


def test_the_first_rows_are_kept_as_short_printable_text(tmp_path):
    hostile = ["<script>alert(1)</script>", "a\u202ebcd\x07", "x" * 500, "=1+1", None] * 8
    dates = pa.array([0, 1, 2, None, 4] * 8, pa.timestamp("us", "UTC"))
    wide = {f"c{at}": [1.5, None] * 20 for at in range(300)}
    first = read(tmp_path, parquet(pa.table({"text": hostile, "when": dates, **wide})), None)["preview"]
    assert (len(first["rows"]), first["columns"][:3], len(first["columns"])) == (20, ["text", "when", "c0"], 200)
    assert [row[0] for row in first["rows"][:5]] == [hostile[0], "a\ufffdbcd\ufffd", "x" * 79 + "\u2026", "=1+1", None]
    assert first["rows"][1][1:4] == ["1970-01-01 00:00:00.000001", None, None]


def test_the_target_must_be_a_column_and_the_error_names_near_ones(tmp_path):
    with pytest.raises(InputError, match="wage"):
        read(tmp_path, GOOD.encode(), "wages")


def test_leakage_constants_imbalance_and_identifiers_are_reported(tmp_path):
    rows = ["id,leak,noise,same,label"]
    rows += [
        f"{i},{'hit' if i % 50 == 0 else 'miss'},{(i * 7919) % 97},1,{'yes' if i % 50 == 0 else 'no'}"
        for i in range(1000)
    ]
    profile = read(tmp_path, "\n".join(rows).encode(), "label")
    power = {column["name"]: column["power"] for column in profile["columns"]}
    assert profile["measure"] == "theil_u"
    assert power["leak"] == 1.0
    assert power["noise"] < 0.2
    assert power["label"] is None
    told = " ".join(profile["warnings"])
    for word in (
        "leak alone reveals the target",
        "same has the same value",
        "id looks like an identifier",
        "rarest class",
    ):
        assert word in told


@pytest.mark.parametrize(("rows", "empty"), [(29, 0), (40, 11)])
def test_too_few_rows_to_train_on_are_reported_first(tmp_path, rows, empty):
    lines = ["x,label", *(f"{i * 7919 % 97},{'' if i < empty else 'ab'[i % 2]}" for i in range(rows))]
    first, *others = read(tmp_path, "\n".join(lines).encode(), "label")["warnings"]
    assert first.startswith("Training needs at least 30 rows with a target value; this version has 29.")
    assert not any("Held-out figures" in warning for warning in others)


@pytest.mark.parametrize(
    "name",
    [
        "a million columns",
        "one huge line",
        "a parquet dictionary bomb",
        "a parquet of constants",
        "a quotation mark that never closes",
    ],
)
def test_the_sandboxed_child_refuses_bombs_in_bounded_memory(name, tmp_path):
    made, code = ZOO[name]
    work = tmp_path / "work"
    (work / "in").mkdir(parents=True)
    (work / "out").mkdir()
    (work / "in" / "source").write_bytes(made() if callable(made) else made)
    child = Child(
        entrypoint=MAIN, attempt="a", workdir=work, slot=Slot("cpu", "ops", 77, 1, 1 << 30),
        payload={"attempt": "a", "task": "ingest", "inputs": {"target": None}, "device": {"kind": "cpu"}, "threads": 1}, sandbox_required=False,
    )  # fmt: skip
    peak = 0
    while not child.exited.wait(0.02):
        try:
            status = Path(f"/proc/{child.group}/status").read_text()
        except OSError:
            continue
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
    assert child.exit_code == EXIT_INPUT, list(child.lines)
    assert [said.code for said in child.said if isinstance(said, Fault)] == [code]
    assert peak < 400 * 1024


def test_a_failing_child_reports_the_line_in_our_code_and_nothing_about_the_host(tmp_path):
    work = tmp_path / "work"
    (work / "in").mkdir(parents=True)
    child = Child(
        entrypoint=MAIN, attempt="a", workdir=work, slot=Slot("cpu", "ops", 78, 1, 1 << 30),
        payload={"attempt": "a", "task": "ingest", "inputs": {"target": None}, "device": {"kind": "cpu"}, "threads": 1}, sandbox_required=False,
    )  # fmt: skip
    assert child.exited.wait(60)
    (fault,) = [said for said in child.said if isinstance(said, Fault)]  # there is no file to read
    assert (child.exit_code, fault.code) == (1, "internal_error")
    assert "FileNotFoundError: main.py" in fault.message
    said = "\n".join([fault.message, *child.lines])
    assert not any(place in said for place in (str(tmp_path), str(MAIN.parents[2]), "isolation", "Traceback"))


def test_a_large_honest_file_is_read_in_bounded_memory(tmp_path):
    work = tmp_path / "work"
    (work / "in").mkdir(parents=True)
    (work / "out").mkdir()
    line = ",".join(f"{i}.25" for i in range(40))
    (work / "in" / "source").write_bytes(
        (",".join(f"c{i}" for i in range(40)) + "\n").encode() + f"{line}\n".encode() * 190_000
    )
    child = Child(
        entrypoint=MAIN, attempt="a", workdir=work, slot=Slot("cpu", "ops", 78, 1, 1 << 30),
        payload={"attempt": "a", "task": "ingest", "inputs": {"target": "c1"}, "device": {"kind": "cpu"}, "threads": 1}, sandbox_required=False,
    )  # fmt: skip
    assert child.exited.wait(300)
    assert child.exit_code == EXIT_OK, list(child.lines)
    assert json.loads((work / "out" / "result.json").read_text())["rows"] == 190_000


def test_the_web_side_imports_neither_torch_nor_arrow():
    code = "import sys; import models_app.recipes.base as b; b.recipes()[0].schema(); b.recipes()[0].digest(); print([m for m in ('torch','pyarrow','numpy','django') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=MAIN.parents[2])
    assert said.stdout.strip() == "[]"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0
