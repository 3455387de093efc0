"""The page Model health: its numbers for one endpoint, its exports, and its empty states."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from dashboards.health.callbacks import tiles as tiles_of
from dashboards.spend.charts import PALETTE
from models_app.measures.time_ranges import TimeRange
from models_app.models import Endpoint
from models_app.monitoring.health import Health, LabelRow, Totals, Traffic
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.models_app.test_monitoring import quiet_rows, serve
from tests.support.factories import actor_for, make_member, make_tenant
from tests.support.model_versions import make_endpoint, make_version
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("vision")


def viewer_of(tenant: Tenant) -> Client:
    client = Client()
    client.force_login(make_member(tenant, "viewer"))
    return client


def shown(client: Client, search: str = "", slug: str = "vision") -> dict[str, Any]:
    """Return the result of the page's one callback, by component."""
    layout = client.get(reverse("dash-part", args=(slug, "health", "_dash-dependencies"))).json()
    spec = next(one for one in layout if "tiles.children" in one["output"])
    outputs = [
        {"id": name.rsplit(".", 1)[0], "property": name.rsplit(".", 1)[1]}
        for name in spec["output"].strip(".").split("...")
    ]
    body = {
        "output": spec["output"],
        "outputs": outputs,
        "inputs": [
            {"id": "url", "property": "search", "value": search},
            {"id": "tick", "property": "n_intervals", "value": 0},
        ],
        "changedPropIds": ["url.search"],
        "parsedChangedPropsIds": ["url.search"],
    }
    answer = client.post(
        reverse("dash-part", args=(slug, "health", "_dash-update-component")), body, content_type="application/json"
    )
    assert answer.status_code == 200, answer.content[:500]
    return dict(answer.json()["response"])


def test_each_chart_has_a_table_of_its_numbers(tenant: Tenant) -> None:
    endpoint: Endpoint = make_endpoint(make_version(actor_for(tenant)), "churn")
    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(450)])
    client = viewer_of(tenant)
    found = shown(client)
    assert found["endpoint"]["value"] == str(endpoint.id)
    assert found["tick"]["disabled"] is False
    tiles = json.dumps(found["tiles"])
    assert "450" in tiles
    assert "1 of 4" in tiles
    assert "newest rows of 7 days" in tiles
    assert "age" in json.dumps(found["alerts-table"])
    requests = found["requests-chart"]["figure"]["data"][0]
    assert sum(requests["y"]) == 450
    drift = found["drift-chart"]["figure"]
    assert [shape["x0"] for shape in drift["layout"]["shapes"]] == [0.1, 0.2]
    assert drift["data"][0]["customdata"][-1] == "age"
    for name in ("requests", "latency", "drift", "predictions", "busy"):
        assert "table" in json.dumps(found[f"{name}-table"]).lower(), name
        lines = client.get(found[f"{name}-csv"]["href"]).content.decode().strip().splitlines()
        assert len(lines) > 2, name


