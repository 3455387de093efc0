"""What the demo draws before it uses a database: launches, traffic and tables, the same for the same seed."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from config.demo import serving, workload
from config.demo.organisations import CHARACTERS, HOSPITAL, LAB, MOST, RETAILER, ROLES, organisations
from config.demo.tables import MAKERS

UNTIL = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


def drawn(one, days=60, seed=7):
    return workload.launches(one, start=UNTIL - timedelta(days=days), until=UNTIL, days=days, seed=seed)


@pytest.mark.parametrize("one", CHARACTERS, ids=lambda one: one.slug)
def test_launches_follow_the_seed_the_week_the_day_and_the_growth(one) -> None:
    found = drawn(one)
    assert found == drawn(one)
    assert found != drawn(one, seed=8)
    assert len(found) == one.jobs + len(workload.RECENT_S)
    old = [launch for launch in found if launch.at < UNTIL - workload.REST]
    local = [launch.at.astimezone(ZoneInfo(one.timezone)) for launch in old]
    assert {at.hour for at in local} <= set(range(one.opens, one.opens + len(one.hours)))
    assert all(one.people[launch.person].role in ("engineer", "admin") for launch in found)
    assert {launch.project for launch in found} <= {"default", *(slug for slug, _ in one.projects)}
    assert all(workload.SHORTEST_S <= launch.seconds <= workload.LONGEST_S for launch in old)


def test_the_demos_usage_grows_dips_on_weekends_and_includes_failures() -> None:
    found = [launch for one in (HOSPITAL, RETAILER) for seed in range(5) for launch in drawn(one, seed=seed)]
    middle = UNTIL - timedelta(days=30)
    assert sum(launch.at >= middle for launch in found) > 1.2 * sum(launch.at < middle for launch in found)
    weekend = sum(launch.at.weekday() > 4 for launch in found)
    assert weekend < 0.2 * len(found)
    outcomes = Counter(launch.outcome for launch in found)
    assert outcomes.keys() == workload.OUTCOMES.keys()
    assert outcomes["succeeds"] > 0.7 * len(found)


def test_traffic_moves_at_the_end_of_one_endpoint_alone() -> None:
    for one in CHARACTERS:
        found = serving.ticks(one, start=UNTIL - timedelta(days=24), until=UNTIL, seed=7)
        assert found == serving.ticks(one, start=UNTIL - timedelta(days=24), until=UNTIL, seed=7)
        assert all(at < UNTIL and requests > 0 for at, requests, _ in found)
        moved = [at for at, _, moved in found if moved]
        assert bool(moved) == (one is RETAILER)
        assert all(at > UNTIL - timedelta(days=serving.DRIFT_DAYS) for at in moved)


@pytest.mark.parametrize("name", MAKERS)
def test_tables_are_whole_and_the_same_for_the_same_seed(name) -> None:
    made, again = MAKERS[name](Random("7")), MAKERS[name](Random("7"))
    assert made == again
    for sheet in (made.training, made.arriving):
        header, *rows = csv.reader(io.StringIO(sheet.as_csv().decode()))
        assert header == list(sheet.columns)
        assert len(rows) == len(sheet.rows) >= 300
        assert sheet.target == header[-1]
        assert {len(row) for row in rows} == {len(header)}
        assert 0 < sheet.moved <= len(rows)


def test_every_organisation_has_every_role_and_a_name_of_its_own() -> None:
    found = organisations(MOST)
    assert len({one.slug for one in found}) == len({one.name for one in found}) == MOST
    for one in found:
        assert {person.role for person in one.people} == set(ROLES)
        assert len({one.email(person) for person in one.people}) == len(one.people)
    assert organisations(3) == (HOSPITAL, RETAILER, LAB)
