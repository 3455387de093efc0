"""The price list: prices in force, and a next version published exactly as previewed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import queries
from billing.models import Meter
from billing.rating.price_diff import changes, mark
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.test_matrix import client_for
from tests.support import factories, selling
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock
    from tests.support.selling import Console

    Seller = Callable[..., Console]

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)


@pytest.fixture
def tenant(demo_clock: DemoClock) -> Tenant:
    demo_clock.move_to(NOW - timedelta(days=9))
    made = factories.make_tenant(timezone="Europe/Berlin")
    with tenant_scope(made.id):
        selling.provision_defaults()
    demo_clock.move_to(NOW)
    return made


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found.group(1)


def form_of(tenant: Tenant) -> str:
    """Return the address of the form of the next version of a tenant's book."""
    with tenant_scope(tenant.id):
        return f"/price-books/{queries.price_books()[0].id}/versions/new/"


def filled(client: Console, tenant: Tenant, **changed: Any) -> dict[str, Any]:
    """Return the form as first shown, with changes."""
    page = text_of(client.get(form_of(tenant)))
    inputs = [dict(re.findall(r'([a-z]+)="([^"]*)"', tag)) for tag in re.findall(r"<input [^>]*>", page)]
    amounts = {field["name"]: field["value"] for field in inputs if field.get("name", "").startswith("price_")}
    return {
        **amounts,
        "base": hidden(page, "base"),
        "note": "autumn",
        "effective_at": "",
        **changed,
    }


def versions(tenant: Tenant) -> list[queries.VersionView]:
    with tenant_scope(tenant.id):
        return list(queries.price_books()[0].versions)


def test_a_version_is_previewed_and_then_published_once(tenant: Tenant, seller: Seller) -> None:
    client, address = seller("platform_finance"), form_of(tenant)
    data = filled(client, tenant, effective_at="2026-11-01T00:00", amount_0="0.0001", meter_0="inference_requests")
    data |= {"dims_0": "endpoint=churn", "price_0": "0.1"}
    preview = text_of(client.post(address, {**data, "step": "preview"}))
    assert "What changes" in preview
    assert "endpoint" in preview.lower()
    assert len(versions(tenant)) == 1
    data["previewed"] = hidden(preview, "previewed")
    # Changed after the preview: previewed again.
    again = client.post(address, {**data, "price_1": "9", "step": "publish"})
    assert again.status_code == 200
    assert len(versions(tenant)) == 1
    assert client.post(address, {**data, "step": "publish"}).status_code == 302
    late = client.post(address, {**data, "step": "publish"})
    assert "Another version has been published" in text_of(late)
    sooner = text_of(client.post(address, filled(client, tenant)))
    assert "Against version 1, in five minutes until version 2 starts on" in sooner
    newest, first = versions(tenant)
    assert (newest.number, newest.state, newest.note) == (2, "coming", "autumn")
    # Operators write times in UTC.
    assert newest.effective_at == datetime(2026, 11, 1, tzinfo=UTC)
    found = {(price.meter, tuple(price.dims.items())): price.unit_amount for price in newest.prices}
    assert found["inference_requests", (("endpoint", "churn"),)] == Decimal("0.0001")
    assert len(newest.prices) == len(first.prices) + 1
    for page in (
        client_for(tenant, "finance").get(f"/t/{tenant.slug}/prices/"),
        client.get(address.removesuffix("versions/new/")),
    ):
        assert "Coming" in text_of(page)
        assert "In force" in text_of(page)


def test_a_meter_that_an_organisation_defines_is_priced_by_its_name(tenant: Tenant, seller: Seller) -> None:
    """Usage of it waits for review, and no hold is placed for it, until then."""
    stranger = factories.make_tenant(currency="USD")
    for of, key, title in ((tenant, "tokens", "Tokens of the gateway"), (stranger, "beds", "Beds")):
        with tenant_scope(of.id):
            Meter.objects.create(key=key, title=title, unit="token", event_type=f"llm.{key}")
    client, address = seller("platform_finance"), form_of(tenant)
    page = text_of(client.get(address))
    assert "Tokens of the gateway (a token)" in page
    assert "Beds" not in page, "that organisation is under another book"
    data = filled(client, tenant, meter_0="tokens", amount_0="0,00001")
    assert client.post(address, filled(client, tenant, meter_0="beds", amount_0="1")).status_code == 422
    data["previewed"] = hidden(text_of(client.post(address, data)), "previewed")
    assert client.post(address, {**data, "step": "publish"}).status_code == 302
    newest = versions(tenant)[0]
    assert [price.unit_amount for price in newest.prices if price.meter == "tokens"] == [Decimal("0.00001")]
    book = text_of(client.get(address.removesuffix("versions/new/")))
    assert "Tokens of the gateway" in book
    assert ">token<" in book


