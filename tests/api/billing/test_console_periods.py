"""A month over all organisations: ordered by the seller, prepared by the ops worker, listed with what stands out."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db import connection

from billing import tasks
from billing.metering.metering import record_usage
from billing.models import PeriodRun, PreparedDraft
from billing.runs import running
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct, Tenant
from tests.integration.billing.invoicing.scene import (
    IN_APRIL,
    IN_MARCH,
    draft_of,
    finalise,
    name_the_seller,
    used,
)
from tests.support import selling
from tests.support.factories import default_project_id, make_tenant
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
API = "/api/operator/v1/"
AFTER_CHUNK = 'UPDATE "billing_periodrun" SET "last_tenant"'


def post(browser: Any, path: str) -> Any:
    return browser.post(f"{API}{path}", {}, content_type="application/json")


def month(browser: Any, period: str = "2027-04", query: str = "") -> Any:
    answer = browser.get(f"{API}periods/{period}/{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def used_in_april(tenant: Tenant, seconds: int, hours: int = 1) -> None:
    with tenant_scope(tenant.id):
        project = default_project_id(tenant)
        record_usage([interval(project, IN_APRIL - timedelta(hours=hours, seconds=seconds), seconds)])


def prepared_rows(tenants: list[Tenant]) -> dict[str, Any]:
    rows = {}
    for tenant in tenants:
        with tenant_scope(tenant.id), selling.role("exchequer_control"):
            for row in PreparedDraft.objects.all():
                rows[tenant.slug] = row
    return rows


def test_a_month_is_run_and_listed_with_what_stands_out(demo_clock: DemoClock, seller: Any, as_control: Role) -> None:
    name_the_seller()
    steady, grown, gone, idle = (used(demo_clock, seconds) for seconds in (10_000, 10_000, 10_000, 1))
    make_tenant("unused")
    assert draft_of(idle)  # of 0.00
    finalise(steady)
    used_in_april(steady, 10_000)
    used_in_april(grown, 13_800)
    finance, support = seller("platform_finance"), seller("platform_support")
    assert month(finance) == {"run": None, "results": [], "next": None}
    assert post(support, "periods/2027-04/run/").status_code == 403
    run, again = (post(finance, "periods/2027-04/run/") for _ in range(2))
    assert (run.status_code, run.json()["id"]) == (202, again.json()["id"])
    assert month(support)["run"]["started_at"] is None
    with as_control():
        assert tasks.run_periods() == 5
        assert tasks.run_periods() == 0
        tasks.reconcile_all()
        tasks.reconcile()
    listed = month(support)
    assert {name: listed["run"][name] for name in ("tenants", "done", "failed")} == {
        "tenants": 5,
        "done": 5,
        "failed": 0,
    }
    assert listed["run"]["finished_at"] > listed["run"]["started_at"]
    rows = {row["tenant"]["slug"]: row for row in listed["results"]}
    assert list(rows)[-1] == steady.slug
    assert set(rows) == {one.slug for one in (steady, grown, gone)}
    assert {slug: [flag["flag"] for flag in row["flags"]] for slug, row in rows.items()} == {
        steady.slug: [],
        grown.slug: ["changed"],
        gone.slug: ["nothing_billed", "meter_gone"],
    }
    assert (rows[grown.slug]["total"]["amount"], rows[grown.slug]["last_total"]["amount"]) == ("6.900000", "5.000000")
    assert (rows[grown.slug]["change"], rows[grown.slug]["state"], rows[grown.slug]["reconciled"]) == (
        "38.0",
        "draft",
        True,
    )
    assert (rows[gone.slug]["invoice"], rows[gone.slug]["state"], rows[gone.slug]["change"]) == (None, "none", "-100.0")
    march = {"state": "draft", "number": ""}
    assert post(finance, "periods/2027-03/run/").status_code == 202
    with as_control():
        tasks.run_periods()
    before = {
        row["tenant"]["slug"]: {name: row[name] for name in march} for row in month(finance, "2027-03")["results"]
    }
    assert before[steady.slug] == {"state": "finalised", "number": "INV-000001"}
    assert before[grown.slug] == march
    first = month(finance, query="?limit=2")
    rest = month(finance, query=f"?limit=2&cursor={first['next'].split('cursor=')[1].split('&')[0]}")
    assert [*first["results"], *rest["results"]] == listed["results"]
    with selling.role("exchequer_operator"):
        assert Counter(OperatorAct.objects.filter(action="billing.period_run.ordered").values_list("target_label", flat=True)) == {
            "2027-04": 1, "2027-03": 1,
        }  # fmt: skip


def test_a_run_again_changes_only_what_changed(demo_clock: DemoClock, seller: Any, as_control: Role) -> None:
    same, more = used(demo_clock, 10_000), used(demo_clock, 10_000)
    finance = seller("platform_finance")
    for tenant in (same, more):
        used_in_april(tenant, 10_000)
    post(finance, "periods/2027-04/run/")
    with as_control():
        tasks.run_periods()
    first = prepared_rows([same, more])
    used_in_april(more, 5_000, hours=6)
    post(finance, "periods/2027-04/run/")
    with as_control():
        tasks.run_periods()
    second = prepared_rows([same, more])
    assert second[same.slug].prepared_at == first[same.slug].prepared_at
    assert second[more.slug].prepared_at > first[more.slug].prepared_at
    assert (first[more.slug].severity, second[more.slug].total) == (0, first[more.slug].total * 3 / 2)


@pytest.mark.django_db(transaction=True)
def test_a_failure_of_one_tenant_is_counted_and_stops_no_other(
    demo_clock: DemoClock, superuser: psycopg.Connection, seller: Any, as_control: Role
) -> None:
    name_the_seller()
    broken, sound = used(demo_clock), used(demo_clock)
    finalise(broken)
    finance = seller("platform_finance")
    superuser.execute("SET session_replication_role = replica")
    superuser.execute("UPDATE billing_invoiceline SET amount = 'NaN' WHERE tenant_id = %s", [broken.id])
    post(finance, "periods/2027-03/run/")
    with as_control():
        assert tasks.run_periods() == 2
    listed = month(finance, "2027-03")
    assert (listed["run"]["failed"], listed["run"]["finished_at"] is None) == (1, False)
    assert [row["tenant"]["slug"] for row in listed["results"]] == [sound.slug]


def test_bad_months_are_refused(demo_clock: DemoClock, seller: Any, as_control: Role) -> None:
    demo_clock.move_to(IN_APRIL)
    finance = seller("platform_finance")
    for wrong in ("2027-13", "april", "2027-04-02", "2027-4"):
        assert post(finance, f"periods/{wrong}/run/").status_code == 400, wrong
        assert finance.get(f"{API}periods/{wrong}/").status_code == 400, wrong
    ahead = post(finance, "periods/2027-05/run/")
    assert (ahead.status_code, list(ahead.json()["fields"])) == (400, ["period"])
    with as_control():
        assert not PeriodRun.objects.exists()


def test_while_another_worker_runs_months_nothing_is_done_twice(
    demo_clock: DemoClock, superuser: psycopg.Connection, seller: Any, as_control: Role
) -> None:
    tenant = used(demo_clock)
    post(seller("platform_finance"), "periods/2027-03/run/")
    superuser.execute("SELECT pg_advisory_lock(hashtextextended('billing.period_runs', 0))")
    with as_control():
        assert tasks.run_periods() == 0
        superuser.execute("SELECT pg_advisory_unlock_all()")
        assert tasks.run_periods() == 1
    assert list(prepared_rows([tenant])) == [tenant.slug]


class Killed(BaseException):
    """What ends a worker, which no handler of errors catches."""


@contextmanager
def watched(*, kill_at: int = 0) -> Iterator[list[int]]:
    """Count the statements between one chunk and the next; kill the run before it finishes chunk `kill_at`."""
    counts, since = [], 0

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal since
        since += 1
        if sql.startswith(AFTER_CHUNK):
            counts.append(since)
            since = 0
            if len(counts) == kill_at:
                raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield counts


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_b41_a_run_costs_the_same_for_each_chunk_of_tenants_and_goes_on_after_a_kill(
    demo_clock: DemoClock, seller: Any, as_control: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    finance = seller("platform_finance")
    monkeypatch.setattr(running, "CHUNK", 10)

    def ordered() -> None:
        assert post(finance, "periods/2027-03/run/").status_code == 202

    def make(number: int) -> list[Tenant]:
        demo_clock.move_to(IN_MARCH - timedelta(days=40))
        made = [make_tenant() for _ in range(number)]
        demo_clock.move_to(IN_MARCH)
        for tenant in made:
            project = default_project_id(tenant)
            with tenant_scope(tenant.id):
                record_usage([interval(project, IN_MARCH - timedelta(hours=1), 900)])
        demo_clock.move_to(IN_APRIL)
        return made

    tenants = make(20)
    ordered()
    with as_control():
        tasks.run_periods()
    ordered()
    with as_control(), watched() as few:
        small = peak_of(tasks.run_periods)
    tenants += make(40)
    ordered()
    with as_control():
        with pytest.raises(Killed), watched(kill_at=3):
            tasks.run_periods()
        run = PeriodRun.objects.get(finished_at=None)
        assert (run.tenants, run.done, run.last_tenant) == (60, 20, tenants[19].id)
    kept = prepared_rows(tenants)
    assert len(kept) == 20
    with as_control():
        assert tasks.run_periods() == 40
        assert PeriodRun.objects.get(id=run.id).done == 60
    rows = prepared_rows(tenants)
    assert len(rows) == 60
    assert {slug: rows[slug].prepared_at for slug in kept} == {slug: row.prepared_at for slug, row in kept.items()}
    ordered()
    with as_control(), watched() as many:
        large = peak_of(tasks.run_periods)
    assert (len(few), len(many)) == (2, 6)
    assert len(set(few[1:] + many[1:])) == 1, (few, many)
    assert large - small < 128 * 1024, (small, large)
