"""Files as people bring them, each taken the whole way: what was read, and that all predictions agree.

Modelled on real files. A person can take real ones the same way: `three_ways.walk`.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.scenarios.spellings import Raw, comma, delimited, each, excel, json_lines, parquet, typed
from tests.scenarios.stack import Stack
from tests.scenarios.three_ways import Case, walk

pytestmark = [pytest.mark.xdist_group("walks"), pytest.mark.nightly]
ROWS = 240
FIRST = datetime(2021, 1, 5, 8, 30)


def made(columns: Callable[[int, random.Random], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the same rows each time."""
    chance = random.Random(3)
    return [columns(at, chance) for at in range(ROWS)]


def without(rows: Sequence[Raw], *names: str) -> list[dict[str, Any]]:
    """Return rows without some columns."""
    return [{key: value for key, value in row.items() if key not in names} for row in rows]


def in_order(rows: Sequence[Raw]) -> list[dict[str, Any]]:
    """Return rows whose columns `delimited` then writes in their original order."""
    return [{key: row[key] for key in reversed(list(row))} for row in rows]


def registry() -> Case:
    """An index without a name, codes with leading zeros, booleans, NA as a country, a boolean target."""
    rows = made(
        lambda at, chance: {
            "index": str(at + 1),
            "office": f"0{chance.randrange(1, 9)}001",
            "grade": str(chance.randrange(1, 5)),
            "country": chance.choice(["NA", "DE", "FR"]),
            "paid": chance.choice(["yes", "no"]) if at % 50 else "NA",
            "amount": str(chance.randrange(100, 9000)) if at % 31 else "NA",
            "deny": chance.choice(["yes", "no", "no"]),
        }
    )
    name, content = delimited(in_order(rows), name="registry.csv")
    return Case(
        "registry", (name, content.replace(b"index,", b",", 1)), "deny", rows,
        lambda held: [
            json_lines(
                each(without(held, "deny"), lambda key, cell: {"yes": True, "no": False}.get(cell, cell) if key == "paid" else cell)
            ),
            delimited(each(without(held, "deny", "index"), lambda key, cell: cell.upper() if key == "paid" else cell), ";"),
            parquet(each(without(held, "deny"), lambda key, cell: cell if key in ("office", "country") else typed(cell, ["NA"]))),
        ],
        types={"office": "categorical", "grade": "categorical", "country": "categorical", "paid": "boolean", "amount": "numeric"},
        choices={"grade": {"type": "categorical"}}, labels=frozenset({"yes", "no"}),
    )  # fmt: skip


def ledger() -> Case:
    """A title, decimal commas, thousands, currency, per cent, days first; a regressor; another notation later."""

    def columns(at: int, chance: random.Random) -> dict[str, Any]:
        price, share = chance.randrange(100_000, 990_000) / 100, chance.randrange(5, 950) / 10
        return {
            "Tag": FIRST + timedelta(days=at, minutes=7 * at),
            "Preis": price if at % 23 else None,
            "Anteil": share,
            "Größe": chance.choice(["groß", "mäßig", "klein"]),
            "Ertrag": round(price * share / 1000 + chance.random(), 2),
        }

    plain = made(columns)

    def german(key: str, cell: Any) -> Any:
        if isinstance(cell, datetime):
            return cell.strftime("%d.%m.%Y %H:%M")
        if cell is None:
            return "k.A."
        return comma(cell) + {"Preis": " €", "Anteil": " %"}.get(key, "")

    def english(_: str, cell: Any) -> Any:
        if isinstance(cell, datetime):
            return cell.strftime("%m/%d/%Y %I:%M %p")
        return f"${cell:,.2f}" if isinstance(cell, float) else cell

    raw = each(plain, german)
    back = {row["Tag"]: one for row, one in zip(raw, plain, strict=True)}
    held_plain = lambda held: without([back[row["Tag"]] for row in held], "Ertrag")  # noqa: E731
    return Case(
        "ledger", delimited(in_order(raw), ";", "cp1252", "Umsätze;;;;\r\n\r\n", "ledger.csv"), "Ertrag", raw,
        lambda held: [
            delimited(each(held_plain(held), english), name="english.csv"), excel(held_plain(held)), parquet(held_plain(held)),
            delimited(without(held, "Ertrag"), "\t", "utf-16", name="later.txt"),
        ],
        recipe="tabular.regressor",
        types={"Tag": "datetime", "Preis": "numeric", "Anteil": "numeric", "Größe": "categorical", "Ertrag": "numeric"},
    )  # fmt: skip


