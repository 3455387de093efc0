"""The bridge from Django to Dash: no tenant in the page's configuration, no race at a cold start, no way around Django."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dash import Input, Output, dcc, html
from dash._utils import split_callback_id
from django.conf import settings
from django.http import Http404
from django.test import Client, RequestFactory

from dashboards import bridge
from dashboards.bridge import BridgedDash
from tests.support.factories import PASSWORD, make_member, make_tenant


def _callbacks(app: BridgedDash) -> None:
    @app.callback(Output("out", "children"), Input("in", "value"))
    def who(value: str | None) -> str:
        request = bridge.current_request()
        return f"{request.tenant.slug}:{value}"


def small_app() -> BridgedDash:
    layout = html.Div([dcc.Input(id="in"), html.Div(id="out"), dcc.Graph(id="graph")])
    return bridge.make("spend", title="Small", template="dashboards/dash.html", layout=layout, callbacks=_callbacks)


def bundle_paths(app: BridgedDash) -> list[str]:
    with app.server.test_request_context("/dash/spend/"):
        tags = app._generate_scripts_html()
    return re.findall(r'src="/dash/spend/_dash-component-suites/([^"?]+)', tags)


def test_a_callback_outside_a_request_raises() -> None:
    with pytest.raises(bridge.NoDashRequest):
        bridge.current_request()


def test_cold_start_serves_thirty_parallel_bundle_requests() -> None:
    for _ in range(3):
        app = small_app()
        paths = bundle_paths(app)
        assert paths
        wanted = (paths * 30)[:30]
        requests = [RequestFactory().get("/") for _ in wanted]
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(bridge.bundle, [app] * 30, requests, wanted))
        assert [answer.status_code for answer in answers] == [200] * 30


@pytest.mark.parametrize("path", ["dash/nothing.js", "unknown_package/x.js", "../environ.js", "os/environ.js"])
def test_an_unknown_bundle_is_a_404(path: str) -> None:
    app = small_app()
    try:
        status = bridge.bundle(app, RequestFactory().get("/"), path).status_code
    except Http404:
        status = 404
    assert status == 404


def test_a_bundle_sets_no_cookie_and_is_cached_for_long() -> None:
    app = small_app()
    answer = bridge.bundle(app, RequestFactory().get("/"), bundle_paths(app)[0])
    assert not answer.cookies
    assert "max-age" in answer["Cache-Control"]


@pytest.mark.django_db(transaction=True)
class TestPage:
    @pytest.fixture
    def browser(self) -> Client:
        make_tenant("vision", owner="ada@vision.example")
        make_tenant("audio", owner="eve@audio.example")
        client = Client(enforce_csrf_checks=True)
        token = client.get("/accounts/login/").cookies["csrftoken"].value
        answer = client.post(
            "/accounts/login/", {"login": "ada@vision.example", "password": PASSWORD, "csrfmiddlewaretoken": token}
        )
        assert answer.status_code == 302
        return client

    def body(self) -> dict[str, object]:
        return {
            "output": "..url.search...range.value...group.value...second.value...sort.value...from.value...to.value"
            "...custom-days.hidden...group.options...second.options...filters.disabled..",
            "outputs": [
                {"id": "url", "property": "search"},
                {"id": "range", "property": "value"},
                {"id": "group", "property": "value"},
                {"id": "second", "property": "value"},
                {"id": "sort", "property": "value"},
                {"id": "from", "property": "value"},
                {"id": "to", "property": "value"},
                {"id": "custom-days", "property": "hidden"},
                {"id": "group", "property": "options"},
                {"id": "second", "property": "options"},
                {"id": "filters", "property": "disabled"},
            ],
            "inputs": [
                {"id": "url", "property": "search", "value": "?range=7d"},
                {"id": "range", "property": "value", "value": "month"},
                {"id": "group", "property": "value", "value": "project"},
                {"id": "second", "property": "value", "value": ""},
                {"id": "sort", "property": "value", "value": "cost"},
                {"id": "from", "property": "value", "value": None},
                {"id": "to", "property": "value", "value": None},
            ],
            "changedPropIds": [],
            "parsedChangedPropsIds": [],
        }

    @pytest.mark.parametrize("page", ["spend", "health"])
    def test_a_body_that_is_no_call_of_a_callback_is_refused(self, page: str) -> None:
        tenant = make_tenant("vision")
        client = Client()
        client.force_login(make_member(tenant, "owner"))
        base = f"/t/vision/dash/{page}/"
        callbacks = client.get(f"{base}_dash-dependencies").json()
        assert callbacks
        real = [self.called(one, "?range=7d") for one in callbacks]
        assert [self.post(client, base, json.dumps(one)) for one in real] == [200] * len(real)
        bad = ["", "{}", "[]", "null", '"x"', "nonsense", '{"output": 5}', "[" * 100_000]
        bad += [json.dumps(one | {"output": "nothing.children"}) for one in real]
        bad += [json.dumps(one | {"inputs": one["inputs"][:-1]}) for one in real]
        bad += [json.dumps(one | {"changedPropIds": 5}) for one in real]
        bad += [json.dumps(one | {"inputs": [{"id": 5} for _ in one["inputs"]], "state": 3}) for one in real]
        bad += [json.dumps(self.called(one, value)) for one in callbacks for value in ({"a": 1}, [1], 0.5)]
        assert {body[:80]: self.post(client, base, body) for body in bad if self.post(client, base, body) != 400} == {}
        odd = [
            self.called(one, value)
            for one in callbacks
            for value in (5, True, None, "x" * 9_000, "?range=custom&from=\u0000")
        ]
        assert [self.post(client, base, json.dumps(one)) for one in odd] == [200] * len(odd)

    @staticmethod
    def called(callback: dict[str, Any], value: Any) -> dict[str, Any]:
        return {
            "output": callback["output"],
            "outputs": split_callback_id(callback["output"]),
            "inputs": [slot | {"value": value} for slot in callback["inputs"]],
            "state": [slot | {"value": value} for slot in callback["state"]],
            "changedPropIds": ["url.search"],
        }

    @staticmethod
    def post(client: Client, base: str, body: str) -> int:
        return client.post(f"{base}_dash-update-component", body, content_type="application/json").status_code

    def test_configuration_names_the_tenants_url_and_holds_no_data_of_any(self, browser: Client) -> None:
        page = browser.get("/t/vision/dash/spend/").content.decode()
        raw = re.search(r'<script id="_dash-config" type="application/json">(.*?)</script>', page)
        assert raw
        config = json.loads(raw[1])
        assert config["requests_pathname_prefix"] == "/t/vision/dash/spend/"
        assert "validation_layout" not in config
        assert "python_version" not in config
        layout = browser.get("/t/vision/dash/spend/_dash-layout").content.decode()
        for secret in ("vision", "audio", "ada@"):
            assert secret not in layout.lower()
        assert "audio" not in raw[1]

    def test_every_script_carries_the_nonce_of_the_policy(self, browser: Client) -> None:
        answer = browser.get("/t/vision/dash/spend/")
        policy = answer["Content-Security-Policy"]
        scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert "unsafe" not in scripts
        nonce = re.search(r"'nonce-([^']+)'", scripts)
        assert nonce
        tags = [tag for tag in re.findall(r"<script[^>]*>", answer.content.decode()) if "application/json" not in tag]
        assert tags
        assert all(f'nonce="{nonce[1]}"' in tag for tag in tags)

    def test_a_callback_without_the_csrf_token_is_refused(self, browser: Client) -> None:
        browser.get("/t/vision/dash/spend/")
        answer = browser.post(
            "/t/vision/dash/spend/_dash-update-component", self.body(), content_type="application/json"
        )
        assert answer.status_code == 403

    def test_a_callback_with_the_token_answers(self, browser: Client) -> None:
        browser.get("/t/vision/dash/spend/")
        token = browser.cookies["csrftoken"].value
        answer = browser.post(
            "/t/vision/dash/spend/_dash-update-component",
            self.body(),
            content_type="application/json",
            headers={"X-CSRFToken": token},
        )
        assert answer.status_code == 200, answer.content
        assert answer.json()["response"]["range"]["value"] == "7d"
        assert answer.json()["response"]["custom-days"]["hidden"] is True
        assert not answer.cookies

    def test_a_callback_after_the_session_ended_gets_the_log_in_url(self, browser: Client) -> None:
        page = "/t/vision/dash/spend/?range=7d"
        browser.get(page)
        del browser.cookies[settings.SESSION_COOKIE_NAME]
        answer = browser.post(
            "/t/vision/dash/spend/_dash-update-component",
            self.body(),
            content_type="application/json",
            headers={"X-CSRFToken": browser.cookies["csrftoken"].value, "Referer": f"http://testserver{page}"},
        )
        assert answer.status_code == 401
        assert (
            answer["X-Exchequer-Log-In"] == "/accounts/login/?next=%2Ft%2Fvision%2Fdash%2Fspend%2F%3Frange%3D7d&ended=1"
        )
        assert "Location" not in answer

    @pytest.mark.parametrize("path", ["", "_dash-layout", "_dash-dependencies"])
    def test_another_tenants_page_is_the_same_404_as_a_missing_one(self, browser: Client, path: str) -> None:
        foreign = browser.get(f"/t/audio/dash/spend/{path}")
        missing = browser.get(f"/t/nowhere/dash/spend/{path}")
        assert foreign.status_code == missing.status_code == 404

    def test_bundles_are_public_compressed_and_cached_for_a_year(self, browser: Client, client: Client) -> None:
        page = browser.get("/t/vision/dash/spend/").content.decode()
        found = re.search(r'src="(/dash/spend/_dash-component-suites/[^"]+)"', page)
        assert found
        answer = client.get(found[1], headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert answer["Content-Encoding"] == "gzip"
        assert "max-age=31536000" in answer["Cache-Control"]
        assert not answer.cookies
        assert client.get("/dash/spend/_dash-component-suites/dash/deps/nothing.js").status_code == 404
        assert client.get("/dash/nothing/_dash-component-suites/dash/deps/nothing.js").status_code == 404

    def test_an_unknown_page_is_a_404(self, browser: Client) -> None:
        assert browser.get("/t/vision/dash/nothing/").status_code == 404

    def test_an_anonymous_visitor_is_sent_to_log_in(self, client: Client) -> None:
        make_tenant("vision")
        answer = client.get("/t/vision/dash/spend/")
        assert answer.status_code == 302
        assert "/accounts/login/" in answer["Location"]
