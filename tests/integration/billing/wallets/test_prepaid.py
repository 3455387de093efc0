"""A prepaid wallet from month to month: what is unbilled counts until an invoice takes it out of the wallet."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from billing.budgets import holds
from billing.budgets.counters import BudgetExceeded
from billing.credit.queries import standing
from billing.metering.metering import record_usage, waive_usage
from billing.models import Contract, Wallet
from billing.pricing import contracts
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.billing.invoicing.scene import IN_APRIL, IN_MARCH, draft_of, finalise, name_the_seller, used
from tests.integration.billing.wallets.scene import euro, grant, left, seen
from tests.support import factories, selling
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
PREPAID = {"prepaid": True}


def hold(tenant: Tenant, amount: str, subject: str = "job:1") -> UUID:
    with tenant_scope(tenant.id):
        return holds.hold(project_id=factories.default_project_id(tenant), subject=subject, amount=euro(amount))


def available(tenant: Tenant) -> Decimal:
    with tenant_scope(tenant.id):
        found = standing("EUR")
        assert found is not None
        return found.available


def test_unbilled_usage_counts_until_its_invoice_takes_it_out_of_the_wallet(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60_000, terms=PREPAID, tax_rate=Decimal(25))
    demo_clock.move_to(IN_MARCH)
    grant(tenant, "4.00")
    demo_clock.move_to(IN_APRIL)
    # 3.00 of March is unbilled.
    assert available(tenant) == Decimal(1)
    with pytest.raises(BudgetExceeded, match="left in the wallet"):
        hold(tenant, "1.01")
    held = hold(tenant, "0.75")
    assert available(tenant) == Decimal("0.25")
    finalise(tenant)
    assert left(tenant) == [euro("1.00")]
    assert available(tenant) == Decimal("0.25")
    with tenant_scope(tenant.id):
        assert Wallet.objects.values_list("held", "spent").get() == (Decimal("0.75"), 0)
        # A hold cannot grow beyond the wallet, and what it releases is available again.
        with pytest.raises(BudgetExceeded):
            holds.extend(hold_id=held, amount=euro("0.26"))
        holds.extend(hold_id=held, amount=euro("0.25"))
        holds.release(hold_id=held)
    assert available(tenant) == Decimal(1)
    seen(tenant, draft_of(tenant))


def test_a_hold_settles_from_the_wallet_and_a_waiver_gives_back(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 60, terms=PREPAID)
    grant(tenant, "1.00")
    held, attempt = hold(tenant, "0.90"), uuid4()
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        recorded = record_usage(
            [interval(project, IN_APRIL - timedelta(hours=6), 10_000, job_id=uuid4(), attempt_id=attempt)], hold_id=held
        )
        assert (recorded.amount, recorded.exhausted) == (Decimal("0.5"), False)
        counted = Wallet.objects.get()
        assert (counted.held, counted.spent) == (Decimal("0.4"), Decimal("0.503"))
        waive_usage(attempt, reason="the node failed")
        counted = Wallet.objects.get()
        assert (counted.held, counted.spent) == (Decimal("0.9"), Decimal("0.003"))
    seen(tenant, draft_of(tenant))


def test_money_that_tax_needs_is_not_available_for_usage(demo_clock: DemoClock) -> None:
    from billing.models.wallets import CARRIED
    from billing.wallets import blocks

    tenant = used(demo_clock, 60, terms=PREPAID, tax_rate=Decimal(25))
    with tenant_scope(tenant.id), selling.role("exchequer_operator"):
        blocks.add(source=CARRIED, amount=euro("1.25"), by="tests", terms=blocks.Terms(starts_on=IN_APRIL.date()))
    assert available(tenant) == Decimal("0.997")


def test_credit_that_ends_pays_for_the_month_before_while_that_is_a_draft(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60_000, terms=PREPAID)
    demo_clock.move_to(IN_MARCH)
    grant(tenant, "5.00", expires_on=date(2027, 4, 10))
    assert available(tenant) == Decimal(2)
    demo_clock.move_to(IN_APRIL)
    # It pays 3.00 of March, and nothing of April, which ends after it.
    assert available(tenant) == 0
    grant(tenant, "0.50")
    assert available(tenant) == Decimal("0.5")


def test_a_wallet_counts_from_the_day_on_which_a_prepaid_contract_is_agreed(demo_clock: DemoClock) -> None:
    tenant = used(demo_clock, 60_000)
    hold(tenant, "0.75")
    starts_on = contracts.months_ahead(tenant, 1)[0]
    with tenant_scope(tenant.id):
        book = Contract.objects.get().book_id
    terms: dict[str, Any] = {"terms": contracts.ContractTerms(terms=PREPAID), "reason": "as agreed"}
    with selling.role("exchequer_operator"):
        contracts.agree(operator=selling.SELLER, tenant_id=tenant.id, book_id=book, starts_on=starts_on, **terms)
    with tenant_scope(tenant.id):
        assert Wallet.objects.values_list("counted", "held", "spent").get() == (True, Decimal("0.75"), Decimal(3))
        assert standing("EUR") is None
    hold(tenant, "100", "job:2")
    demo_clock.move_to(datetime(2027, 5, 1, tzinfo=UTC) + timedelta(minutes=1))
    with pytest.raises(BudgetExceeded):
        hold(tenant, "0.01", "job:3")
    seen(tenant, draft_of(tenant))
