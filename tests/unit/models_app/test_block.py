"""Many requests' rows as one batch: same numbers as one by one, and separate errors per request."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.recipes.tabular.features import Feature, widths
from models_app.recipes.tabular.network import TabularNet
from models_app.recipes.tabular.prediction.block import Block
from models_app.recipes.tabular.prediction.predict import Predictor
from models_app.recipes.tabular.prediction.request_values import BadInstance

FEATURES = [
    Feature("age", "numeric", mean=40.0, scale=12.5, indicator=True),
    Feature("town", "categorical", categories=("Berne", "Oslo", "true")),
    Feature("member", "boolean", mean=0.4, scale=0.5),
    Feature("since", "datetime", mean=1.6e9, scale=1e8, indicator=True),
]


def model(features=FEATURES, classes=("no", "yes")) -> Predictor:
    torch.manual_seed(7)
    numeric, codes = widths(features)
    shape = {"numeric": numeric, "codes": codes, "outputs": len(classes) or 1, "layers": 2, "width": 16, "dropout": 0.1}
    net = TabularNet(**shape)
    torch.nn.init.normal_(net.head.weight)
    signature = {
        "format": 1, "inputs": [feature.to_json() for feature in features], "classes": list(classes),
        "network": shape, "target": {"name": "left", "kind": "categorical", "mean": 3.0, "scale": 2.0},
    }  # fmt: skip
    return Predictor(signature, net.state_dict())


NUMBER = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), st.booleans(), st.just(""))
TOWN = st.one_of(
    st.none(), st.sampled_from(["Berne", "Oslo", "true", "elsewhere", ""]), st.booleans(), st.integers(0, 3)
)
MEMBER = st.one_of(st.none(), st.booleans(), st.sampled_from(["yes", "no", " TRUE", "0"]), st.integers(0, 1))
SINCE = st.one_of(st.none(), st.sampled_from(["2024-05-01", "2024-05-01T12:30:00+02:00"]), st.floats(0, 2e9))
ROW = st.tuples(NUMBER, TOWN, MEMBER, SINCE).map(list)
AS_OBJECT = ROW.map(lambda row: dict(zip([f.name for f in FEATURES], row, strict=True)))
PARTIAL = st.tuples(AS_OBJECT, st.sets(st.sampled_from([f.name for f in FEATURES]), min_size=1)).map(
    lambda pair: {name: value for name, value in pair[0].items() if name not in pair[1]}
)
FINE = {"age": 30, "town": "Oslo", "member": True, "since": None}
WRONG = st.sampled_from(
    [["x", "Oslo", True, None], FINE | {"age": 1e999}, FINE | {"agee": 3}, [1, 2], "row", None, FINE | {"town": ["Oslo"]},
     FINE | {"age": math.nan}, FINE | {"member": "maybe"}, FINE | {"since": "soon"}, FINE | {"age": 10**400},
     FINE | {"age": {}}, FINE | {"age": "nan"}]
)  # fmt: skip
BAD = st.one_of(WRONG, PARTIAL)


def close(one, other) -> bool:
    if isinstance(one, dict):
        return one["label"] == other["label"] and all(
            abs(one["scores"][name] - other["scores"][name]) < 1e-5 for name in one["scores"]
        )
    return abs(one - other) < 1e-5


@pytest.mark.parametrize("classes", [("no", "yes"), (True, False), ()])
@settings(max_examples=150)
@given(requests=st.lists(st.lists(st.one_of(ROW, AS_OBJECT), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_batch_of_requests_answers_what_each_row_would_get_alone(classes, requests):
    predictor = model(classes=classes)
    answers = predictor.predict_many(requests)
    for request, answer in zip(requests, answers, strict=True):
        assert not isinstance(answer, BadInstance), answer
        assert all(map(close, answer, predictor.predict(request)))


@settings(max_examples=100)
@given(good=st.lists(ROW, min_size=1, max_size=3), bad=BAD, others=st.lists(AS_OBJECT, min_size=1, max_size=3))
def test_one_bad_request_spoils_no_other(good, bad, others):
    predictor = model()
    first, spoilt, last = predictor.predict_many([good, [*good, bad], others])
    assert isinstance(spoilt, BadInstance)
    assert spoilt.row == len(good)
    assert f"Row {len(good)}" in str(spoilt)
    assert all(map(close, first, predictor.predict(good)))
    assert all(map(close, last, predictor.predict(others)))


@pytest.mark.parametrize("features", [FEATURES, FEATURES[:1], [Feature(f"x{at}", "numeric") for at in range(3)]])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("beside", [None, 1.5])
def test_nan_is_not_taken_for_null_among_plain_rows(features, number, beside):
    rest = [None] * (len(features) - 1)
    found = model(features).predict_many([[[beside, *rest]], [[beside, *rest], [number, *rest]]])
    assert not isinstance(found[0], BadInstance)
    assert isinstance(found[1], BadInstance)
    assert (found[1].row, found[1].column) == (1, features[0].name)
    assert "null means missing" in str(found[1])


def test_an_error_names_row_and_column():
    (found,) = model().predict_many([[[1, "Oslo", True, None], FINE | {"age": "old"}]])
    assert isinstance(found, BadInstance)
    assert (found.row, found.column) == (1, "age")
    assert str(found) == "Row 1, column 'age' takes numbers, not 'old'."
    (found,) = model().predict_many([[{"ages": 3}]])
    assert isinstance(found, BadInstance) and "'ages' is not a column" in str(found) and "age, town" in str(found)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [({"since"}, "Row 0 lacks since."), (set(FINE), "Row 0 lacks age, town, member, since.")],
)
def test_an_omitted_column_is_required(left_out, said):
    (found,) = model().predict_many([[{name: value for name, value in FINE.items() if name not in left_out}]])
    assert isinstance(found, BadInstance)
    assert (found.row, found.column) == (0, min(left_out, key=list(FINE).index))
    assert str(found) == f"{said} Name every column of the model, with null where there is no value."


def test_a_target_value_in_a_row_is_ignored():
    predictor = model()
    row = {"age": 30, "town": "Oslo", "member": True, "since": None}
    assert predictor.predict_many([[row]]) == predictor.predict_many([[{**row, "left": "yes"}]])


def test_numbers_alone_take_one_stack():
    features = [Feature(f"x{at}", "numeric", mean=at, scale=1 + at, indicator=at % 2 == 0) for at in range(5)]
    predictor = model(features, ())
    rows = [[0.5, None, 2, -1e9, 3], {f"x{at}": at for at in range(5)}]
    (answer,) = predictor.predict_many([rows])
    assert not isinstance(answer, BadInstance)
    assert all(map(close, answer, predictor.predict(rows)))
    block = predictor.intake.matrix(np.array([[0.5, 1, 2, -1e9, 3]]))
    assert isinstance(block, Block) and predictor.scores(block).shape == (1, 1)
    with pytest.raises(BadInstance, match="x3"):
        predictor.intake.matrix(np.array([[1.0, 2, 3, np.inf, 5]]))
    single = model([FEATURES[0]], ())
    assert all(map(close, single.predict_many([[[3], {"age": None}]])[0], single.predict([[3], {"age": None}])))