def test_the_tiles_state_what_ignores_the_range_and_format_latency() -> None:
    """What depends on the range stands beside what does not."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    span = TimeRange("24h", at, at + timedelta(days=1), timedelta(hours=1))
    labels = LabelRow(count=252, figure="accuracy", value=0.95, expected=0.9)
    health = Health(
        endpoint_id=uuid4(), name="churn", version_id=uuid4(), slo_ms=500, drift=(), output=None, labels=labels,
        alerts=(), has_baseline=True,
    )  # fmt: skip
    told = str(tiles_of(Traffic(span=span, steps=(), totals=Totals(p50=7.806, p95=16.94)), health)).replace(
        "\\xa0", " "
    )
    assert "newest 252 ground truth labels of any time; 0.9000 on test rows" in told
    assert "16.9 ms" in told
    assert "p50 7.8 ms" in told


def test_the_page_of_an_endpoint_counts_what_was_answered_without_a_reload(tenant: Tenant) -> None:
    endpoint: Endpoint = make_endpoint(make_version(actor_for(tenant)), "churn")
    client = viewer_of(tenant)
    page = text_of(client.get(reverse("endpoint", args=("vision", endpoint.id))))
    polled = reverse("endpoint-traffic", args=("vision", endpoint.id))
    assert f'hx-get="{polled}"' in page
    assert "Traffic, 24 h" not in page
    serve(endpoint, quiet_rows(20))
    told = text_of(client.get(polled))
    assert re.search(r"Requests, 24 h</span><span class=\"x-tile-value\">[1-9]", told)
    assert re.search(r"<title>\d{1,2} \w+ \d\d:\d\d, answered: \d+</title>", told)
    for words in ("p95 latency", "p50 ", "p99 ", "SLO 2,000", "Error rate"):
        assert words in told, words
    with tenant_scope(tenant.id):
        Endpoint.objects.filter(id=endpoint.id).update(state="undeployed")
    assert "hx-get" not in text_of(client.get(polled)), "what answers no more is not asked for again"


def test_inputs_with_few_rows_are_not_drawn_and_carry_no_index(tenant: Tenant) -> None:
    endpoint: Endpoint = make_endpoint(make_version(actor_for(tenant)), "churn")
    serve(endpoint, [{**row, "age": row["age"] + 30} for row in quiet_rows(2)])
    client = viewer_of(tenant)
    found = shown(client)
    assert not found["drift-chart"]["figure"]["data"]
    assert "Too few rows to measure drift: 2 so far" in json.dumps(found["drift-chart"])
    assert "Inputs with too few rows are not drawn." in found["drift-note"]["children"]
    page = text_of(client.get(reverse("endpoint", args=("vision", endpoint.id))))
    rows = page.split('aria-label="Table: Drift"')[1].split("</table>")[0]
    assert rows.count("too few rows") == 4
    assert rows.count('<td class="end num">–</td>') == 4
    serve(endpoint, [{**row, "age": row["age"] + 30} for row in quiet_rows(450)])
    found = shown(client)
    assert len(set(found["drift-chart"]["figure"]["data"][0]["marker"]["color"])) > 1
    assert "too few rows" not in found["drift-note"]["children"]


@pytest.mark.parametrize(
    ("slo_ms", "said", "drawn"), [(10, "SLO 10 ms, dashed.", True), (2000, "SLO 2,000 ms.", False)]
)
def test_the_slo_is_stated_and_dashed_only_where_drawn(tenant: Tenant, slo_ms: int, said: str, drawn: bool) -> None:
    endpoint: Endpoint = make_endpoint(make_version(actor_for(tenant)), "churn")
    with tenant_scope(tenant.id):
        Endpoint.objects.filter(id=endpoint.id).update(slo_ms=slo_ms)
    client = viewer_of(tenant)
    assert "dashed" not in shown(client)["latency-note"]["children"]  # no request yet: nothing is drawn
    serve(endpoint, quiet_rows(20))
    found = shown(client)
    lines = {line["name"]: line["line"].get("dash") for line in found["latency-chart"]["figure"]["data"]}
    assert found["latency-note"]["children"].endswith(said)
    assert lines == {"p50": None, "p95": None, "p99": None} | ({"SLO": "dash"} if drawn else {})


def test_nothing_of_another_tenant_is_shown_whatever_is_asked_for(tenant: Tenant) -> None:
    other = make_tenant("audio")
    theirs = make_endpoint(make_version(actor_for(other)), "secret")
    serve(theirs, quiet_rows(50))
    client = viewer_of(tenant)
    found = shown(client, f"?endpoint={theirs.id}&range=1h")
    assert "No endpoint yet" in json.dumps(found["alerts-table"])
    assert "secret" not in json.dumps(found)
    ours = make_endpoint(make_version(actor_for(tenant)), "ours")
    found = shown(client, f"?endpoint={theirs.id}")
    assert found["endpoint"]["value"] == str(ours.id)
    assert "secret" not in json.dumps(found)
    for name in ("requests", "drift", "predictions"):
        exported = client.get(reverse("health-export", args=("vision", name)) + f"?endpoint={theirs.id}")
        assert exported.status_code == 200
    assert client.get(reverse("health-export", args=("vision", "nothing"))).status_code == 404


def test_a_model_of_a_restricted_dataset_is_missing_for_those_who_may_not_see_it(tenant: Tenant) -> None:
    hidden = make_endpoint(make_version(actor_for(tenant), restricted=True), "hidden")
    client = viewer_of(tenant)
    assert "hidden" not in json.dumps(shown(client))
    assert client.get(reverse("endpoint", args=("vision", hidden.id))).status_code == 404
    assert client.get(f"/api/v1/endpoints/{hidden.id}/health/").status_code == 404


@pytest.mark.parametrize("search", ["?range=2y&endpoint=x", "?endpoint=%00", "?range=7d", "?range=30d", "x" * 5000])
def test_a_page_answers_any_query_string(tenant: Tenant, search: str) -> None:
    make_endpoint(make_version(actor_for(tenant), baseline={}), "bare")
    found = shown(viewer_of(tenant), search)
    assert "bare" in json.dumps(found["endpoint"])
    assert "has no training baseline" in json.dumps(found["drift-chart"])


def test_outcomes_have_the_same_colours_on_both_pages(tenant: Tenant) -> None:
    endpoint = make_endpoint(make_version(actor_for(tenant)), "churn")
    serve(endpoint, quiet_rows(450))
    client = viewer_of(tenant)
    bars = shown(client)["requests-chart"]["figure"]["data"]
    drawn = {bar["name"]: PALETTE["light"].index(bar["marker"]["color"]) + 1 for bar in bars}
    page = text_of(client.get(reverse("endpoint", args=("vision", endpoint.id))))
    legend = re.findall(r'<rect class="f(\d)" width="24" height="8" rx="2"/></svg>([a-z ]+)</li>', page)
    assert {name: int(number) for number, name in legend} == drawn
    assert len(set(drawn.values())) == 3


@pytest.mark.parametrize("slug", ["health", "spend"])
def test_a_chart_shows_no_axes_before_its_numbers(tenant: Tenant, slug: str) -> None:
    layout = viewer_of(tenant).get(reverse("dash-part", args=("vision", slug, "_dash-layout"))).json()
    figures = graphs_in(layout)
    assert figures
    assert not any(figure["layout"][axis]["visible"] for figure in figures for axis in ("xaxis", "yaxis"))


def graphs_in(component: Any) -> list[dict[str, Any]]:
    """Return the figures of a layout's graphs."""
    if isinstance(component, list):
        return [figure for one in component for figure in graphs_in(one)]
    if not isinstance(component, dict):
        return []
    own = [component["props"]["figure"]] if component.get("type") == "Graph" else []
    return own + graphs_in(component.get("props", {}).get("children"))
