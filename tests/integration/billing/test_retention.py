"""Old holds and quotes are removed: what was spent, and its ledger, stays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.db import ProgrammingError, transaction

from billing.budgets import budgets, holds
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import record_usage
from billing.models import Hold, HoldShare, LedgerPosting, Quote, SenderDay
from billing.money import Money
from billing.pricing import quotes
from billing.tasks import purge_expired
from tenants.clock import now
from tests.support import selling
from tests.support.factories import default_project_id, in_tenant, make_tenant
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)


def test_old_quotes_and_released_holds_go_and_every_sum_stays(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    tenant = make_tenant()
    project = default_project_id(tenant)
    with in_tenant(tenant) as actor:
        selling.provision_defaults()
        budgets.create_budget(actor=actor, amount=Decimal(50), at_limit="block_new")
        demo_clock.advance(timedelta(hours=1))
        asked = quotes.estimate(
            quotes.Work(project_id=project, meter="device_seconds", dims=DIMS, typical_s=10, worst_s=20)
        )
        quotes.bind(actor=actor, project_id=project, body={"a": 1}, estimate=asked)
        over = holds.hold(project_id=project, subject="job:1", amount=Money(Decimal(1), "EUR"))
        holds.hold(project_id=project, subject="job:2", amount=Money(Decimal(1), "EUR"))
        record_usage([interval(project, now() - timedelta(minutes=5), 60)], hold_id=over)
        holds.release(hold_id=over)
        postings = LedgerPosting.objects.count()

    def left() -> tuple[int, int, int]:
        with in_tenant(tenant):
            return Quote.objects.count(), Hold.objects.count(), HoldShare.objects.count()

    def tidied(days: int) -> tuple[int, int, int]:
        demo_clock.advance(timedelta(days=days))
        with as_control():
            purge_expired()
        return left()

    assert tidied(29) == (1, 2, 2)
    assert tidied(2) == (0, 2, 2)
    assert tidied(368) == (0, 2, 2)
    assert tidied(2) == (0, 1, 1), "the open one stays"
    with in_tenant(tenant):
        assert LedgerPosting.objects.count() == postings
        assert list(ledger_faults()) + list(reconcile_faults()) == []
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            HoldShare.objects.all().delete()


def test_what_a_sender_reported_on_a_day_is_counted_for_ninety_days(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    tenant = make_tenant()
    today = now().astimezone(UTC).date()
    with in_tenant(tenant) as actor:
        for days in (0, 89, 91):
            SenderDay.objects.create(sender_id=actor.id, day=today - timedelta(days=days), events=1, amount=1)
    with as_control():
        purge_expired()
    with in_tenant(tenant):
        left = {today - day for day in SenderDay.objects.values_list("day", flat=True)}
    assert left == {timedelta(0), timedelta(days=89)}
