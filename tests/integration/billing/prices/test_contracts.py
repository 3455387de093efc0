"""Contracts: the book of each month rates its usage, what was in force never changes, a tenant reads the price books of its contracts only."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client

from billing import queries
from billing.ledger.reconcile import reconcile_faults
from billing.metering.metering import record_usage
from billing.models import Contract, Price, PriceBook, PriceVersion
from billing.pricing import contracts, price_books, publishing, quotes
from billing.pricing.contracts import ContractTerms
from tenants import clock
from tenants.errors import Conflict, Invalid, PermissionDenied
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OperatorAct, Tenant
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import DIMS, interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock
    from tests.support.selling import Console

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]
Seller = Callable[..., "Console"]
ZONE = "Europe/Berlin"
#: Midnight of November in Berlin.
NOVEMBER = datetime(2026, 10, 31, 23, tzinfo=UTC)
TERMS = ContractTerms(payment_days=14, billing_name="Ada & Co", tax_number="DE136695976", tax_rate=Decimal(19))


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    demo_clock.move_to(NOVEMBER - timedelta(days=9))
    return factories.make_tenant(timezone=ZONE)


def dear_book(price: str = "0.01", currency: str = "EUR") -> PriceBook:
    """Return another book, whose device seconds cost this much."""
    with selling.role("exchequer_operator"), transaction.atomic():
        book = PriceBook.objects.create(name="Negotiated", currency=currency)
        publishing.store(book, 1, None, [selling.NewPrice("device_seconds", {}, Decimal(price))], "", by="tests")
        return book


def agree(tenant: Tenant, book: PriceBook, starts_on: date = date(2026, 11, 1), **more: Any) -> Contract:
    with selling.role("exchequer_operator"):
        return contracts.agree(
            **{
                "operator": selling.SELLER,
                "tenant_id": tenant.id,
                "book_id": book.pk,
                "starts_on": starts_on,
                "terms": TERMS,
                "reason": "negotiated",
                **more,
            }
        )


def test_b36_usage_is_rated_by_the_contract_of_its_local_month(tenant: Tenant, demo_clock: DemoClock) -> None:
    agree(tenant, dear_book())
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        cheap = price_books.price_at("device_seconds", DIMS)
        demo_clock.move_to(NOVEMBER + timedelta(hours=1))
        recorded = record_usage([interval(project, NOVEMBER - timedelta(seconds=60), 100)])
        assert recorded.amount == 60 * cheap.unit_amount + 40 * Decimal("0.01")
        october, november = sorted(queries.invoices(), key=lambda one: one.period)
        assert [october.exact.amount, november.exact.amount] == [60 * cheap.unit_amount, Decimal("0.4")]
        asked = quotes.Work(project_id=project, meter="device_seconds", dims=DIMS, typical_s=1, worst_s=1)
        assert quotes.estimate(asked).unit_amount == Decimal("0.01")
        assert list(reconcile_faults()) == []
        assert [(one.book, one.state) for one in queries.contracts()] == [
            ("Negotiated", "in_force"),
            ("Standard EUR", "past"),
        ]


@pytest.mark.django_db(transaction=True)
def test_b36_a_book_that_no_contract_named_at_the_time_is_a_fault(
    tenant: Tenant, demo_clock: DemoClock, as_control: Role, superuser: psycopg.Connection
) -> None:
    other = dear_book()
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        demo_clock.advance(timedelta(minutes=5))
        record_usage([interval(project, NOVEMBER - timedelta(days=9), 10)])
    with as_control(), tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
    with superuser.transaction():
        superuser.execute("SET LOCAL session_replication_role = replica")
        superuser.execute("UPDATE billing_contract SET book_id = %s WHERE tenant_id = %s", [other.pk, tenant.id])
    with as_control(), tenant_scope(tenant.id):
        assert len(list(reconcile_faults())) == 1


def test_b36_where_no_contract_runs_usage_is_free_and_nothing_is_quoted(tenant: Tenant, demo_clock: DemoClock) -> None:
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id), selling.role("exchequer_operator"):
        Contract.objects.update(ends_on=date(2026, 11, 1))
    with tenant_scope(tenant.id):
        demo_clock.move_to(NOVEMBER + timedelta(hours=1))
        recorded = record_usage([interval(project, NOVEMBER - timedelta(seconds=10), 30)])
        assert (recorded.quantity, recorded.amount) == (10, 10 * Decimal("0.00005"))
        with pytest.raises(price_books.PriceMissing):
            price_books.price_at("device_seconds", DIMS)
        assert queries.price_books() == []


def test_b36_contracts_of_a_tenant_never_overlap_and_begin_ahead(tenant: Tenant) -> None:
    book = dear_book()
    first = agree(tenant, book)
    again = agree(tenant, book, terms=replace(TERMS, payment_days=60))
    with tenant_scope(tenant.id):
        rows = Contract.objects.order_by("starts_on").values_list("starts_on", "ends_on", "payment_days")
        assert list(rows) == [(date(2026, 10, 1), date(2026, 11, 1), 30), (date(2026, 11, 1), None, 60)]
        assert first.pk != again.pk
    for wrong in (date(2026, 10, 1), date(2026, 9, 1), date(2026, 11, 15)):
        with pytest.raises(Invalid, match="coming month"):
            agree(tenant, book, wrong)
    sound = {"book": book, "currency": "EUR", "agreed_by": "x"}
    for change, constraint in (
        ({"starts_on": date(2026, 12, 1)}, "contract_one_at_a_time"),
        ({"starts_on": date(2026, 9, 1), "ends_on": date(2026, 10, 1)}, "never start in the past"),
        ({"starts_on": date(2026, 12, 2)}, "contract_runs_from_month_to_month"),
        ({"starts_on": date(2026, 12, 1), "currency": "USD"}, "currency of the day before"),
    ):
        with (
            tenant_scope(tenant.id),
            selling.role("exchequer_operator"),
            pytest.raises(IntegrityError, match=constraint),
            transaction.atomic(),
        ):
            Contract.objects.create(**{**sound, **change})


def test_b36_what_was_in_force_never_changes(tenant: Tenant, demo_clock: DemoClock) -> None:
    with tenant_scope(tenant.id), selling.role("exchequer_operator"):
        for statement in (
            "UPDATE billing_contract SET payment_days = 5",
            "UPDATE billing_contract SET starts_on = '2026-09-01'",
            "UPDATE billing_contract SET ends_on = '2026-10-01'",
            "DELETE FROM billing_contract",
        ):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        Contract.objects.update(ends_on=date(2026, 12, 1))
    demo_clock.move_to(datetime(2026, 12, 2, tzinfo=UTC))
    with (
        tenant_scope(tenant.id),
        selling.role("exchequer_operator"),
        pytest.raises(IntegrityError, match="has begun"),
        transaction.atomic(),
    ):
        Contract.objects.update(ends_on=None)


def test_a_contract_that_has_not_begun_is_withdrawn(tenant: Tenant) -> None:
    agree(tenant, dear_book())
    with selling.role("exchequer_operator"):
        contracts.withdraw(operator=selling.SELLER, tenant_id=tenant.id, reason="too dear")
        with pytest.raises(Conflict):
            contracts.withdraw(operator=selling.SELLER, tenant_id=tenant.id, reason="again")
    with tenant_scope(tenant.id):
        assert list(Contract.objects.values_list("starts_on", "ends_on")) == [(date(2026, 10, 1), None)]


def test_b36_a_book_in_another_currency_without_a_rate_is_refused_in_plain_words(tenant: Tenant) -> None:
    with pytest.raises(Invalid) as refused:
        agree(tenant, dear_book(currency="USD"))
    assert refused.value.fields == {
        "book": [
            "This book is in USD, the organisation pays in EUR, and no exchange rate is in force when the contract begins. "
            "Enter a rate from USD to EUR first, or choose another book."
        ]
    }


def test_b37_a_tenant_reads_the_books_of_its_contracts_and_no_other(tenant: Tenant, as_operator: Role) -> None:
    other = dear_book()
    stranger = factories.make_tenant()
    agree(stranger, other, date(2026, 11, 1))
    with tenant_scope(tenant.id):
        assert [book.name for book in PriceBook.objects.all()] == ["Standard EUR"]
        assert not PriceVersion.objects.filter(book=other).exists()
        assert not Price.objects.filter(version__book=other).exists()
        assert Contract.objects.count() == 1
        for statement in (
            "INSERT INTO billing_pricebook (id, name, currency) VALUES (gen_random_uuid(), 'x', 'EUR')",
            "UPDATE billing_pricebook SET name = 'mine'",
            "INSERT INTO billing_contract (id, tenant_id, book_id, currency, starts_on, agreed_by) "
            f"VALUES (gen_random_uuid(), '{tenant.id}', '{other.pk}', 'EUR', '2026-12-01', 'x')",
            "UPDATE billing_contract SET ends_on = '2026-12-01'",
            "SELECT * FROM billing_sums_of_month(ARRAY[]::uuid[], '2026-10-01', '{}')",
        ):
            with (
                pytest.raises(DatabaseError, match="permission denied"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)
    with tenant_scope(stranger.id):
        assert {book.name for book in PriceBook.objects.all()} == {"Standard EUR", "Negotiated"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_pricebook")
        assert cursor.fetchone() == (0,), "without a tenant there is none"
    with as_operator():
        assert PriceBook.objects.count() == 2


def test_only_finance_of_the_platform_agrees_and_both_logs_have_it(tenant: Tenant, as_operator: Role) -> None:
    book = dear_book()
    for operator in (
        replace(selling.SELLER, roles=("platform_admin",)),
        replace(selling.SELLER, roles=("platform_support",)),
        replace(selling.SELLER, key_id=uuid4()),
    ):
        with pytest.raises(PermissionDenied):
            agree(tenant, book, operator=operator)
    agree(tenant, book)
    with as_operator():
        assert OperatorAct.objects.filter(action="billing.contract.agreed", reason="negotiated").count() == 1
    with tenant_scope(tenant.id):
        entry = AuditEntry.objects.get(action="billing.contract.agreed")
        assert (entry.actor_label, entry.reason) == ("operator", "negotiated")
        assert entry.changes["book"] == ["Standard EUR", "Negotiated"]
        assert entry.changes["payment_days"] == [30, 14]


def test_the_console_shows_contracts_and_agrees_on_the_next_one(tenant: Tenant, seller: Seller) -> None:
    book, finance = dear_book(), seller("platform_finance")
    page = f"/contracts/{tenant.id}/"
    assert tenant.name in text_of(finance.get("/contracts/"))
    form = {
        "book": str(book.pk),
        "starts_on": "2026-11-01",
        "payment_days": "14",
        "billing_name": "Ada & Co",
        "tax_rate": "19",
        "reason": "negotiated",
    }
    refused = finance.post(page, {**form, "starts_on": "2026-10-01", "reason": ""})
    assert refused.status_code == 422
    assert "Standard EUR" in text_of(refused)
    assert finance.post(page, form).status_code == 302
    shown = text_of(finance.get(page))
    assert "Coming" in shown
    assert "Negotiated" in shown
    own = text_of(client_for(tenant, "finance").get(f"/t/{tenant.slug}/prices/"))
    assert "From 1 November 2026 on, Negotiated applies." in own
    assert seller("platform_support").post(page, form).status_code == 403
    assert seller("platform_support").get(page).status_code == 200
    assert finance.post(f"{page}withdraw/", {"reason": ""}).status_code == 400
    assert finance.post(f"{page}withdraw/", {"reason": "too dear"}).status_code == 302
    assert finance.get(f"/contracts/{uuid4()}/").status_code == 404


def test_the_console_shows_what_a_tenant_used_by_month(tenant: Tenant, seller: Seller, demo_clock: DemoClock) -> None:
    demo_clock.advance(timedelta(hours=2))
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        record_usage([interval(project, clock.now() - timedelta(minutes=5), 40)])
        cost = queries.month_to_date().cost
    shown = re.sub(r"<[^>]*>", " ", text_of(seller("platform_support").get(f"/contracts/{tenant.id}/")))
    assert f"{clock.now():%B %Y} Device time 40 second" in " ".join(shown.split())
    assert cost.amount > 0
    other = factories.make_tenant()
    assert "No usage yet" in text_of(seller("platform_finance").get(f"/contracts/{other.id}/"))


def test_a_version_is_previewed_against_last_month_in_sums(
    tenant: Tenant, seller: Seller, demo_clock: DemoClock
) -> None:
    project, other = factories.default_project_id(tenant), factories.make_tenant()
    with tenant_scope(tenant.id):
        demo_clock.advance(timedelta(minutes=30))
        start = NOVEMBER - timedelta(days=9) + timedelta(minutes=10)
        north = {"device_class": "cpu", "zone": "north"}
        record_usage([interval(project, start, 1000), interval(project, start, 500, dims=north, resource="device:2")])
        book = queries.price_books()[0]
        paid = queries.invoices()[0].exact.amount
        prices = [selling.NewPrice(one.meter, one.dims, one.unit_amount * 1000) for one in book.versions[0].prices]
    assert paid == 1000 * Decimal("0.00005") + 500 * Decimal("0.00002")
    demo_clock.move_to(NOVEMBER + timedelta(days=3))
    finance, address = seller("platform_finance"), f"/price-books/{book.id}/versions/new/"
    amounts = {f"price_{n}": f"{price.unit_amount:f}" for n, price in enumerate(prices)}
    page = finance.post(address, {**amounts, "base": "1", "note": "dearer", "effective_at": "", "step": "preview"})
    rows = {row.name: (row.before.amount, row.after.amount) for row in page.context["rows"]}
    assert rows == {tenant.name: (Decimal("0.06"), Decimal(60)), other.name: (0, 0)}
    assert "October 2026 by these prices" in text_of(page)
    past = {**amounts, "base": "1", "note": "dearer", "effective_at": "2020-01-01T00:00", "step": "preview"}
    refused = finance.post(address, past)
    assert (refused.status_code, "at least 5 minutes" in text_of(refused)) == (422, True)


def test_a_book_is_made_and_given_to_a_new_tenant(seller: Seller, as_control: Role, as_operator: Role) -> None:
    finance, admin = seller("platform_finance"), seller("platform_admin")
    assert finance.post("/price-books/new/", {"name": "Gold", "currency": "EU", "reason": "big"}).status_code == 422
    made = finance.post("/price-books/new/", {"name": "Gold", "currency": "USD", "reason": "big customers"})
    assert made.status_code == 302
    assert "Gold" in text_of(finance.get("/price-books/"))
    assert admin.post("/price-books/new/", {"name": "Mine", "currency": "USD", "reason": "no"}).status_code == 403
    with as_operator():
        book = PriceBook.objects.get(name="Gold")
    form = {"name": "Robotics", "slug": "robotics", "owner_email": "ada@robotics.example", "timezone": "UTC"}
    form |= {"book": str(book.pk), "payment_days": "10"}
    wrong = admin.post("/tenants/new/", {**form, "currency": "EUR"})
    assert wrong.status_code == 422
    assert "Enter a rate from USD to EUR first" in text_of(wrong)
    assert admin.post("/tenants/new/", {**form, "currency": "USD"}).status_code == 302
    plain = {**form, "slug": "audio", "name": "Audio", "book": "", "currency": "EUR"}
    assert admin.post("/tenants/new/", plain).status_code == 302
    with as_control():
        for slug, name in (("robotics", "Gold"), ("audio", "Standard EUR")):
            tenant = Tenant.objects.get(slug=slug)
            outbox.drain(tenant.id)
            with tenant_scope(tenant.id):
                assert Contract.objects.get().book.name == name
                assert Contract.objects.get().payment_days == 10
                assert price_books.price_at("device_seconds", DIMS).unit_amount > 0


def test_a_tenant_without_a_contract_launches_nothing_and_reads_why() -> None:
    bare = factories.make_tenant(contract=False)
    assert isinstance(client_for(bare, "finance"), Client)
    with tenant_scope(bare.id), pytest.raises(price_books.PriceMissing, match="Prices come from the contract"):
        price_books.price_at("device_seconds", DIMS)
