"""Usage by quantity: requests and milliseconds are counted, never split, and charged in whole units only."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing import queries
from billing.budgets import holds
from billing.defaults import INFERENCE_MS, INFERENCE_REQUESTS, PriceSpec
from billing.ledger.reconcile import ledger_faults
from billing.metering.metering import Interval, UsageRefused, record_usage
from billing.money import Money
from billing.queries.explain import explain
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import factories
from tests.support.selling import provision_defaults

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Tenant:
    from billing.pricing import publishing

    prices = (PriceSpec(INFERENCE_REQUESTS, {}, Decimal("0.01")), PriceSpec(INFERENCE_MS, {}, Decimal("0.001")))
    monkeypatch.setattr(publishing, "PRICES", prices)
    made = factories.make_tenant()
    with tenant_scope(made.id):
        provision_defaults(made.id)
    return made


def batch(project_id: UUID, start: datetime, number: int, key: str, **more: Any) -> Interval:
    return Interval(
        **{
            "key": key,
            "meter": INFERENCE_REQUESTS,
            "resource": "endpoint:1",
            "project_id": project_id,
            "start": start,
            "end": start + timedelta(milliseconds=7),
            "quantity": Decimal(number),
            "source": "serving",
            **more,
        }
    )


def test_a_count_is_one_segment_even_across_a_quarter_hour(tenant: Tenant, demo_clock: "DemoClock") -> None:
    demo_clock.advance(timedelta(hours=2))
    project = factories.default_project_id(tenant)
    edge = now().replace(minute=0, second=0, microsecond=0)
    with tenant_scope(tenant.id):
        record = record_usage([batch(project, edge - timedelta(milliseconds=3), 12, "a")])
        assert (record.quantity, record.amount) == (Decimal(12), Decimal("0.12"))
        again = record_usage([batch(project, edge - timedelta(milliseconds=3), 12, "a")])
        assert (again.accepted, again.conflicts) == (0, ())
        other = record_usage([batch(project, edge - timedelta(milliseconds=3), 13, "a")])
        assert other.conflicts == ("a",)
        assert list(ledger_faults()) == []


def test_the_invoice_has_a_line_and_explains_it_batch_by_batch(tenant: Tenant) -> None:
    project = factories.default_project_id(tenant)
    start = now()
    with tenant_scope(tenant.id):
        batches = [batch(project, start + timedelta(seconds=n), n + 1, f"b{n}") for n in range(4)]
        times = [batch(project, one.start, 5, f"{one.key}:ms", meter=INFERENCE_MS) for one in batches]
        record_usage([*batches, *times])
        draft = queries.draft_invoice()
        lines = {line.meter: line for line in queries.invoice_lines(draft.id or UUID(int=0))}
        assert (lines[INFERENCE_REQUESTS].quantity, lines[INFERENCE_REQUESTS].unit) == (Decimal(10), "request")
        assert lines[INFERENCE_MS].exact.amount == Decimal("0.02")
        shown = explain(draft.id, lines[INFERENCE_REQUESTS].n)
        assert [one.billable for one in shown.intervals] == [1, 2, 3, 4]
        assert {one.resource for one in shown.intervals} == {"endpoint:1"}


def test_a_hold_pays_whole_requests_and_the_rest_is_rated_zero(tenant: Tenant) -> None:
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        hold = holds.hold(project_id=project, subject="endpoint:1", amount=Money(Decimal("0.035"), "EUR"))
        record = record_usage([batch(project, now(), 5, "c")], hold_id=hold)
        assert (record.quantity, record.excluded, record.amount) == (3, 2, Decimal("0.03"))
        assert record.exhausted
        assert holds.release(hold_id=hold).amount == Decimal("0.005")
        assert list(ledger_faults()) == []


@pytest.mark.parametrize(
    ("meter", "quantity"),
    [
        (INFERENCE_REQUESTS, None),
        (INFERENCE_REQUESTS, Decimal(0)),
        (INFERENCE_REQUESTS, Decimal(-1)),
        (INFERENCE_REQUESTS, Decimal("NaN")),
        (INFERENCE_REQUESTS, Decimal("Infinity")),
        (INFERENCE_REQUESTS, Decimal("0.0000001")),
        (INFERENCE_REQUESTS, Decimal(10) ** 13),
        ("device_seconds", Decimal(5)),
    ],
)
def test_an_invalid_count_is_refused(tenant: Tenant, meter: str, quantity: Decimal | None) -> None:
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id), pytest.raises(UsageRefused):
        record_usage([batch(project, now() - timedelta(seconds=1), 1, "d", meter=meter, quantity=quantity)])
