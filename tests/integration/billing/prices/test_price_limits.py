"""A large price list costs its own organisation and others next to nothing, and new ones stay small."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import queries
from billing.metering.metering import Interval, record_usage
from billing.models import PriceBook
from billing.pricing import price_books, publishing
from billing.pricing.price_tables import tables_of
from billing.rating.selection import PriceEntry, PriceTable
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import DemoClock
    from tests.support.selling import Console

    Seller = Callable[..., Console]

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
MANY = 28_000
OVERSIZE = """
WITH made AS (
  INSERT INTO billing_priceversion (id, book_id, number, effective_at, published_at, published_by, note)
  VALUES (gen_random_uuid(), %(book)s, 2, NULL, exchequer_now(), 'old', '') RETURNING id
) SELECT id FROM made
"""
ENTRIES = """
INSERT INTO billing_price (id, version_id, meter, dims, unit_amount)
SELECT gen_random_uuid(), %(version)s, 'inference_requests', jsonb_build_object('customer', n::text), 0.00001 * (1 + n %% 7)
FROM generate_series(1, %(many)s) AS n
"""


class Looked(dict[str, str]):
    """Dimensions that count their look-ups."""

    looks = 0

    def __contains__(self, name: object) -> bool:
        self.looks += 1
        return super().__contains__(name)

    def __getitem__(self, name: str) -> str:
        self.looks += 1
        return super().__getitem__(name)


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    return priced_tenant(demo_clock, NOW, for_=timedelta(days=9))


def oversize(tenant: Tenant, demo_clock: DemoClock) -> None:
    """Give a tenant a version older than the limits."""
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        book = PriceBook.objects.get().pk
        with selling.role("exchequer_operator"):
            cursor.execute(OVERSIZE, {"book": book})
            cursor.execute(ENTRIES, {"version": cursor.fetchone()[0], "many": MANY})
    demo_clock.advance(timedelta(minutes=10))


def requests(tenant: Tenant, customer: int, at: datetime) -> Interval:
    return Interval(
        key=uuid4().hex,
        meter="inference_requests",
        resource="gateway",
        project_id=factories.default_project_id(tenant),
        start=at,
        end=at + timedelta(seconds=1),
        dims={"customer": str(customer), "region": "eu"},
        quantity=Decimal(10),
    )


def test_an_oversized_price_version_is_read_once_and_matched_by_dimensions(
    tenant: Tenant, demo_clock: DemoClock
) -> None:
    oversize(tenant, demo_clock)
    project = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        at = NOW + timedelta(minutes=6)
        with CaptureQueriesContext(connection) as asked:
            record_usage([interval(project, at, 60)])
        # The other meter's prices do not matter.
        loads = [one["sql"] for one in asked if "FROM billing_price\n" in one["sql"]]
        version = price_books.terms().lists[0].version_id
        assert all("inference_requests" not in load for load in loads)
        assert record_usage([requests(tenant, 9_999, at)]).amount == 10 * Decimal("0.00001") * (1 + 9_999 % 7)
        with CaptureQueriesContext(connection) as again:
            record_usage([requests(tenant, 20_000, at + timedelta(minutes=1))])
        assert [one["sql"] for one in again if "FROM billing_price\n" in one["sql"]] == []
        table = tables_of([version], ["inference_requests"])[version]["inference_requests"]
        assert table.size == MANY
        dims = Looked({"customer": "20000", "region": "eu", "tag:team": "a"})
        assert len(table.candidates(dims)) == 1
        assert dims.looks < 10
        assert queries.price_books()[0].versions[0].unshown == MANY - 500
        assert len(queries.prices_in_force("inference_requests")) == 500
    page = text_of(client_for(tenant, "finance").get(f"/t/{tenant.slug}/prices/"))
    assert "And 27,500 more" in page
    other = factories.make_tenant(currency="USD")
    with tenant_scope(other.id), CaptureQueriesContext(connection) as elsewhere:
        price_books.terms()
    assert all(str(version) not in one["sql"] for one in elsewhere)


@pytest.mark.parametrize("shape", ["own", "shared"])
def test_prices_that_each_name_other_dimensions_are_not_tried_one_by_one(shape: str) -> None:
    names = [{"all": "x"} if shape == "shared" else {} for _ in range(MANY)]
    entries = [PriceEntry(uuid4(), "m", {**more, f"d{n}": "1"}, Decimal(n)) for n, more in enumerate(names)]
    dims = Looked({"all": "x", "d7": "1", "other": "2", "d9": "2"})
    found = PriceTable(entries).find(dims)
    assert found is not None
    assert found.unit_amount == 7
    assert dims.looks < 20


def test_a_version_holds_five_hundred_prices_and_few_wait_for_their_start(tenant: Tenant, seller: Seller) -> None:
    with tenant_scope(tenant.id):
        book = queries.price_books()[0].id

    def publish(count: int, day: int, **more: str) -> None:
        prices = [selling.NewPrice("device_seconds", {"n": str(n), **more}, Decimal("0.1")) for n in range(count)]
        selling.publish(book_id=book, prices=prices, effective_at=NOW + timedelta(days=day, hours=2))

    with pytest.raises(publishing.TooManyPrices) as refused:
        publish(501, 1)
    assert refused.value.code == "too_many_prices"
    assert "at most 500 prices; these are 501" in refused.value.fields["prices"][0]
    publish(500, 1)
    for dims in ({"tag:team": "a"}, {f"d{n}": "x" for n in range(21)}):
        with pytest.raises(Invalid):
            publish(1, 2, **dims)
    for day in range(2, 25):
        publish(1, day)
    with pytest.raises(publishing.TooManyVersions):
        publish(1, 25)
    # The form of a full list reports it when one more is added.
    page = f"/price-books/{book}/versions/new/"
    assert seller("platform_finance").get(page).status_code == 200


def test_many_versions_do_not_cut_one_day_into_pieces(tenant: Tenant) -> None:
    published = 0
    with tenant_scope(tenant.id):
        for minute in range(26):
            at = NOW + timedelta(days=3, minutes=minute)
            with suppress(publishing.TooManyVersions):
                selling.publish(prices=[selling.NewPrice("device_seconds", {}, Decimal("0.1"))], effective_at=at)
                published += 1
                assert published == minute + 1
    assert published == 24


def test_a_tag_matches_no_price(tenant: Tenant) -> None:
    entry = PriceEntry(uuid4(), "m", {"tag:team": "a"}, Decimal(9))
    plain = PriceEntry(uuid4(), "m", {}, Decimal(1))
    assert PriceTable([entry, plain]).find({"tag:team": "a"}) == plain
