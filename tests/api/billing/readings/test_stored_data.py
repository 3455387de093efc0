"""Stored data from its form to chargeback: a meter defined on the page, sizes by tag, and what each tag costs a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tenants.isolation.scoping import tenant_scope
from tests.api.billing.test_events import Sender
from tests.api.test_matrix import client_for
from tests.support import selling
from tests.support.pages import text_of
from tests.support.selling import NewPrice
from tests.support.usage import priced_tenant

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2027, 3, 20, 12, tzinfo=UTC)
FORM = {"title": "Stored data", "event_type": "storage.gib", "unit": "GiB-hour", "aggregation": "time_weighted"}


def test_a_meter_of_stored_data_is_defined_by_its_form_and_charged_back_by_tag(demo_clock: DemoClock) -> None:
    tenant = priced_tenant(demo_clock, NOW - timedelta(days=9), for_=timedelta(days=9))
    finance, page = client_for(tenant, "finance"), f"/t/{tenant.slug}/reported/"
    for change, said in (
        ({"event_type": "no spaces"}, "Use letters, digits"),
        ({"title": "Device time"}, "looks like one of the platform’s own meters"),
        ({"unit": "second"}, "sums time"),
        ({"aggregation": "median"}, "Counts"),
    ):
        refused = finance.post(f"{page}meters/", FORM | change, follow=True)
        assert said in text_of(refused), change
        assert "storage.gib" not in text_of(refused).partition("such as storage.gib")[0]
    assert client_for(tenant, "engineer").post(f"{page}meters/", FORM).status_code == 403
    made = text_of(finance.post(f"{page}meters/", FORM, follow=True))
    assert "Stored data counts events of the type storage.gib." in made
    assert "Value × hours" in made
    assert "already" in text_of(finance.post(f"{page}meters/", FORM, follow=True))
    with tenant_scope(tenant.id):
        selling.publish(prices=[NewPrice("storage_gib", {}, Decimal("0.01"))])
    demo_clock.move_to(NOW)
    send = Sender(tenant)
    send(
        [
            {
                "specversion": "1.0", "id": uuid4().hex, "source": "storage", "type": "storage.gib", "subject": f"disk-{number}",
                "time": (NOW - timedelta(hours=hours)).isoformat(), "data": {"quantity": size, **tags},
            }
            for number, (hours, size, tags) in enumerate(
                [(100, 30, {"tag:team": "vision"}), (50, 8, {"tag:team": "vision"}), (20, 5, {"tag:team": "audio"}), (10, 2, {})]
            )
        ]
    )  # fmt: skip
    rows = finance.get("/api/v1/chargeback/", {"period": "2027-03", "by": "tag:team"}).json()["results"]
    # Three thousand and four hundred GiB-hours of one team, a hundred of another, and twenty of nobody.
    assert {row["names"]["tag:team"]: row["cost"]["amount"] for row in rows} == {
        "vision": "34.000000", "audio": "1.000000", "Untagged": "0.200000",
    }  # fmt: skip
    spend = finance.get("/api/v1/spend/", {"group_by": "tag:team,meter"}).json()["results"]
    assert {(row["tag:team"], row["quantity"]) for row in spend} == {
        ("vision", "3400.000000"), ("audio", "100.000000"), (None, "20.000000"),
    }  # fmt: skip