def test_an_invalid_price_list_is_refused_and_stores_nothing(tenant: Tenant, seller: Seller) -> None:
    client, address = seller("platform_finance"), form_of(tenant)
    wrong: list[dict[str, Any]] = [
        {"price_0": "-1"},
        {"price_0": "NaN"},
        {"amount_0": "1"},
        {"meter_0": "device_seconds"},
        {"meter_0": "bananas", "amount_0": "1"},
        {"meter_0": "device_seconds", "amount_0": "1", "dims_0": "cpu"},
        {"effective_at": "soon"},
        {"effective_at": "9999-12-31T23:59"},
    ]
    for one in wrong:
        answer = client.post(address, filled(client, tenant, **one))
        assert answer.status_code == 422, one
        assert "x-field-error" in text_of(answer), one
    past = filled(client, tenant, effective_at="2026-10-05T10:00")
    past["previewed"] = hidden(text_of(client.post(address, past)), "previewed")
    refused = client.post(address, {**past, "step": "publish"})
    assert refused.status_code == 422
    assert "at least 5 minutes after it is published" in text_of(refused)
    empty = filled(client, tenant)
    empty |= {name: "" for name in empty if name.startswith("price_")}
    empty["previewed"] = hidden(text_of(client.post(address, empty)), "previewed")
    assert "needs at least one price" in text_of(client.post(address, {**empty, "step": "publish"}))
    assert len(versions(tenant)) == 1


def test_a_removed_price_is_shown_with_its_fallback(tenant: Tenant, seller: Seller) -> None:
    client, address = seller("platform_finance"), form_of(tenant)
    data = filled(client, tenant, price_0="")
    page = text_of(client.post(address, data))
    assert "Removed; then Device class cpu: 0.00005" in page
    assert "device_seconds" not in page.partition("What changes")[2].partition("</section>")[0]
    assert "Removed; then All else: 0.0007" in text_of(client.post(address, {**data, "price_1": ""}))
    page = text_of(client.post(address, {**data, "price_1": "", "price_2": "", "price_3": ""}))
    assert page.count("Removed; then no price: what runs here is free, reported usage waits") == 4
    page = text_of(client.post(address, data))
    data["previewed"] = hidden(page, "previewed")
    assert client.post(address, {**data, "step": "publish"}).status_code == 302
    newest, first = versions(tenant)
    assert len(newest.prices) == len(first.prices) - 1


def test_prices_are_exported_and_an_organisation_without_any_says_so(tenant: Tenant) -> None:
    client = client_for(tenant, "finance")
    rows = list(csv.DictReader(io.StringIO(client.get(f"/t/{tenant.slug}/prices/?export=csv").content.decode())))
    assert {row["meter"] for row in rows} == {"device_seconds"}
    assert [row["state"] for row in rows] == ["in_force"] * 4
    bare = factories.make_tenant(contract=False)
    page = text_of(client_for(bare, "owner").get(f"/t/{bare.slug}/prices/"))
    assert "No price list yet" in page


LISTS = st.dictionaries(
    st.builds(mark, st.sampled_from("ab"), st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"))),
    st.integers(0, 3).map(Decimal),
)


@given(LISTS, LISTS)
def test_changes_lead_from_one_list_to_the_other(before: dict[Any, Decimal], after: dict[Any, Decimal]) -> None:
    found = changes(before.items(), after.items())
    result = dict(before)
    for one in found:
        assert one.before != one.after
        assert one.word in ("new", "removed", "higher", "lower")
        result.pop(mark(one.meter, one.dims), None)
        if one.after is not None:
            result[mark(one.meter, one.dims)] = one.after
    assert result == after


def test_a_price_of_time_is_shown_and_typed_by_the_hour(tenant: Tenant, seller: Seller) -> None:
    assert " an hour</small>" in text_of(client_for(tenant, "finance").get(f"/t/{tenant.slug}/prices/"))
    client, page = seller("platform_finance"), form_of(tenant)
    sent = filled(client, tenant, meter_0="inference_ms", dims_0="a=b", amount_0="3/h", step="preview")
    with tenant_scope(tenant.id):
        listed = queries.price_books()[0].versions[0].prices
    timed = [f"price_{number}" for number, price in enumerate(listed) if price.unit == "second"]
    assert "This unit is not a time" in text_of(client.post(page, {**sent, timed[0]: "3.60/h"}))
    sent |= {"meter_0": "", "dims_0": "", "amount_0": "", timed[0]: "3.60/h", timed[1]: "1,5"}
    shown = text_of(client.post(page, sent))
    assert "What changes" in shown
    assert re.search(r">0.001</td>", shown)
    sent |= {"previewed": hidden(shown, "previewed"), "step": "publish"}
    assert client.post(page, sent).status_code == 302
    with tenant_scope(tenant.id):
        prices = {price.unit_amount for price in queries.price_books()[0].versions[0].prices}
        assert {Decimal("0.001"), Decimal("1.5")} <= prices


def test_a_spot_price_is_added_and_shown_like_any_other(tenant: Tenant, demo_clock: DemoClock, seller: Seller) -> None:
    client, address = seller("platform_finance"), form_of(tenant)
    data = filled(client, tenant, meter_0="device_seconds", dims_0="tier=spot", amount_0="1", step="preview")
    data |= {"previewed": hidden(text_of(client.post(address, data)), "previewed"), "step": "publish"}
    assert client.post(address, data).status_code == 302
    newest, before = versions(tenant)[:2]
    assert len(newest.prices) == len(before.prices) + 1
    demo_clock.advance(timedelta(hours=1))
    finance = client_for(tenant, "finance")
    for path in (f"/t/{tenant.slug}/prices/", f"/t/{tenant.slug}/prices/?export=csv"):
        assert "spot" in text_of(finance.get(path)).lower(), path
