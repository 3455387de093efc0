"""Usage through the real door: keys, prices, holds, roll-ups, waivers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from billing import holds, pricing
from billing.metering import billed, billed_attempts, record_usage, waive_usage
from billing.models import Hold
from billing.money import Money
from tenants import clock
from tests.billing_usage import interval
from tests.factories import in_tenant, make_project, make_tenant

pytestmark = pytest.mark.django_db

def test_a_second_is_settled_from_the_hold_once() -> None:
    tenant = make_tenant()
    project = make_project(tenant)
    with in_tenant(tenant):
        pricing.provision_defaults()
        start = clock.now() - timedelta(seconds=0)
        job, attempt = uuid4(), uuid4()
        held = holds.hold(project_id=project.id, subject=f"job:{job}", amount=Money(Decimal("0.001"), "EUR"))
        usage = interval(project.id, start, 10, job_id=job, attempt_id=attempt)
        first = record_usage([usage], hold_id=held)
        again = record_usage([usage], hold_id=held)
        assert (first.accepted, first.amount, first.exhausted) == (1, Decimal("0.0005"), False)
        assert (again.accepted, again.amount) == (0, Decimal(0))
        rest = record_usage([interval(project.id, start + timedelta(seconds=10), 15, job_id=job, attempt_id=attempt)], hold_id=held)
        assert (rest.quantity, rest.excluded, rest.exhausted, rest.refused_by) == (Decimal(10), Decimal(5), True, "hold")
        assert billed([job])[job].seconds == 20
        assert billed_attempts([attempt])[attempt].measured == 25
        assert waive_usage(attempt_id=attempt, reason="node lost") == Decimal("0.001")
        assert waive_usage(attempt_id=attempt, reason="node lost") == 0
        assert (billed([job])[job].seconds, billed([job])[job].measured) == (0, 25)
        assert Hold.objects.get().settled == 0
        assert holds.release(hold_id=held).amount == Decimal("0.001")
        assert holds.release(hold_id=held).amount == 0
