"""The benchmarks' own arithmetic: parsing responses, percentiles, and ratios."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures.serving import rows
from bench.load import Answer, Answers, Seen, Unreadable, median, percentile
from bench.rows import Row
from bench.servers import ask

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n"


def read(parts: Iterable[bytes]) -> list[Answer]:
    reader = Answers()
    return [answer for part in parts if (answer := reader.feed(part)) is not None]


@given(
    st.sampled_from([(PLAIN, Answer(200, closes=False)), (CHUNKED, Answer(503, closes=True))]),
    st.integers(0),
    st.integers(1, 40),
)
def test_a_response_is_parsed_however_it_is_split(case: tuple[bytes, Answer], seed: int, most: int) -> None:
    data, wanted = case
    chance, parts, at = random.Random(seed), [], 0
    while at < len(data):
        size = chance.randint(1, most)
        parts.append(data[at : at + size])
        at += size
    assert read(parts) == [wanted]
    assert read([*parts, *parts]) == [wanted, wanted]
    assert read([data[:-1]]) == []


def test_an_answer_of_http_1_0_closes() -> None:
    assert read([b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"]) == [Answer(200, closes=True)]


@pytest.mark.parametrize("data", [b"no http\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_invalid_response_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        Answers().feed(data)


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_enough_are_not_above(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_rounds_are_summed_up_by_their_medians_and_all_their_failures() -> None:
    seen = [Seen(10, 1, 5, failed=1, held=200), Seen(30, 3, 9, failed=0, held=190), Seen(20, 2, 7, failed=2, held=200)]
    assert median(seen) == Seen(20, 2, 7, failed=3, held=190)


def test_each_figure_is_compared_with_its_best_peer() -> None:
    naive = "naive FastAPI, 2 workers"
    found = {
        ("shipped", 0): Seen(500, 0.002, 0.004), ("shipped", 1): Seen(4000, 0.010, 0.020),
        (naive, 0): Seen(400, 0.001, 0.004), (naive, 1): Seen(500, 0.1, 0.2),
        ("quick", 0): Seen(1, 1, 1), ("quick", 1): Seen(1000, 0.1, 0.4),
        ("steady", 0): Seen(1, 1, 1), ("steady", 1): Seen(800, 0.1, 0.1),
    }  # fmt: skip
    made = list(rows(found))
    assert [round(row.measured or 0, 6) for row in made] == [8, 10, 4, 5, 0.5]
    assert [row.met for row in made] == [True, True, True, True, False]
    assert ("quick" in made[2].reference, "steady" in made[3].reference) == (True, True)


def test_a_peer_that_did_not_start_is_reported_in_its_row() -> None:
    found = {("shipped", at): Seen(1, 1, 1) for at in (0, 1)}
    made = list(rows(found, "LitServe did not start: no such file"))
    assert all(row.measured is None and not row.met and "did not start" in row.reference for row in made)


def test_a_row_meets_its_aim_from_the_aim_on() -> None:
    assert Row("G", "x", 1.0, 1.0, "y").met
    assert not Row("G", "x", 0.99, 1.0, "y").met


def test_a_request_says_how_long_its_body_is() -> None:
    head, _, body = ask("POST", "/p", b'{"a":1}', "k").partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert b"Content-Length: 7" in head
    assert b"Authorization: Bearer k" in head
