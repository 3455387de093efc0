"""What surrounds a table: comments, titles, names, code pages, quotation marks."""

from __future__ import annotations

import codecs
import json

import pytest

from models_app.runner_protocol import InputError
from models_app.tables.left_out import left_out
from tests.unit.models_app.test_reading import LETTER, reading, values

BODY = "\n".join(f"{at},{at * 2 % 7},{LETTER[at % 2]}" for at in range(60)) + "\n"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("# exported\n# by tool\na,b,y\n" + BODY, ["a", "b", "y"]),
        ("Sales report 2024\n\na,b,y\n" + BODY, ["a", "b", "y"]),
        ("Sales report 2024,,\na,b,y\n" + BODY, ["a", "b", "y"]),
        ("#a,b,y\n" + BODY, ["#a", "b", "y"]),
        ("# made by x\n#a,b,y\n" + BODY, ["a", "b", "y"]),
        ("sep=;\na;b;y\n" + BODY.replace(",", ";"), ["a", "b", "y"]),
        ("a,b\u00a0c ,y\n" + BODY, ["a", "b c", "y"]),
        ("\ufeffa,b,y\n" + BODY, ["a", "b", "y"]),
        (",b,y\n" + BODY, ["index", "b", "y"]),
        ("b,y\n" + BODY, ["index", "b", "y"]),
        ("Unnamed: 0,b,y\n" + BODY, ["Unnamed: 0", "b", "y"]),
        ("a,a,y\n" + BODY, ["a", "a_2", "y"]),
        ("a,b,y,\n" + BODY.replace("\n", ",\n"), ["a", "b", "y"]),
        ("a,b,y\n" + BODY + ",,\n,,\n\n", ["a", "b", "y"]),
        ('"a","b\nc","y"\n' + BODY, ["a", "b c", "y"]),
    ],
    ids=["comments", "title", "title in cells", "hash in a name", "hash before names", "sep", "nbsp", "bom", "no first name", "R", "pandas twice",
         "twins", "empty last column", "empty last rows", "line break in a name"],
)  # fmt: skip
def test_text_around_a_table_is_separated_from_it(tmp_path, data, names):
    found = reading(tmp_path, data)
    assert (found["rows"], list(found["read"])) == (60, names)
    role = found["read"][names[0]]["inferred"]["role"]
    assert role == ("identifier" if names[0] in ("index", "Unnamed: 0") else "feature")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("stadt,zahl\nKöln,1\nZürich,2\n", "cp1252"), ("preis,art\n5 €,neu\n6 €,alt\n", "cp1252"), ("größe,t\n20°C,5\nnaïve,6\n", "cp1252"),
        ("город,цена\nМосква,1\nСанкт-Петербург,2\nНовосибирск,3\n", "cp1251"), ("都市,価格\n東京都,1\n大阪府,2\n名古屋市,3\n", "cp932"),
        ("miasto,cena\nŁódź,1\nKraków,2\nGdańsk,3\nWrocław,4\n", "cp1250"), ("stadt,zahl\nKöln,1\nZürich,2\n", "utf-16"),
    ],
)  # fmt: skip
def test_code_pages_are_detected_by_their_letters(tmp_path, text, encoding):
    found = reading(tmp_path, text.encode(encoding))
    assert next(iter(found["read"])) == text.split(",")[0]
    assert (
        values(tmp_path, text.split(",")[0])[0] == text.splitlines()[1].split(",")[0].replace("5 €", "5")
        or encoding == "cp1252"
    )
    assert any("not UTF-8" in warning for warning in found["warnings"]) == (encoding != "utf-16")


@pytest.mark.parametrize("writing", [{"encoding": "cp1252"}, {"encoding": "latin-1"}, {}], ids=str)
def test_a_utf_8_byte_order_mark_is_not_part_of_the_first_column_name(tmp_path, writing):
    text = "stadt,zahl,y\nKöln,1,a\nZürich,2,b\n"
    found = reading(tmp_path, codecs.BOM_UTF8 + text.encode("cp1252"), writing=writing)
    assert next(iter(found["read"])) == "stadt"
    assert values(tmp_path, "stadt") == ["Köln", "Zürich"]


def test_a_quotation_mark_that_is_never_closed_is_named_and_swallows_nothing(tmp_path):
    found = reading(tmp_path, 'a,b\n1,2\n3,"4 inch\n5,6\n7,8\n')
    assert found["rows"] == 4
    assert any("Row 2 opens a quotation mark" in warning for warning in found["warnings"])
    with pytest.raises(InputError, match="Row 2 opens a quotation mark that is never closed") as refused:
        reading(tmp_path, 'a,b\n1,"2,5"\n3,"4\n5,6\n7,8\n')
    assert refused.value.code == "unclosed_quote"


def test_a_column_without_a_name_is_left_out_of_training_unless_a_person_keeps_it(tmp_path):
    data = ",b,y\n" + "\n".join(f"{at * 3},{at % 7},{LETTER[at % 2]}" for at in range(40))

    def advised(**choices):
        reading(tmp_path, data, "y", **choices)
        return left_out(json.loads((tmp_path / "out" / "profile.json").read_text()), "y")

    assert list(advised()) == ["index"]
    assert advised(index={"role": "feature"}) == {}
    assert list(advised(index={"role": "feature"}, b={"role": "identifier"})) == ["b"]
