"""The tabular recipes learn, predict the same after a reload, and resume where they stopped."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.recipes import base
from models_app.recipes.tabular import table, train
from models_app.recipes.tabular.features import encode
from models_app.recipes.tabular.prediction import predict
from models_app.runner_protocol import Context, InputError, Reporter, StopRequested
from models_app.tables.reader import ingest
from tests.support.datasets import TARGET, csv_bytes
from tests.support.examples import examples

pytestmark = pytest.mark.xdist_group("recipes")

RECIPE = {"breast_cancer": "tabular.classifier", "digits": "tabular.classifier", "diabetes": "tabular.regressor"}


def context(folder: Path, job: dict, stopping=lambda: False) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in").mkdir(exist_ok=True)
    return Context(
        workdir=folder, job=job, report=Reporter(io.StringIO()), stopping=stopping, device=torch.device("cpu")
    )


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch):
    """Fail where a recipe imports torch's compiler: a second of computing in every job, for nothing."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ingested(folder: Path, data: bytes, target: str | None = TARGET) -> bytes:
    """Return the canonical Parquet of a CSV."""
    work = context(folder, {"inputs": {"target": target}})
    (work.inputs / "source").write_bytes(data)
    ingest.run(work)
    return (folder / "out" / "data.parquet").read_bytes()


def trained(
    folder: Path,
    parquet: bytes,
    recipe: str,
    *,
    stopping=lambda: False,
    resume=False,
    target=TARGET,
    limits=None,
    **params,
) -> dict:
    job = {"recipe": recipe, "params": params, "inputs": {"target": target}, "limits": limits or {}, "resume": resume}
    work = context(folder, job, stopping)
    (work.inputs / "data.parquet").write_bytes(parquet)
    train.run(work)
    return json.loads((folder / "out" / "result.json").read_text())


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    return {name: ingested(tmp_path_factory.mktemp(name), csv_bytes(name)) for name in RECIPE}


@pytest.mark.parametrize(
    ("name", "figure", "least"),
    [("breast_cancer", "accuracy", 0.9), ("digits", "accuracy", 0.9), ("diabetes", "r2", 0.4)],
)
def test_default_parameters_learn_real_tables(tmp_path, parquet, name, figure, least):
    result = trained(tmp_path, parquet[name], RECIPE[name])
    assert result["metrics"][figure] > least
    assert result["metrics"]["importance"]["columns"][0]["drop"] > 0.01
    assert sum(result["rows"][part] for part in ("train", "validation", "test")) == csv_bytes(name).count(b"\n") - 1


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2))])
def test_other_seeds_learn_too(tmp_path, parquet, seed):
    figures = {name: trained(tmp_path / name, parquet[name], RECIPE[name], seed=seed)["metrics"] for name in RECIPE}
    assert figures["breast_cancer"]["accuracy"] > 0.9
    assert figures["breast_cancer"]["roc_auc"] > 0.95
    assert figures["digits"]["accuracy"] > 0.9
    assert figures["diabetes"]["r2"] > 0.4


def test_a_reloaded_model_predicts_what_was_measured(tmp_path, parquet):
    result = trained(tmp_path, parquet["breast_cancer"], "tabular.classifier", epochs=10)
    model = predict.load(tmp_path / "out")
    data = table.read(tmp_path / "in" / "data.parquet", target=TARGET, task="classification", exclude=frozenset())
    parts = table.split(data.target, validation=0.15, test=0.25, seed=42)
    scores = model.outputs(encode(model.features, data.columns, data.rows))[parts.test]
    assert (scores.argmax(1) == data.target.values[parts.test]).mean() == pytest.approx(
        result["metrics"]["accuracy"], abs=0
    )
    row = {name: float(values[parts.test[0]]) for name, values in data.columns.items()}
    (answer,) = model.predict([row])
    assert answer["label"] == model.classes[int(scores[0].argmax())]
    assert list(answer["scores"].values()) == pytest.approx(scores[0].tolist(), abs=1e-7)
    (listed,) = model.predict([[row[feature.name] for feature in model.features]])
    assert listed == answer


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
@pytest.mark.parametrize("stop_after", [1, 7, 30, 95])
def test_a_stopped_run_resumes_and_ends_like_an_unbroken_one(tmp_path, parquet, name, stop_after):
    whole = trained(tmp_path / "whole", parquet[name], RECIPE[name], epochs=12, patience=3)
    calls = iter(range(stop_after))
    with pytest.raises(StopRequested):
        trained(
            tmp_path / "broken",
            parquet[name],
            RECIPE[name],
            epochs=12,
            patience=3,
            stopping=lambda: next(calls, None) is None,
        )
    resumed = trained(tmp_path / "broken", parquet[name], RECIPE[name], epochs=12, patience=3, resume=True)
    assert resumed["metrics"] == whole["metrics"]
    assert (tmp_path / "broken/out/model.safetensors").read_bytes() == (
        tmp_path / "whole/out/model.safetensors"
    ).read_bytes()


