"""Drift on real tables: a shifted column is flagged within 500 requests, and quiet traffic raises no alert."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.conf import settings as configured
from numpy.typing import NDArray

from models_app.measures import numpy_bins, prediction_id
from models_app.measures.window import Window
from models_app.models import Endpoint, HealthAlert
from models_app.monitoring import feedback, windows
from models_app.recipes.tabular import table
from models_app.recipes.tabular.prediction import predict
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.support.datasets import TARGET, csv_bytes
from tests.support.factories import actor_for, make_tenant
from tests.support.model_versions import make_endpoint, make_version
from tests.unit.models_app.test_recipes import RECIPE, ingested, trained

# Three models learn and answer 36,000 rows one by one: too long for `make test-quick`.
pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("drift"), pytest.mark.services]
NAMES = ("breast_cancer", "diabetes", "digits")
#: Twenty quiet runs on each of these take long.
LONG = ("breast_cancer", "digits")
SWAPPED = "mean_radius"


@dataclass
class Learned:
    """A trained model and the rows held back from training."""

    model: predict.Predictor
    result: dict[str, Any]
    rows: dict[str, NDArray[Any]]
    truth: NDArray[Any]


def with_a_category(data: bytes) -> bytes:
    """Turn the first column into five named sizes of unequal frequency."""
    header, *lines = data.decode().splitlines()
    first = np.array([float(line.split(",")[0]) for line in lines])
    names = np.array(["tiny", "small", "middle", "large", "huge"])[
        np.searchsorted(np.quantile(first, [0.08, 0.25, 0.5, 0.85]), first)
    ]
    return "\n".join([header, *(f"{n},{line.split(',', 1)[1]}" for n, line in zip(names, lines, strict=True))]).encode()


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Learned]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    for name in NAMES:
        folder: Path = tmp_path_factory.mktemp(name)
        data = with_a_category(csv_bytes(name)) if name == "breast_cancer" else csv_bytes(name)
        parquet = ingested(folder, data)
        result = trained(folder / "run", parquet, RECIPE[name])
        model = predict.load(folder / "run" / "out")
        task = "regression" if name == "diabetes" else "classification"
        whole = table.read(folder / "run" / "in" / "data.parquet", target=TARGET, task=task, exclude=frozenset())
        test = table.split(whole.target, validation=0.15, test=0.25, seed=42).test
        rows = {
            column: np.array([values.values[at] for at in values.indices[test]], dtype=object)
            if isinstance(values, table.Strings)
            else values[test]
            for column, values in whole.columns.items()
        }
        found[name] = Learned(model, result, rows, whole.target.values[test])
    torch.set_num_threads(threads)
    return found


@pytest.fixture
def engineer() -> Actor:
    return actor_for(make_tenant(), "engineer")


@pytest.fixture
def deployed(engineer: Actor, learned: dict[str, Learned]) -> dict[str, Endpoint]:
    return {
        name: make_endpoint(
            make_version(
                engineer, name, baseline=one.result["baseline"], metrics=one.result["metrics"],
                signature=dict(one.model.signature), recipe=RECIPE[name],
            )
        )
        for name, one in learned.items()
    }  # fmt: skip


def drawn(one: Learned, seed: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, one.truth.size, count)


def serve(
    endpoint: Endpoint, one: Learned, chosen: NDArray[np.int64], *, flush_every: int = 80,
    change: Callable[[dict[str, NDArray[Any]]], None] = lambda columns: None,
) -> list[Any]:  # fmt: skip
    """Send rows as single requests, count them as a node does; return the predictions."""
    columns = {name: values[chosen].copy() for name, values in one.rows.items()}
    change(columns)
    instances = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    answers = [a["label"] if isinstance(a, dict) else a for a in one.model.predict(instances)]
    window = Window(numpy_bins.count)
    window.track(endpoint.version_id, endpoint.version.baseline)
    waits = np.random.default_rng(0).lognormal(1, 0.5, len(instances))
    for at, (instance, answer) in enumerate(zip(instances, answers, strict=True), start=1):
        window.add(
            endpoint.version_id, columns={name: [value] for name, value in instance.items()}, outputs=[answer],
            latency_ms=[float(waits[at - 1])], compute_ms=1.0,
        )  # fmt: skip
        if at % flush_every == 0 or at == len(instances):
            windows.flush(endpoint.tenant_id, endpoint.id, window)
    return answers


def alarms(endpoint: Endpoint) -> list[tuple[str, str]]:
    with tenant_scope(endpoint.tenant_id):
        return list(HealthAlert.objects.filter(endpoint=endpoint).values_list("kind", "subject"))


@pytest.mark.parametrize("name", NAMES)
def test_a_column_shifted_by_one_deviation_is_flagged_within_500_requests(learned, deployed, name):
    one, endpoint = learned[name], deployed[name]
    serve(endpoint, one, drawn(one, 1, 600))
    assert alarms(endpoint) == []
    column = next(f.name for f in one.model.features[3:] if f.kind == "numeric")

    def shift(columns):
        columns[column] += one.rows[column].std()

    serve(endpoint, one, drawn(one, 2, 500), change=shift)
    assert ("drift", column) in alarms(endpoint)
    assert {subject for kind, subject in alarms(endpoint) if kind == "drift"} == {column}


@pytest.mark.parametrize("name", NAMES)
def test_any_column_may_be_the_one_that_shifts(learned, deployed, name):
    """The same for every column, upwards and downwards, from the counts alone."""
    one = learned[name]
    chosen = drawn(one, 3, 500)
    features = one.result["baseline"]["features"]
    from models_app.measures import drift

    for column, feature in features.items():
        values = one.rows[column][chosen]
        if feature["kind"] == "categorical":
            continue
        deviation = one.rows[column].std() or one.model.features[list(features).index(column)].scale
        for sign in (1, -1):
            counts = numpy_bins.count(feature, values + sign * deviation)
            assert drift.drifted(feature["counts"], counts, len(features) + 1), (column, sign)


def test_swapped_categories_are_flagged_within_500_requests(learned, deployed):
    one, endpoint = learned["breast_cancer"], deployed["breast_cancer"]
    swap = {"tiny": "middle", "middle": "tiny"}

    def change(columns):
        columns[SWAPPED] = np.array([swap.get(value, value) for value in columns[SWAPPED]], dtype=object)

    serve(endpoint, one, drawn(one, 4, 500), change=change)
    assert ("drift", SWAPPED) in alarms(endpoint)


@pytest.mark.parametrize("name", ["diabetes", *(pytest.param(name, marks=pytest.mark.nightly) for name in LONG)])
def test_twenty_quiet_runs_raise_no_alarm_of_any_kind(learned, deployed, engineer, name):
    one = learned[name]
    version = deployed[name].version
    classes = one.model.classes
    for seed in range(20):
        endpoint = make_endpoint(version)
        chosen = drawn(one, 100 + seed, 600)
        answers = serve(endpoint, one, chosen, flush_every=120)
        key = prediction_id.derive_key(configured.EXCHEQUER.serving_key, endpoint.id)
        at = int(now().timestamp() * 1000)
        items = [
            {
                "prediction_id": prediction_id.sign(
                    key, version_id=version.id, at_ms=at, random=number.to_bytes(6, "big"),
                    outcome=classes.index(answer) if classes else answer,
                ),
                "label": classes[int(truth)] if classes else float(truth),
            }
            for number, (answer, truth) in enumerate(zip(answers, one.truth[chosen], strict=True))
        ]  # fmt: skip
        with tenant_scope(engineer.tenant_id):
            for part in (items[:60], items[60:]):
                found = feedback.record(actor=engineer, endpoint_id=endpoint.id, items=part)
                assert found.errors == []
        assert alarms(endpoint) == [], seed
