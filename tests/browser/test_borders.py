"""Pages without a browser: another tenant's page is the same 404 as a missing one, and no list queries once per row."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.browser.pages import PAGES
from tests.browser.world import NEWCOMER, OWNER, World
from tests.support.factories import PASSWORD

FRAGMENTS = (
    "jobs/{running}/live/", "jobs/{running}/row/", "jobs/{running}/logs/", "jobs/{running}/logs.txt", "datasets/{dataset}/row/",
    "datasets/{dataset}/status/", "models/versions/{version}/weights/", "audit/verified/", "invoices/reconciled/", "spend/export/daily.csv",
    "dash/spend/_dash-layout", "dash/health/_dash-layout", "endpoints/{endpoint}/live/", "health/export/drift.csv", "jobs/new/parameters/",
)  # fmt: skip
MOST_QUERIES = 45


def logged_in(email: str) -> Client:
    client = Client()
    assert (
        client.login(email=email, password=PASSWORD)
        or client.post("/accounts/login/", {"login": email, "password": PASSWORD}).status_code == 302
    )
    return client


def without_request_id(body: bytes) -> str:
    """Return a page without what differs per response."""
    return re.sub(
        r"[0-9a-f]{16}|nonce=\"[^\"]*\"|name=\"csrfmiddlewaretoken\" value=\"[^\"]*\"|X-CSRFToken\": \"[^\"]*\"",
        "",
        body.decode(),
    )


def test_every_page_of_another_tenant_is_the_same_404_as_a_missing_one(world: World) -> None:
    stranger = logged_in(NEWCOMER)
    paths = [spec.url("vision", world.ids) for spec in PAGES] + [
        f"/t/vision/{path.format(**world.ids)}" for path in FRAGMENTS
    ]
    for path in paths:
        foreign, missing = stranger.get(path), stranger.get(path.replace("/t/vision/", "/t/nowhere/"))
        assert foreign.status_code == missing.status_code == 404, path
        assert without_request_id(foreign.content) == without_request_id(missing.content), path


def test_another_tenants_object_below_ones_own_tenant_is_a_404(world: World) -> None:
    stranger = logged_in(NEWCOMER)
    for spec in PAGES:
        if spec.fill and spec.name not in ("launch", "batch"):  # an id in the query of a form is only a suggestion
            assert stranger.get(spec.url("audio", world.ids)).status_code == 404, spec.name


def test_a_post_to_another_tenants_job_changes_nothing(world: World) -> None:
    stranger = logged_in(NEWCOMER)
    for slug in ("vision", "audio"):
        assert stranger.post(f"/t/{slug}/jobs/{world.ids['running']}/cancel/").status_code == 404
    assert b"Running" in logged_in(OWNER).get(f"/t/vision/jobs/{world.ids['running']}/").content


@pytest.mark.parametrize(
    "spec", [spec for spec in PAGES if spec.name not in ("spend", "health")], ids=lambda spec: spec.name
)
def test_no_page_runs_a_query_per_row(world: World, spec: object) -> None:
    client = logged_in(OWNER)
    path = spec.url("vision", world.ids)  # type: ignore[attr-defined]
    client.get(path)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path).status_code == 200
    repeated: dict[str, int] = {}
    for query in asked.captured_queries:
        shape = re.sub(r"'[^']*'|\b\d+\b", "?", query["sql"])
        if not shape.startswith(("SAVEPOINT", "RELEASE", "SELECT set_config", "BEGIN", "COMMIT")):
            repeated[shape] = repeated.get(shape, 0) + 1
    assert len(asked) <= MOST_QUERIES, len(asked)
    assert max(repeated.values()) <= 4, max(repeated.items(), key=lambda item: item[1])