def test_a_resumed_run_reports_its_position_at_once(tmp_path, parquet, capsys):
    calls = iter(range(25))
    with pytest.raises(StopRequested):
        trained(
            tmp_path, parquet["diabetes"], "tabular.regressor", epochs=5, stopping=lambda: next(calls, None) is None
        )
    stopped = capsys.readouterr().err
    job = {
        "recipe": "tabular.regressor", "params": {"epochs": 5}, "inputs": {"target": TARGET}, "limits": {}, "resume": True,
    }  # fmt: skip
    said = io.StringIO()
    train.run(Context(tmp_path, job, Reporter(said), stopping=lambda: False, device=torch.device("cpu")))
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    first, second = [line for line in lines if line["type"] == "progress"][:2]
    assert first == {"type": "progress", "phase": "reading", "eta_s": None}
    at = json.loads((tmp_path / "checkpoint" / "state.json").read_text())["position"]
    assert at["epoch"] > 0
    assert second == {"type": "progress", "phase": "training", "done": at["epoch"], "total": 5, "eta_s": None}
    where = f"epoch {at['epoch'] + 1}, batch {at['batch']}"
    assert f"asked to stop at {where}: checkpoint saved" in stopped
    assert f"resumed from the checkpoint at {where}; best val loss " in capsys.readouterr().err


def test_a_large_network_stops_without_a_checkpoint_that_would_outlast_the_grace(tmp_path, parquet, monkeypatch):
    monkeypatch.setattr(train, "QUICK_BYTES", 0)
    with pytest.raises(StopRequested):
        trained(tmp_path, parquet["diabetes"], "tabular.regressor", stopping=lambda: True)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_a_regressor_on_two_values_is_warned_about(tmp_path, parquet, name, capsys):
    trained(tmp_path, parquet[name], "tabular.regressor", epochs=1)
    assert ("warning: the target has only 2 different values" in capsys.readouterr().err) == (name == "breast_cancer")


def test_a_regressor_learns_whole_numbers_beyond_those_that_a_float_holds_exactly(tmp_path):
    rows = ["id,x", *(f"{10**17 + at * 7**15 + 3},{at}" for at in range(80))]
    data = ingested(tmp_path, "\n".join(rows).encode(), "id")
    assert trained(tmp_path, data, "tabular.regressor", target="id", epochs=2)["metrics"]["mae"] > 0


@pytest.mark.parametrize("date", ["0000-01-01", "9999-12-31"])
def test_training_ends_well_with_years_that_python_has_no_dates_for(tmp_path, date):
    rows = ["d,x,y", *(f"{date if at % 3 else f'2020-01-{at % 28 + 1:02d}'},{at},{at % 2}" for at in range(80))]
    data = ingested(tmp_path, "\n".join(rows).encode(), "y")
    typical = trained(tmp_path, data, "tabular.classifier", target="y", epochs=2)["baseline"]["features"]["d"][
        "typical"
    ]
    assert typical == (None if date.startswith("0000") else f"{date}T00:00:00")


def test_a_run_stopped_early_says_why(tmp_path, parquet, capsys):
    trained(tmp_path, parquet["diabetes"], "tabular.regressor", patience=1, learning_rate=0.5)
    assert "stopped early: no better validation loss for 1 epochs; best val loss " in capsys.readouterr().err


def test_a_damaged_checkpoint_means_a_start_from_the_beginning(tmp_path, parquet):
    calls = iter(range(9))
    with pytest.raises(StopRequested):
        trained(
            tmp_path, parquet["diabetes"], "tabular.regressor", epochs=3, stopping=lambda: next(calls, None) is None
        )
    tensors = tmp_path / "checkpoint" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    assert trained(tmp_path, parquet["diabetes"], "tabular.regressor", epochs=3, resume=True)["epochs"] == 3


def mixed_csv(rows: int = 300) -> bytes:
    random = np.random.default_rng(3)
    lines = ["colour,size,when,wet,note,same,label"]
    for at in range(rows):
        colour = random.choice(["red", "green", "blue"])
        size = "" if random.random() < 0.2 else f"{random.normal():.3f}"
        wet = random.choice(["yes", "no"])
        label = "big" if (colour == "red") == (wet == "yes") else "small"
        lines.append(f"{colour},{size},2024-01-{at % 28 + 1:02d},{wet},note number {at} {random.random()},1,{label}")
    return "\n".join(lines).encode()