def events() -> Case:
    """JSON lines: long ids, absent keys, ISO dates, None as a class; dates with the day first later."""
    rows = made(
        lambda at, chance: {
            "id": 9_000_000_000_000_000_000 + chance.randrange(10**17),
            "when": (FIRST + timedelta(hours=31 * at)).isoformat(),
            "size": chance.randrange(1, 400) / 8 if at % 17 else None,
            "open": chance.random() < 0.5,
            "exercise": chance.choice(["Some", "None", "Often", "Never"][: 4 if at > 5 else 3]),
        }
    )
    day = lambda key, cell: datetime.fromisoformat(cell).strftime("%d.%m.%Y %H:%M") if key == "when" else cell  # noqa: E731
    return Case(
        "events", json_lines(rows, "events.jsonl.gz"), "exercise", rows,
        lambda held: [
            json_lines(each(without(held, "exercise"), day), "day.jsonl.gz"),
            delimited(each(without(held, "exercise"), lambda _, cell: str(cell).lower() if isinstance(cell, bool) else cell)),
            parquet(without(held, "exercise")),
        ],
        types={"when": "datetime", "size": "numeric", "open": "boolean"},
        labels=frozenset({"Some", "None", "Often", "Never"}),
    )  # fmt: skip


def survey() -> Case:
    """A workbook: dates, flags, a slip among numbers, rows without a target, rare categories, a constant, free text."""
    rows = made(
        lambda at, chance: {
            "day": FIRST.replace(hour=0, minute=0) + timedelta(days=at),
            "age": chance.randrange(18, 80) if at != 40 else "unknown",
            "region": chance.choice(["N", "S", "C"]) if at % 40 else f"islet {at}",
            "place": "Lab",
            "note": f"remark {at} of {chance.randrange(10**6)}",
            "vote": chance.choice(["A", "N", "Y", "NA"]) if at % 30 else None,
        }
    )
    iso = lambda held: each(held, lambda _, cell: cell.isoformat() if isinstance(cell, datetime) else cell)  # noqa: E731
    return Case(
        "survey", excel(rows, "survey.xlsx"), "vote", iso(rows),
        lambda held: [json_lines(without(held, "vote")), delimited(without(held, "vote"), "|", "utf-8-sig")],
        types={"day": "datetime", "age": "numeric", "region": "categorical"},
        choices={"vote": {"missing": ["NA"]}}, labels=frozenset({"A", "N", "Y"}),
    )  # fmt: skip


def columnar() -> Case:
    """Parquet in rare encodings; NA and blanks are values; classes that are numbers."""
    rows = made(
        lambda at, chance: {
            "code": f"{chance.choice(['NA', 'n/a', ' x', 'y'])}",
            "count": chance.randrange(10**6),
            "ratio": chance.random(),
            "level": chance.choice([-1, 0, 1]),
        }
    )
    table = pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    table = table.set_column(1, "count", table["count"].cast(pa.decimal128(21, 2)))
    out = io.BytesIO()
    encodings = {"code": "DELTA_BYTE_ARRAY", "ratio": "BYTE_STREAM_SPLIT", "level": "DELTA_BINARY_PACKED"}
    pq.write_table(
        table, out, use_dictionary=False, column_encoding=encodings, compression="brotli", data_page_version="2.0"
    )
    return Case(
        "columnar", ("columnar.parquet", out.getvalue()), "level", rows,
        lambda held: [json_lines(without(held, "level")), parquet(without(held, "level"), use_dictionary=True)],
        types={"code": "categorical", "count": "numeric", "ratio": "numeric"}, labels=frozenset({"-1", "0", "1"}),
    )  # fmt: skip


def padded() -> Case:
    """KOI8-R, colons, blanks before quotation marks, comments above and among the rows: half of it chosen by a person."""
    rows = made(
        lambda at, chance: {
            "Имя": chance.choice(["Пётр", "Анна", "Кот: учёный"]),
            "Время": f"{chance.randrange(900, 1100) / 100:.2f}",
            "медаль": chance.choice(["ЗОЛОТО", "СЕРЕБРО"]),
        }
    )
    lines = ['"Имя":  "Время":  "медаль"', *(":   ".join(f'"{cell}"' for cell in row.values()) for row in rows)]
    lines[120:120] = ["# после обеда"]
    text = "# соревнования\n" + "\n".join(lines) + "\n"
    return Case(
        "padded", ("padded.txt", text.encode("koi8_r")), "медаль", rows,
        lambda held: [delimited(without(held, "медаль"), ";", "cp1251"), excel(without(held, "медаль"))],
        types={"Имя": "categorical", "Время": "numeric"}, reading={"encoding": "koi8_r", "delimiter": ":"},
        labels=frozenset({"ЗОЛОТО", "СЕРЕБРО"}),
    )  # fmt: skip


@pytest.mark.parametrize("make", [registry, ledger, events, survey, columnar, padded], ids=lambda make: make.__name__)
def test_a_table_is_read_and_answered_alike_every_way(stack: Stack, make: Callable[[], Case]) -> None:
    found = walk(stack, make())
    assert found.differs == []
    assert len(found.agreed) >= 4
    assert len(set(found.agreed.values())) == 1
