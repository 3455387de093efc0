"""From draft to paid for many tenants, while the provider fails and writers are killed: nothing twice, nothing missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from billing import tasks
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import Collection, Invoice, PeriodRun, PreparedDraft
from billing.runs import running
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.fakes.stripe.faults import KINDS
from tests.integration.billing.collecting.till import Till
from tests.integration.billing.invoicing.scene import IN_APRIL, IN_MARCH, MARCH, draft_of, finalise, name_the_seller
from tests.support import selling
from tests.support.factories import default_project_id, make_tenant
from tests.support.usage import interval

pytestmark = pytest.mark.django_db
#: Hours between the sweeps: keys of the provider are alive at the second and expired at the later ones.
PAUSES_H = (0, 1, 24, 24, 24)
SWEEPS = 60


class Killed(BaseException):
    """What ends a writer, which no handler of errors catches."""


class Killer:
    """Kills writers before a statement by chance, so that each of them has to be called again."""

    def __init__(self) -> None:
        self.chance, self.kills = Random(14), Counter[str]()

    @contextmanager
    def watching(self, most: int) -> Iterator[None]:
        """Kill the work before one of its first so many statements, if it has that many."""
        left = self.chance.randint(1, most)

        def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return execute(sql, params, many, context)

        with connection.execute_wrapper(look):
            yield

    def after(self, name: str, work: Callable[[], object], most: int) -> None:
        """Do the work once under watch, and count it if it was killed."""
        try:
            with self.watching(most):
                work()
        except Killed:
            self.kills[name] += 1


def used_in_march(till: Till, count: int) -> list[Tenant]:
    """Return so many tenants with usage in March, each with a sum of its own kind."""
    till.demo_clock.move_to(IN_MARCH - timedelta(days=40))
    tenants = [make_tenant() for _ in range(count)]
    till.demo_clock.move_to(IN_MARCH)
    for at, tenant in enumerate(tenants):
        project, seconds = default_project_id(tenant), 15_000 + at % 40 * 1_000
        with tenant_scope(tenant.id):
            record_usage([interval(project, IN_MARCH - timedelta(seconds=seconds), seconds)])
    till.demo_clock.move_to(IN_APRIL)
    return tenants


def prepare(killer: Killer, count: int) -> None:
    """Run the month, in ten chunks and more than ten tries."""
    with selling.role("exchequer_operator"):
        run = running.order(operator=selling.SELLER, period=MARCH)

    def work() -> None:
        with selling.role("exchequer_control"):
            tasks.run_periods()

    for _ in range(20):
        killer.after("run", work, 40)
    work()
    with selling.role("exchequer_control"):
        done = PeriodRun.objects.get(id=run.id)
        assert (done.done, done.failed, done.finished_at is None) == (count, 0, False)


def finalise_all(killer: Killer, tenants: list[Tenant]) -> dict[UUID, UUID]:
    """Finalise each draft, every third after a kill; the numbers have no gap. Return invoices by tenant."""
    numbers, invoices = [], {}
    for at, tenant in enumerate(tenants):
        invoice = invoices[tenant.id] = draft_of(tenant)
        if at % 3 == 0:
            killer.after("finalise", lambda: finalise(tenant, invoice), 40)  # noqa: B023 (called at once)
        numbers.append(finalise(tenant, invoice))
    assert numbers == [f"INV-{number:06}" for number in range(1, len(tenants) + 1)]
    return invoices


def order_all(killer: Killer, tenants: list[Tenant]) -> None:
    """Let the ops worker handle what finalising published, every third tenant after a kill."""
    for at, tenant in enumerate(tenants):

        def drain() -> None:
            with selling.role("exchequer_control"):
                outbox.drain(tenant.id)  # noqa: B023 (called at once)

        if at % 3 == 0:
            killer.after("order", drain, 20)
        drain()


def collect(till: Till, killer: Killer, count: int) -> None:
    """Let people pay and the ops worker sweep, every third sweep with a kill, until all has arrived, and longer."""
    for hours in PAUSES_H:
        till.advance(hours=hours)
        for at in range(SWEEPS):
            for one in till.fake.store.all("invoice", status="open"):
                till.pay_at(one["hosted_invoice_url"])
            if at % 3 == 0:
                killer.after("sweep", till.sweep, 200)
            till.sweep()
            till.deliver()
            till.advance(seconds=61)
            with selling.role("exchequer_control"), connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM billing_payment")
                if cursor.fetchone() == (count,) and at > 3:
                    break


def paid_from_drafts(till: Till, monkeypatch: pytest.MonkeyPatch, count: int) -> Counter[str]:
    """Bring many drafts of a month to paid invoices; return how many writers were killed on the way."""
    monkeypatch.setattr(running, "CHUNK", max(count // 10, 1))
    name_the_seller()
    tenants, killer = used_in_march(till, count), Killer()
    prepare(killer, count)
    invoices = finalise_all(killer, tenants)
    till.fake.faults.seed(14)
    till.fake.faults.spread(0.2)
    till.fake.faults.stall_s = 0
    till.fake.events.doubled, till.fake.events.shuffled, till.fake.events.forged = 0.3, True, 0.1
    order_all(killer, tenants)
    collect(till, killer, count)
    stored = till.fake.store.all("invoice")
    assert Counter(one["metadata"]["our_id"] for one in stored) == Counter(map(str, invoices.values()))
    assert {one["status"] for one in stored} == {"paid"}
    for tenant in tenants:
        with tenant_scope(tenant.id):
            invoice = Invoice.objects.get()
            assert (invoice.pk, invoice.state, invoice.paid) == (invoices[tenant.id], "paid", invoice.total)
            assert {state for (state,) in Collection.objects.values_list("state")} == {"done"}
            assert [str(fault) for fault in (*reconcile_faults(), *ledger_faults())] == []
            with selling.role("exchequer_control"):
                assert PreparedDraft.objects.get().total == invoice.total
        assert till.payments(tenant) == [("payment", "stripe", invoice.total.normalize())]
    return killer.kills


def test_b14_drafts_are_paid_once_although_a_fifth_of_all_requests_fails_and_writers_are_killed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(paid_from_drafts(till, monkeypatch, 10)) == {"run", "finalise", "order", "sweep"}


@pytest.mark.nightly
def test_b14_a_thousand_drafts_are_paid_once_although_a_fifth_of_all_requests_fails_and_writers_are_killed(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(paid_from_drafts(till, monkeypatch, 1000)) == {"run", "finalise", "order", "sweep"}
    assert till.fake.faults.counts.keys() == set(KINDS)
