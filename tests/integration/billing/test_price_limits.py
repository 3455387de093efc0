"""A large price list costs its own organisation and others next to nothing, and new ones stay small."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing import queries
from billing.metering.metering import Interval, record_usage
from billing.models import Meter, PriceBook
from billing.pricing import price_books
from billing.pricing.price_tables import tables_of
from billing.rating.selection import PriceEntry, PriceTable
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval, priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
MANY = 28_000
OVERSIZE = """
WITH made AS (
  INSERT INTO billing_priceversion (id, tenant_id, book_id, number, effective_at, published_at, published_by, note)
  VALUES (gen_random_uuid(), %(tenant)s, %(book)s, 2, NULL, exchequer_now(), 'old', '') RETURNING id
) SELECT id FROM made
"""
ENTRIES = """
INSERT INTO billing_price (id, tenant_id, version_id, meter_id, dims, unit_amount)
SELECT gen_random_uuid(), %(tenant)s, %(version)s, %(meter)s, jsonb_build_object('customer', n::text), 0.00001 * (1 + n %% 7)
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
        where: dict[str, Any] = {"tenant": tenant.id, "book": PriceBook.objects.get().pk}
        cursor.execute(OVERSIZE, where)
        where |= {
            "version": cursor.fetchone()[0],
            "meter": Meter.objects.get(key="inference_requests").pk,
            "many": MANY,
        }
        cursor.execute(ENTRIES, where)
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
        meters = {meter.key: meter.pk for meter in Meter.objects.all()}
        version = price_books.terms().lists[0].version_id
        assert all(str(meters["inference_requests"]) not in load for load in loads)
        assert record_usage([requests(tenant, 9_999, at)]).amount == 10 * Decimal("0.00001") * (1 + 9_999 % 7)
        with CaptureQueriesContext(connection) as again:
            record_usage([requests(tenant, 20_000, at + timedelta(minutes=1))])
        assert [one["sql"] for one in again if "FROM billing_price\n" in one["sql"]] == []
        table = tables_of([version], meters)[version]["inference_requests"]
        assert table.size == MANY
        dims = Looked({"customer": "20000", "region": "eu", "tag:team": "a"})
        assert len(table.candidates(dims)) == 1
        assert dims.looks < 10
        assert queries.price_books()[0].versions[0].unshown == MANY - 500
        assert len(queries.prices_in_force("inference_requests")) == 500
    page = text_of(client_for(tenant, "finance").get(f"/t/{tenant.slug}/prices/"))
    assert "And 27,500 more" in page
    with tenant_scope(factories.make_tenant().id), CaptureQueriesContext(connection) as elsewhere:
        price_books.provision_defaults()
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


def test_a_version_holds_five_hundred_prices_and_few_wait_for_their_start(tenant: Tenant) -> None:
    client = client_for(tenant, "finance")
    (book,) = client.get("/api/v1/price-books/").json()["results"]
    path = f"/api/v1/price-books/{book['id']}/versions/"

    def publish(count: int, day: int, **more: str) -> Any:
        prices = [
            {"meter": "device_seconds", "unit_amount": "0.1", "dims": {"n": str(n), **more}} for n in range(count)
        ]
        at = (NOW + timedelta(days=day, hours=2)).isoformat()
        return client.post(path, {"prices": prices, "effective_at": at}, content_type="application/json")

    refused = publish(501, 1)
    assert (refused.status_code, refused.json()["code"]) == (400, "too_many_prices")
    assert "at most 500 prices; these are 501" in refused.json()["fields"]["prices"][0]
    assert publish(500, 1).status_code == 201
    for dims in ({"tag:team": "a"}, {f"d{n}": "x" for n in range(21)}):
        assert publish(1, 2, **dims).status_code == 400
    for day in range(2, 25):
        assert publish(1, day).status_code == 201
    refused = publish(1, 25)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_versions")
    # The form of a full list reports it when one more is added.
    page = f"/t/{tenant.slug}/prices/new/"
    assert client.get(page).status_code == 200


def test_many_versions_do_not_cut_one_day_into_pieces(tenant: Tenant) -> None:
    client = client_for(tenant, "finance")
    (book,) = client.get("/api/v1/price-books/").json()["results"]
    codes = []
    for minute in range(26):
        at = (NOW + timedelta(days=3, minutes=minute)).isoformat()
        body = {"prices": [{"meter": "device_seconds", "unit_amount": "0.1"}], "effective_at": at}
        path = f"/api/v1/price-books/{book['id']}/versions/"
        codes.append(client.post(path, body, content_type="application/json").status_code)
    assert codes == [201] * 24 + [409] * 2


def test_a_tag_matches_no_price(tenant: Tenant) -> None:
    entry = PriceEntry(uuid4(), "m", {"tag:team": "a"}, Decimal(9))
    plain = PriceEntry(uuid4(), "m", {}, Decimal(1))
    assert PriceTable([entry, plain]).find({"tag:team": "a"}) == plain
