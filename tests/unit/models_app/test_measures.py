"""Pure rules of monitoring: bins, windows, percentiles, PSI, signed ids, accuracy."""

from __future__ import annotations

import math
import random
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.health import tables
from models_app.measures import baseline, bins, drift, latency, numpy_bins, prediction_id
from models_app.measures.window import Sums, Window

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.binary(max_size=6),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["2026-01-02", "yes", "NO", "", "nan", "inf", "1e400"]),
)
NUMERIC = st.builds(
    lambda edges, source: {"kind": "numeric", "source": source, "edges": sorted(edges)},
    st.sets(st.floats(allow_nan=False, allow_infinity=False), max_size=6),
    st.sampled_from(["numeric", "boolean", "datetime"]),
)
CATEGORICAL = st.builds(
    lambda values: {"kind": "categorical", "values": sorted(values)}, st.sets(st.text(max_size=6), max_size=6)
)
COUNTS = st.integers(1, 9).flatmap(
    lambda size: st.tuples(*[st.lists(st.integers(0, 10_000), min_size=size, max_size=size)] * 2)
)


@given(st.one_of(NUMERIC, CATEGORICAL), st.lists(ANYTHING, max_size=30))
def test_every_value_falls_into_exactly_one_bin(feature, values):
    counts = bins.count(feature, values)
    assert len(counts) == bins.size(feature)
    assert sum(counts) == len(values)
    single = [0] * len(counts)
    for value in values:
        at = bins.bin_index(feature, value)
        assert 0 <= at < bins.size(feature)
        single[at] += 1
    assert counts == single
    assert numpy_bins.count(feature, values) == counts


@given(NUMERIC, st.lists(st.floats(width=32), max_size=50))
def test_arrays_are_counted_like_lists(feature, values):
    feature = {**feature, "source": "numeric"}
    assert numpy_bins.count(feature, np.array(values, dtype=np.float64)) == bins.count(feature, values)
    assert numpy_bins.count(feature, np.array(values, dtype=np.float32)) == bins.count(feature, values)


def test_what_is_missing_unseen_or_without_bounds_has_its_bin():
    number = {"kind": "numeric", "source": "numeric", "edges": [0.0, 1.0]}
    places = [
        bins.bin_index(number, value) for value in (None, "", math.nan, "abc", -math.inf, 0, 0.5, "0.5", 1, math.inf)
    ]
    assert places == [3, 3, 3, 3, 0, 1, 1, 1, 2, 2]
    word = {"kind": "categorical", "values": ["a", "true"]}
    assert [bins.bin_index(word, value) for value in ("a", True, b"a", "zebra", None)] == [0, 1, 0, 2, 3]
    answer = {"kind": "numeric", "source": "boolean", "edges": [0.5]}
    assert [bins.bin_index(answer, value) for value in ("No", False, "yes", 1, None)] == [0, 0, 1, 1, 2]
    date = {"kind": "numeric", "source": "datetime", "edges": [0.0]}
    assert [bins.bin_index(date, value) for value in ("1969-12-31", "1970-01-02T00:00:00", "soon")] == [0, 1, 2]


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan), st.sampled_from([0.0, 1.0])), max_size=400))
def test_a_baseline_counts_every_row_and_passes_its_own_check(values):
    made = baseline.baseline(
        {"x": ("numeric", np.array(values, dtype=np.float64)), "c": ("categorical", {"a": 7, None: 2, "b": 0})},
        len(values),
        predicted=np.array(values, dtype=np.float64),
    )
    bins.check(made)
    assert sum(made["features"]["x"]["counts"]) == len(values)
    assert made["features"]["c"] == {"kind": "categorical", "values": ["a"], "counts": [7, 0, 2], "typical": "a"}


def test_a_column_of_nearly_one_value_leaves_its_bin_when_it_is_shifted():
    values = np.zeros(1000)
    values[:10] = 3.0
    feature = baseline.numeric(values, "numeric")
    shifted = numpy_bins.count(feature, values + values.std())
    assert drift.drifted(feature["counts"], shifted)
    assert not drift.drifted(feature["counts"], numpy_bins.count(feature, values.astype(np.float32)))


@given(COUNTS)
def test_the_index_is_never_negative_and_zero_for_equals(pair):
    one, other = pair
    assert drift.psi(one, other) >= 0
    assert drift.psi(one, one) == 0
    assert drift.psi(one, other) == pytest.approx(drift.psi(other, one))


@pytest.mark.parametrize(
    ("share", "degrees", "value"),
    [(0.95, 1, 3.841), (0.99, 5, 15.086), (0.9999, 5, 25.745), (0.99999, 9, 40.52), (0.999, 30, 59.703)],
)
def test_chi_squared_is_close_to_the_tables(share, degrees, value):
    assert drift.chi_squared(share, degrees) == pytest.approx(value, rel=0.03)


def test_chance_alone_exceeds_the_bound_at_its_stated_rate():
    chance = np.random.default_rng(7)
    shares = [0.3, 0.3, 0.2, 0.1, 0.1]
    passed = sum(
        drift.psi(one, other) > drift.noise(one, other, tests=1)
        for one, other in zip(
            chance.multinomial(442, shares, size=20_000).tolist(),
            chance.multinomial(500, shares, size=20_000).tolist(),
            strict=True,
        )
    )
    assert passed <= 10  # two are expected


