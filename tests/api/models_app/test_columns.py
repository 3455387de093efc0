"""How columns were read, and other choices: the next version of the same file."""

from __future__ import annotations

import uuid

import pytest

from models_app.datasets import ingestion
from models_app.object_store import storage
from tests.api.models_app.test_datasets import Api
from tests.support.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = b"code,size,y\n" + b"".join(b"%d,%d,%s\n" % (at % 3, at, b"ab"[at % 2 : at % 2 + 1]) for at in range(60))


@pytest.fixture(autouse=True)
def _store(s3):
    storage.ensure_bucket()


@pytest.fixture
def api():
    return Api(make_tenant())


def uploaded(api, data=TABLE, target="y"):
    sent = api.upload(data, name="Table", target=target).json()
    ingestion.ingest(uuid.UUID(sent["version"]["id"]), api.tenant.id)
    return sent["id"]


def choose(api, dataset, columns, **more):
    return api.send("patch", f"/datasets/{dataset}/columns/", {"columns": columns, **more})


def test_a_choice_makes_the_next_version_of_the_same_file(api):
    dataset = uploaded(api)
    made = choose(api, dataset, {"code": {"type": "categorical"}})
    assert (made.status_code, made.json()["number"], made.json()["state"]) == (200, 2, "ingesting")
    assert choose(api, dataset, {"code": {"type": "text"}}).json()["code"] == "version_not_read"
    ingestion.ingest(uuid.UUID(made.json()["version"]), api.tenant.id)
    found = api.get(f"/datasets/{dataset}/columns/").json()
    assert (found["number"], found["state"]) == (2, "ready")
    assert {one["name"]: one["chosen"] for one in found["columns"]}["code"] == {"type": "categorical"}
    assert choose(api, dataset, {"code": {"type": "categorical"}}).json()["number"] == 2, "the same choices again"
    assert choose(api, dataset, {"code": {"type": None}}).json()["number"] == 1, "taken back"
    renamed = choose(api, dataset, {"size": {"role": "target"}}).json()
    assert renamed["number"] == 3
    assert api.get(f"/datasets/{dataset}/").json()["target"] == "size"


def test_an_upload_of_the_same_file_is_no_version_that_choices_made(api):
    dataset = uploaded(api)
    made = choose(api, dataset, {"size": {"role": "target"}, "code": {"type": "categorical"}}).json()
    ingestion.ingest(uuid.UUID(made["version"]), api.tenant.id)
    again = api.upload(TABLE, name="Table", target="size").json()["version"]
    assert (again["number"], again["state"]) == (3, "ingesting")
    ingestion.ingest(uuid.UUID(again["id"]), api.tenant.id)
    assert not any(one["chosen"] for one in api.get(f"/datasets/{dataset}/columns/").json()["columns"])
    assert api.upload(TABLE, name="Table", target="size").json()["version"]["number"] == 3
    assert api.upload(TABLE, name="Table", target="y").json()["version"]["number"] == 1


def test_a_choice_that_cannot_be_is_refused_by_column(api):
    dataset = uploaded(api)
    for name, choice in (
        ("nothing", {"type": "text"}),
        ("code", {"type": "complex"}),
        ("code", {"colour": "red"}),
        ("code", ["text"]),
        ("code", {"missing": "NA"}),
        ("size", {"number": "1234"}),
        ("size", {"date": "ydm"}),
    ):
        answer = choose(api, dataset, {name: choice})
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [f"columns.{name}"]), choice


def test_a_version_of_another_dataset_is_not_found(api):
    first, other = uploaded(api), api.upload(TABLE, name="Other").json()
    assert choose(api, first, {"code": {"type": "text"}}, version=other["version"]["id"]).status_code == 404
    assert api.get(f"/datasets/{first}/columns/?version={other['version']['id']}").status_code == 404
    assert choose(api, first, {}).status_code == 400


CYRILLIC = "имя;size;y\n" + "".join(f"Пётр;{at};{'ab'[at % 2]}\n" for at in range(60))


def file_of(api, dataset):
    found = api.get(f"/datasets/{dataset}/columns/").json()
    return found["number"], found["file"], [one["name"] for one in found["columns"]]


def test_an_upload_says_how_its_file_is_written(api):
    data = CYRILLIC.encode("koi8_r")
    made = api.upload(data, name="Table", target="y", encoding="koi8_r", delimiter=";").json()
    ingestion.ingest(uuid.UUID(made["version"]["id"]), api.tenant.id)
    number, read, names = file_of(api, made["id"])
    assert (number, names) == (1, ["имя", "size", "y"])
    assert (read["encoding"], read["delimiter"]) == ("koi8_r", ";")
    assert read["chosen"] == {"encoding": "koi8_r", "delimiter": ";"}
    again = api.upload(data, name="Table", target="y", encoding="koi8_r", delimiter=";").json()
    assert again["version"]["number"] == 1, "the same file, read alike"
    assert api.upload(data, name="Table", target="y").json()["version"]["number"] == 2
    for field, value in (("encoding", "ebcdic"), ("delimiter", "::")):
        refused = api.upload(data, name="Table", target="y", **{field: value})
        assert (refused.status_code, list(refused.json()["fields"])) == (400, [field])


def test_how_a_file_is_written_is_chosen_afterwards_like_types(api):
    dataset = uploaded(api, CYRILLIC.encode("cp1251"))
    _, read, _ = file_of(api, dataset)
    made = choose(api, dataset, {}, file={"encoding": "koi8_r"})
    assert (made.status_code, made.json()["number"]) == (200, 2)
    ingestion.ingest(uuid.UUID(made.json()["version"]), api.tenant.id)
    _, other, names = file_of(api, dataset)
    assert (read["encoding"], other["encoding"], other["chosen"]) == ("cp1251", "koi8_r", {"encoding": "koi8_r"})
    assert names[0] == CYRILLIC.encode("cp1251").decode("koi8_r").partition(";")[0]
    kept = choose(api, dataset, {"size": {"type": "text"}}).json()
    assert kept["number"] == 3
    ingestion.ingest(uuid.UUID(kept["version"]), api.tenant.id)
    assert file_of(api, dataset)[1]["encoding"] == "koi8_r", "a choice for a column keeps that for the file"
    assert choose(api, dataset, {"size": {"type": None}}, file={"encoding": None}).json()["number"] == 1
    entry = api.get("/audit/?action=models_app.dataset_version.columns_chosen").json()["results"][-1]
    assert entry["changes"]["file.encoding"] == [None, "koi8_r"]
    for wrong, field in (
        ({"encoding": "ebcdic"}, "file.encoding"),
        ({"delimiter": ""}, "file.delimiter"),
        ({"quotes": "'"}, "file.quotes"),
    ):
        refused = choose(api, dataset, {}, file=wrong)
        assert (refused.status_code, list(refused.json()["fields"])) == (400, [field])


def test_a_self_describing_file_refuses_a_chosen_encoding(api):
    lines = b"".join(b'{"a": %d, "y": "%s"}\n' % (at, b"ab"[at % 2 : at % 2 + 1]) for at in range(60))
    refused = choose(api, uploaded(api, lines), {}, file={"delimiter": ";"})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["file"])
    assert "json lines has no encoding" in refused.json()["fields"]["file"][0]
