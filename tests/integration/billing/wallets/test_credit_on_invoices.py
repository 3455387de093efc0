"""Credit on invoices: shown live by drafts, used once by the finalised, returned by a void, carried over from below zero."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from billing import queries, tasks
from billing.invoices import crediting, paying, topping_up, voiding
from billing.ledger.reconcile import reconcile_faults
from billing.metering.metering import record_usage, waive_usage
from billing.models import CreditBlock, Invoice, Payment, TopUp
from billing.wallets import expiring
from tenants.errors import ExchequerError
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import SweepFailed
from tenants.models import Notification, OutboxMessage, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import (
    APRIL,
    IN_APRIL,
    IN_MARCH,
    draft_of,
    finalise,
    name_the_seller,
    used,
)
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.billing.wallets.scene import accounts, euro, grant, left, seen, withdraw
from tests.support import factories, selling
from tests.support.billing.runs import check_that_runs_agree
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
#: 3.00 at 0.00005 a second.
THREE = 60_000
MAY = datetime(2027, 5, 2, 12, tzinfo=UTC)


def granted_in_march(demo_clock: DemoClock, tenant: Tenant, amount: str, **more: object) -> UUID:
    demo_clock.move_to(IN_MARCH)
    block = grant(tenant, amount, **more)  # type: ignore[arg-type]
    demo_clock.move_to(IN_APRIL)
    return block


def credit(tenant: Tenant, invoice: UUID, *parts: crediting.Part, paid_back: crediting.PaidBack = "refund") -> None:
    with selling.role("exchequer_operator"):
        crediting.credit(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, parts=parts, reason="a node failed",
            paid_back=paid_back,
        )  # fmt: skip


def pay(tenant: Tenant, invoice: UUID, amount: str) -> None:
    received = paying.Received(amount=Decimal(amount), received_on=IN_APRIL.date())
    with selling.role("exchequer_operator"):
        paying.mark_paid(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, received=received)


def void(tenant: Tenant, invoice: UUID) -> UUID | None:
    with selling.role("exchequer_operator"):
        return voiding.void(
            operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, reason="a wrong address", reissue=True
        )


def with_wallet(demo_clock: DemoClock, *, tax: str | None = None) -> tuple[Tenant, UUID]:
    """Return a tenant with 3.00 in its wallet, by a credit note on March, and its draft of April over 2.00."""
    name_the_seller()
    tenant = used(demo_clock, THREE, tax_rate=Decimal(tax) if tax else None)
    finalise(tenant)
    march = draft_of(tenant)
    total = seen(tenant, march).total
    pay(tenant, march, f"{total.amount}")
    credit(tenant, march, paid_back="wallet")
    with tenant_scope(tenant.id):
        project = queries.invoice_lines(march)[0].project_id
        assert project is not None
        record_usage([interval(project, IN_APRIL - timedelta(hours=12), 40_000)])
    demo_clock.move_to(MAY)
    return tenant, draft_of(tenant, APRIL)


def test_a_draft_shows_promotional_credit_before_tax_and_the_invoice_uses_it(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE, tax_rate=Decimal(19))
    block = granted_in_march(demo_clock, tenant, "1.00")
    invoice = draft_of(tenant)
    draft = seen(tenant, invoice)
    assert (draft.subtotal, draft.tax, draft.total, draft.due) == (
        euro("2.00"), euro("0.38"), euro("2.38"), euro("2.38"),
    )  # fmt: skip
    assert [(one.block_id, one.amount, one.before_tax) for one in draft.credits] == [(block, euro("1.00"), True)]
    assert left(tenant) == [euro("1.00")]
    page, finance = f"/t/{tenant.slug}/invoices/{invoice}/", client_for(tenant, "finance")
    assert "Promotional credit: a pilot project" in words(finance.get(page))
    finalise(tenant)
    assert "Promotional credit: a pilot project" in words(finance.get(page))
    view = seen(tenant, invoice)
    assert (view.total, view.credits, view.state) == (draft.total, draft.credits, "finalised")
    assert left(tenant) == [euro("0.00")]
    # The seller earned 3.00 and gave 1.00 of it away.
    assert accounts(tenant) == {
        "receivable": Decimal("2.38"), "revenue": Decimal(-3), "tax": Decimal("-0.38"), "write_off": Decimal(1),
    }  # fmt: skip
    with tenant_scope(tenant.id):
        kinds = [line.kind for line in queries.invoice_lines(invoice)]
    assert kinds == ["usage", "promotional_credit"]


def test_lower_priorities_and_earlier_expiries_are_used_first(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE)
    demo_clock.move_to(IN_MARCH)
    grant(tenant, "1.00", priority=90, expires_on=date(2027, 4, 5))
    grant(tenant, "1.00", expires_on=date(2027, 9, 1))
    grant(tenant, "1.50", expires_on=date(2027, 6, 1))
    grant(tenant, "0.75", priority=1)
    demo_clock.move_to(IN_APRIL)
    finalise(tenant)
    assert left(tenant) == [euro("1.00"), euro("0.25"), euro("0.00"), euro("0.00")]
    assert seen(tenant, draft_of(tenant)).state == "paid"


def test_the_wallet_pays_what_is_due_and_a_later_month_shows_no_money_of_an_earlier_draft(
    demo_clock: DemoClock,
) -> None:
    tenant, invoice = with_wallet(demo_clock, tax="19")
    assert left(tenant) == [euro("3.57")]
    with tenant_scope(tenant.id):
        project = queries.invoice_lines(invoice)[0].project_id
        assert project is not None
        record_usage([interval(project, MAY - timedelta(hours=12), 40_000)])
    april, may = seen(tenant, invoice), seen(tenant, draft_of(tenant, date(2027, 5, 1)))
    assert (april.total, april.covered, april.due) == (euro("2.38"), euro("2.38"), euro("0.00"))
    assert (may.total, may.covered, may.due) == (euro("2.38"), euro("1.19"), euro("1.19"))
    finalise(tenant, invoice)
    view = seen(tenant, invoice)
    assert (view.state, view.paid, view.due) == ("paid", euro("2.38"), euro("0.00"))
    assert left(tenant) == [euro("1.19")]
    with tenant_scope(tenant.id):
        (payment,) = Payment.objects.filter(invoice=invoice)
        assert (payment.method, payment.amount) == ("wallet", Decimal("2.38"))


def test_a_void_returns_what_credit_paid_and_the_invoice_in_its_place_uses_it_again(demo_clock: DemoClock) -> None:
    tenant, invoice = with_wallet(demo_clock)
    demo_clock.move_to(IN_APRIL)
    grant(tenant, "0.50")
    demo_clock.move_to(MAY)
    finalise(tenant, invoice)
    assert left(tenant) == [euro("1.50"), euro("0.00")]
    made = void(tenant, invoice)
    assert made is not None
    assert left(tenant) == [euro("3.00"), euro("0.50")]
    assert seen(tenant, invoice).state == "void"
    finalise(tenant, made)
    assert (left(tenant), seen(tenant, made).state) == ([euro("1.50"), euro("0.00")], "paid")
    assert [one.amount for one in seen(tenant, made).credits] == [euro("0.50"), euro("1.50")]


def below_zero(demo_clock: DemoClock) -> tuple[Tenant, UUID]:
    """Return a tenant with the draft of April, in which usage of March was waived: 3.00 and 19 % of tax go back."""
    name_the_seller()
    tenant = used(demo_clock, 60, tax_rate=Decimal(19))
    project, attempt = factories.default_project_id(tenant), uuid4()
    with tenant_scope(tenant.id):
        record_usage([interval(project, IN_MARCH, THREE, job_id=uuid4(), attempt_id=attempt)])
    finalise(tenant)
    pay(tenant, draft_of(tenant), f"{seen(tenant, draft_of(tenant)).total.amount}")
    with tenant_scope(tenant.id):
        waive_usage(attempt, reason="the node failed")
    demo_clock.move_to(MAY)
    return tenant, draft_of(tenant, APRIL)


def test_a_total_below_zero_is_finalised_at_zero_and_carried_over_into_the_wallet(demo_clock: DemoClock) -> None:
    tenant, invoice = below_zero(demo_clock)
    draft = seen(tenant, invoice)
    assert (draft.total, draft.due) == (euro("0.00"), euro("0.00"))
    finalise(tenant, invoice)
    view = seen(tenant, invoice)
    assert (view.state, view.total, view.tax) == ("paid", euro("0.00"), euro("-0.57"))
    with tenant_scope(tenant.id):
        line = queries.invoice_lines(invoice)[-1]
        assert (line.kind, line.amount) == ("carried_over", euro("3.57"))
        (block,) = CreditBlock.objects.all()
        assert (block.kind, block.source, block.remaining) == ("paid", "carried", Decimal("3.57"))
    assert accounts(tenant)["wallet"] == Decimal("-3.57")
    made = void(tenant, invoice)
    assert (left(tenant), accounts(tenant).get("wallet")) == ([euro("0.00")], None)
    finalise(tenant, made)
    assert left(tenant) == [euro("0.00"), euro("3.57")]
    seen(tenant, invoice)


def test_what_was_carried_over_and_used_keeps_its_invoice(demo_clock: DemoClock) -> None:
    tenant, invoice = below_zero(demo_clock)
    finalise(tenant, invoice)
    with tenant_scope(tenant.id):
        record_usage([interval(factories.default_project_id(tenant), MAY - timedelta(hours=12), 20_000)])
    demo_clock.move_to(MAY + timedelta(days=31))
    finalise(tenant, draft_of(tenant, date(2027, 5, 1)))
    with pytest.raises(voiding.CannotVoid):
        void(tenant, invoice)
    assert left(tenant) == [euro("2.38")]


def test_credit_that_expires_is_announced_once_and_written_off_after_the_last_bill_it_may_pay(
    demo_clock: DemoClock,
) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE)
    reader = factories.make_member(tenant, "finance")
    granted_in_march(demo_clock, tenant, "5.00", expires_on=date(2027, 4, 20))
    for _ in range(2):
        with selling.as_control():
            expiring.sweep()
    with tenant_scope(tenant.id):
        (told,) = Notification.objects.filter(user=reader, kind="credit")
        assert "€5.00 of credit expires on 20 April 2027" in told.title
        assert OutboxMessage.objects.filter(topic="tenants.NotificationRaised").exists()
    demo_clock.move_to(datetime(2027, 4, 25, tzinfo=UTC))
    with selling.as_control():
        expiring.sweep()
    assert left(tenant) == [euro("5.00")]
    assert seen(tenant, draft_of(tenant)).total == euro("0.00")
    finalise(tenant)
    with selling.as_control():
        expiring.sweep()
    assert left(tenant) == [euro("0.00")]
    assert accounts(tenant) == {"revenue": Decimal(-3), "write_off": Decimal(3)}
    seen(tenant, draft_of(tenant))


def test_credit_that_ends_within_the_month_pays_for_the_usage_of_its_days(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE)
    project = factories.default_project_id(tenant)
    demo_clock.move_to(datetime(2027, 3, 20, 13, tzinfo=UTC))
    for amount, expires_on in (("1.50", date(2027, 3, 23)), ("9.00", date(2027, 3, 25)), ("7.00", date(2027, 3, 21))):
        grant(tenant, amount, expires_on=expires_on)
    # 1.00 on 21 and 23 March each, and as much on the day on which the last of them is over.
    for day in (21, 23, 25):
        demo_clock.move_to(datetime(2027, 3, day, 13, tzinfo=UTC))
        with tenant_scope(tenant.id):
            record_usage([interval(project, datetime(2027, 3, day, 0, 30, tzinfo=UTC), 20_000)])
    demo_clock.move_to(IN_APRIL)
    with selling.as_control():
        expiring.sweep()
    assert left(tenant) == [euro("1.50"), euro("9.00"), euro("7.00")], "a draft may still use them"
    invoice = draft_of(tenant)
    # 0.84 on 19 March and 2.16 on 20 March; no credit was valid on 19 and 25 March.
    assert seen(tenant, invoice).subtotal == euro("1.84")
    check_that_runs_agree()
    finalise(tenant)
    assert seen(tenant, invoice).subtotal == euro("1.84")
    assert left(tenant) == [euro("0.50"), euro("8.00"), euro("4.84")]
    with selling.as_control():
        expiring.sweep()
    assert left(tenant) == [euro("0.00")] * 3
    seen(tenant, invoice)


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
def test_credit_that_ends_pays_for_no_minute_of_the_day_on_which_it_ends(demo_clock: DemoClock, zone: str) -> None:
    name_the_seller()
    demo_clock.move_to(IN_MARCH)
    tenant = factories.make_tenant(timezone=zone)
    grant(tenant, "9.00", expires_on=date(2027, 3, 23))
    # As much before the midnight at which it ends as after it.
    midnight = datetime(2027, 3, 23, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    demo_clock.move_to(midnight + timedelta(hours=8))
    with tenant_scope(tenant.id):
        start = midnight - timedelta(seconds=20_000)
        record_usage([interval(factories.default_project_id(tenant), start, 40_000)])
    # The organisation may move on: what was used keeps its day.
    with tenant_scope(tenant.id), selling.as_control():
        Tenant.objects.filter(pk=tenant.pk).update(timezone="Pacific/Kiritimati")
    demo_clock.move_to(IN_APRIL)
    assert seen(tenant, draft_of(tenant)).subtotal == euro("1.00")


def test_an_organisation_that_fails_holds_up_no_wallet_of_another(demo_clock: DemoClock) -> None:
    name_the_seller()
    broken = factories.make_tenant("broken")
    tenant = used(demo_clock, THREE)
    granted_in_march(demo_clock, tenant, "5.00", expires_on=date(2027, 4, 20))
    rule = topping_up.Rule(below=Decimal(5), amount=Decimal(10), most=Decimal(50))
    topping_up.change_rule(actor=factories.actor_for(tenant), rule=rule)
    demo_clock.move_to(datetime(2027, 4, 25, tzinfo=UTC))
    finalise(tenant)
    with tenant_scope(broken.id):
        Tenant.objects.filter(id=broken.id).update(timezone="Nowhere/Here")
    with selling.as_control(), pytest.raises(SweepFailed):
        tasks.tend_wallets()
    assert left(tenant) == [euro("0.00")]
    with tenant_scope(tenant.id):
        assert TopUp.objects.filter(automatic=True).count() == 1


def test_an_operator_takes_back_what_is_left(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE)
    block = granted_in_march(demo_clock, tenant, "5.00")
    finalise(tenant)
    withdraw(tenant, block)
    assert (left(tenant), accounts(tenant)["write_off"]) == ([euro("0.00")], Decimal(3))
    with pytest.raises(ExchequerError) as refused:
        withdraw(tenant, block)
    assert refused.value.code == "credit_used_up"
    seen(tenant, draft_of(tenant))


@pytest.mark.django_db(transaction=True)
def test_racing_finalisers_withdrawals_and_expiries_use_no_credit_twice(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE)
    block = granted_in_march(demo_clock, tenant, "4.00", expires_on=date(2027, 4, 1))
    invoice = draft_of(tenant)

    def act(n: int) -> str:
        try:
            if n % 3 == 0:
                return finalise(tenant, invoice)
            if n % 3 == 1:
                withdraw(tenant, block)
            else:
                with selling.as_control():
                    expiring.sweep()
        except ExchequerError as refused:
            return refused.code
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(9) as pool:
        done = list(pool.map(act, range(9)))
    assert set(done[::3]) == {"INV-000001"}
    view = seen(tenant, invoice)
    assert view.total in (euro("0.00"), euro("3.00"))
    assert left(tenant) == [euro("0.00")]
    assert accounts(tenant)["revenue"] == Decimal(-3)


def test_b12_credit_notes_of_an_invoice_never_exceed_what_was_paid_and_credit_goes_back_to_the_wallet(
    demo_clock: DemoClock,
) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE, 20_000, tax_rate=Decimal(19))
    granted_in_march(demo_clock, tenant, "1.00")
    finalise(tenant)
    invoice = draft_of(tenant)
    with tenant_scope(tenant.id):
        first, second, *_ = queries.invoice_lines(invoice)
    with pytest.raises(ExchequerError, match="At most"):
        credit(tenant, invoice, *(crediting.Part(one.id, one.amount.amount) for one in (first, second)))
    credit(tenant, invoice)
    view = seen(tenant, invoice)
    assert (view.total, view.credited, view.due) == (euro("3.57"), euro("3.57"), euro("0.00"))


def test_b12_money_of_the_wallet_is_not_refunded_to_the_payer(demo_clock: DemoClock) -> None:
    tenant, invoice = with_wallet(demo_clock)
    finalise(tenant, invoice)
    credit(tenant, invoice, paid_back="refund")
    view = seen(tenant, invoice)
    assert (view.credited, view.due) == (euro("2.00"), euro("0.00"))
    assert left(tenant) == [euro("1.00"), euro("2.00")]
    with tenant_scope(tenant.id):
        assert not Payment.objects.filter(invoice=invoice, kind="refund").exists()


def test_b12_promotional_credit_that_paid_after_tax_goes_back_as_such(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE, tax_rate=Decimal(19), terms={"paid_first": True})
    granted_in_march(demo_clock, tenant, "1.00")
    finalise(tenant)
    invoice = draft_of(tenant)
    view = seen(tenant, invoice)
    assert (view.total, view.paid, view.due) == (euro("3.57"), euro("1.00"), euro("2.57"))
    pay(tenant, invoice, "2.57")
    credit(tenant, invoice)
    seen(tenant, invoice)
    with tenant_scope(tenant.id):
        assert Payment.objects.get(kind="refund").amount == Decimal("2.57")
        assert CreditBlock.objects.get(source="credit_note").kind == "promotional"
    assert left(tenant) == [euro("0.00"), euro("1.00")]


def test_a_remainder_that_no_movement_explains_is_found(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, THREE)
    granted_in_march(demo_clock, tenant, "5.00")
    with tenant_scope(tenant.id):
        with selling.role("exchequer_operator"):
            CreditBlock.objects.update(remaining=Decimal(4))
        rules = [fault.rule for fault in reconcile_faults()]
    assert rules == [
        "what is left of a block of credit follows from its movements",
        "what is left of promotional credit equals the ledger",
    ]
    with tenant_scope(tenant.id):
        assert Invoice.objects.count() == 1