@given(st.lists(st.floats(0.001, 90_000), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(values, q):
    true = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    found = latency.percentile(latency.count(values), q)
    low, high = latency.span(latency.bucket(true))
    assert low <= found <= high


def test_no_request_has_no_percentile():
    assert latency.percentile([], 0.5) is None
    assert latency.percentile(latency.count([]), 0.5) is None
    assert sum(latency.count([0.0, -1.0, math.inf, math.nan])) == 4


BASELINE = {
    "format": 1,
    "rows": 4,
    "features": {
        "x": {"kind": "numeric", "source": "numeric", "edges": [1.0], "counts": [2, 2, 0]},
        "c": {"kind": "categorical", "values": ["a"], "counts": [4, 0, 0]},
    },
    "output": {"kind": "classes", "values": ["no", "yes"], "counts": [2, 2, 0, 0]},
}
BATCHES = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.one_of(st.none(), st.floats()), st.sampled_from(["a", "b", None]), st.sampled_from(["no", "yes"])
            )
        ),
        st.lists(st.floats(0, 100)),
        st.dictionaries(st.sampled_from(["bad_instance", "overloaded"]), st.integers(1, 5)),
    ),
    max_size=8,
)


@given(BATCHES, st.randoms(use_true_random=False))
def test_windows_add_up_in_any_order(batches, chance: random.Random):
    version = uuid4()

    def summed(order, drains):
        window, total = Window(), Sums()
        window.track(version, BASELINE)
        for rows, waits, errors in order:
            window.add(
                version,
                columns={"x": [row[0] for row in rows], "c": [row[1] for row in rows], "unknown": [1] * len(rows)},
                outputs=[row[2] for row in rows],
                latency_ms=waits,
                errors=errors,
                compute_ms=1,
            )
            if drains:
                total = window.drain().get(version, Sums()) + total
        return total + window.drain().get(version, Sums())

    shuffled = chance.sample(batches, len(batches))
    one, other = summed(batches, drains=False), summed(shuffled, drains=True)
    assert one == other
    assert one.rows == sum(len(rows) for rows, _, _ in batches)
    assert one.requests == sum(len(waits) + sum(errors.values()) for _, waits, errors in batches)
    if one.rows:
        assert {name: sum(counts) for name, counts in one.inputs.items()} == {"x": one.rows, "c": one.rows}
        assert sum(one.outputs) == one.rows


def test_what_could_not_be_stored_comes_back():
    version, window = uuid4(), Window()
    window.track(version, BASELINE)
    window.add(version, columns={"x": [0]}, outputs=["no"], latency_ms=[3])
    drained = window.drain()
    window.add(version, columns={"x": [2]}, outputs=["yes"], latency_ms=[3])
    window.give_back(drained)
    assert window.drain()[version].inputs == {"x": [1, 1, 0]}
    assert window.drain() == {}


KEY = prediction_id.derive_key("secret", UUID(int=1))


@given(
    st.one_of(st.integers(0, 10_000), st.floats(allow_nan=False, allow_infinity=False)),
    st.uuids(),
    st.integers(0, 2**48 - 1),
    st.binary(min_size=6, max_size=6),
)
def test_a_prediction_id_contains_the_signed_fields(outcome, version, at, noise):
    text = prediction_id.sign(KEY, version_id=version, at_ms=at, outcome=outcome, random=noise)
    found = prediction_id.verify(KEY, text)
    assert (found.version_id, found.at_ms, found.outcome) == (version, at, outcome)
    assert type(found.outcome) is type(outcome)


@settings(max_examples=300)
@given(st.integers(0, prediction_id.LENGTH - 1), st.sampled_from("abcXYZ019-_+/=é \0"))
def test_a_changed_or_foreign_id_is_forged(at, letter):
    text = prediction_id.sign(KEY, version_id=UUID(int=3), at_ms=5, outcome=1, random=b"abcdef")
    changed = text[:at] + letter + text[at + 1 :]
    if changed != text:
        with pytest.raises(prediction_id.ForgedPrediction):
            prediction_id.verify(KEY, changed)
    with pytest.raises(prediction_id.ForgedPrediction):
        prediction_id.verify(prediction_id.derive_key("secret", UUID(int=2)), text)


def test_a_prediction_has_one_name_only():
    text = prediction_id.sign(KEY, version_id=UUID(int=3), at_ms=5, outcome=1, random=b"abcdef")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = []
    for letter in letters:
        try:
            prediction_id.verify(KEY, text[:-1] + letter)
        except prediction_id.ForgedPrediction:
            continue
        accepted.append(letter)
    assert accepted == [text[-1]]


@given(st.text(max_size=80))
def test_any_text_is_forged(text):
    with pytest.raises(prediction_id.ForgedPrediction):
        prediction_id.verify(KEY, text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0.0\u00a0%"), (2.7e-7, "< 0.1\u00a0%"), (0.00099, "< 0.1\u00a0%"), (0.001, "0.1\u00a0%"), (1, "100.0\u00a0%")],
)  # fmt: skip
def test_a_tiny_share_is_shown_as_below_a_limit(value, shown):
    assert tables.share(value) == shown