def test_categories_dates_gaps_and_unseen_values_are_handled(tmp_path):
    data = ingested(tmp_path / "i", mixed_csv(), "label")
    result = trained(tmp_path / "t", data, "tabular.classifier", target="label", epochs=80)
    assert result["metrics"]["accuracy"] > 0.9
    assert {entry["name"] for entry in result["ignored_columns"]} == {"note", "same"}
    found = result["metrics"]["importance"]
    drops = {one["name"]: one["drop"] for one in found["columns"]}
    assert list(drops)[:2] in (["colour", "wet"], ["wet", "colour"]), "the label is made of these two"
    assert min(drops["colour"], drops["wet"]) > 0.2 > 0.1 > max(drops["size"], drops["when"])
    assert (found["figure"], found["base"], found["seed"]) == ("accuracy", result["metrics"]["accuracy"], 42)
    confusion, each = result["metrics"]["confusion"], result["metrics"]["by_class"]
    assert [one["support"] for one in each] == [sum(row) for row in confusion]
    assert np.mean([one["recall"] for one in each]) == pytest.approx(result["metrics"]["balanced_accuracy"])
    model = predict.load(tmp_path / "t" / "out")
    rows = [{"colour": "red", "size": 0.1, "when": "2024-01-05", "wet": "yes"}, {"colour": "purple"}, {}]
    answers = model.predict(rows)
    assert answers[0]["label"] == "big"
    assert all(math.isclose(sum(answer["scores"].values()), 1.0, abs_tol=1e-9) for answer in answers)
    with pytest.raises(predict.BadInstance, match="size"):
        model.predict([{"size": "wide"}])


@pytest.mark.parametrize(
    ("csv", "recipe", "code"),
    [
        (b"a,b\n" + b"1,2.5\n" * 10, "tabular.regressor", "too_few_rows"),
        (b"a,b\n" + b"".join(b"%d,7.5\n" % i for i in range(50)), "tabular.regressor", "target_constant"),
        (b"a,b\n" + b"".join(b"%d,x%d\n" % (i, i % 2) for i in range(50)), "tabular.regressor", "target_unfit"),
        (b"a,b\n" + b"".join(b"%d,%d.5\n" % (i, i) for i in range(50)), "tabular.classifier", "target_unfit"),
        (b"a,b\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(150)), "tabular.classifier", "too_many_classes"),
        (b"a,b\n" + b"".join(b"5,%d\n" % (i % 2) for i in range(50)), "tabular.classifier", "no_features"),
    ],
)
def test_what_cannot_be_learnt_is_a_coded_error(tmp_path, csv, recipe, code):
    data = ingested(tmp_path / "i", csv, "b")
    with pytest.raises(InputError) as refused:
        trained(tmp_path / "t", data, recipe, target="b")
    assert refused.value.code == code


def test_the_schema_feeds_forms_title_description_default_and_range():
    for recipe in base.recipes():
        properties = recipe.schema()["properties"]
        assert next(iter(properties)) == "epochs"
        for field in properties.values():
            assert field["title"]
            assert field["description"]
            assert "default" in field
            if field["type"] in ("integer", "number"):
                assert {"minimum", "maximum"} <= field.keys()
        assert recipe.parse({}) == recipe.parse_strings({})
        assert recipe.parse_strings({"epochs": "5", "dropout": "0.5"})["epochs"] == 5


WEIRD = st.one_of(
    st.none(),
    st.booleans(),
    st.text(),
    st.lists(st.integers()),
    st.just(math.nan),
    st.just(math.inf),
    st.just(1e308),
    st.just(-1e308),
    st.integers(),
    st.floats(),
)


@given(
    recipe=st.sampled_from(base.recipes()),
    field=st.sampled_from(
        [
            "epochs",
            "patience",
            "learning_rate",
            "batch_size",
            "layers",
            "width",
            "dropout",
            "weight_decay",
            "validation_share",
            "test_share",
            "seed",
        ]
    ),
    value=WEIRD,
)
@settings(max_examples=examples(2000), deadline=None)
def test_no_value_outside_the_schema_is_accepted(recipe, field, value):
    spec = recipe.schema()["properties"][field]
    right = isinstance(value, int) and not isinstance(value, bool)
    if spec["type"] == "number":
        right = right or isinstance(value, float)
    inside = right and math.isfinite(value) and spec["minimum"] <= value <= spec["maximum"]
    if inside:
        assert recipe.parse({field: value})[field] == value
    else:
        with pytest.raises(base.InvalidParameters):
            recipe.parse({field: value})


def test_unknown_parameters_and_recipes_are_refused():
    with pytest.raises(base.InvalidParameters, match="colour"):
        base.recipe("tabular.classifier").parse({"colour": "red"})
    with pytest.raises(base.UnknownRecipe):
        base.recipe("../../etc/passwd")
