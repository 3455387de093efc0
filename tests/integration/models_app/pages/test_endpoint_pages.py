"""The endpoint pages and the monitoring API: content, refusals, and the playground against a node."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as configured
from django.test import Client
from django.urls import reverse

from billing.budgets import budgets
from models_app.endpoints import playground, playground_tokens
from models_app.endpoints.playground import PredictionPreview, TryInput, snippets
from models_app.measures.window import Window
from models_app.models import DatasetVersion, Endpoint, EndpointKey, EndpointState
from models_app.monitoring import windows
from models_app.tables.columns.contract import Contract
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.models_app.test_monitoring import predictions, quiet_rows, serve
from tests.support.factories import actor_for, make_member, make_tenant
from tests.support.model_versions import make_endpoint, make_version, plain_baseline, plain_signature
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
TRY = {"try-f0": "41.5", "try-f1": "pro", "try-f2": "2026-01-02T03:04:05", "try-f3": "true"}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("vision")


@pytest.fixture
def endpoint(tenant: Tenant) -> Endpoint:
    return make_endpoint(make_version(actor_for(tenant), "churn model"), "churn")


def client_of(tenant: Tenant, role: str = "engineer") -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(make_member(tenant, role))
    return client


class Node(ThreadingHTTPServer):
    """Responds exactly as a serving node; records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[tuple[str, playground_tokens.PlaygroundToken, dict[str, Any]]] = []
        self.status = 200
        self.body: Any = {
            "predictions": [{"label": "leaves", "scores": {"stays": 0.2, "leaves": 0.8}}],
            "model_version": "churn model v1",
            "prediction_ids": ["abc"],
        }


class _Answer(BaseHTTPRequestHandler):
    server: Node

    def do_POST(self) -> None:
        import time

        one = playground_tokens.verify(
            configured.EXCHEQUER.serving_key, self.headers[playground_tokens.HEADER], now_s=time.time()
        )
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, one, sent))
        body = json.dumps(self.server.body).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-exchequer-cost", "0.000021912000")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Suppress the log line."""


@pytest.fixture
def node(settings: Any) -> Iterator[Node]:
    server = Node()
    Thread(target=server.serve_forever, daemon=True).start()
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"serving_port": server.server_address[1]})
    yield server
    server.shutdown()
    server.server_close()


def page(client: Client, name: str, *args: Any) -> Any:
    return client.get(reverse(name, args=("vision", *args)))


def test_the_list_is_empty_with_the_next_step_for_those_who_may_take_it(tenant: Tenant) -> None:
    body = text_of(page(client_of(tenant), "endpoints"))
    assert "No endpoint yet" in body
    assert "Deploy a model" in body
    assert "Deploy a model" not in text_of(page(client_of(tenant, "viewer"), "endpoints"))


def test_the_list_counts_requests_and_open_alerts(tenant: Tenant, endpoint: Endpoint) -> None:
    serve(endpoint, [{**row, "age": row["age"] + 20} for row in quiet_rows(450)])
    body = text_of(page(client_of(tenant, "viewer"), "endpoints"))
    assert ">450<" in body
    assert '<span class="x-state bad">1</span>' in body


def test_without_a_version_in_production_the_form_says_what_is_missing(tenant: Tenant) -> None:
    assert "No version is in production" in text_of(page(client_of(tenant), "endpoint-deploy"))


def test_a_version_is_deployed_once_however_often_the_form_is_sent(tenant: Tenant) -> None:
    version = make_version(actor_for(tenant), "Churn, EU")
    client = client_of(tenant)
    shown = text_of(client.get(reverse("endpoint-deploy", args=("vision",)) + f"?version={version.id}"))
    assert 'value="churn--eu"' in shown
    entered = {"version": str(version.id), "name": "churn-eu", "project": "", "slo_ms": "500", "form_key": str(uuid4())}
    places = [client.post(reverse("endpoint-deploy", args=("vision",)), entered) for _ in range(2)]
    assert [place.status_code for place in places] == [302, 302]
    assert places[0]["Location"] == places[1]["Location"]
    with tenant_scope(tenant.id):
        assert Endpoint.objects.get().slo_ms == 500
    body = text_of(client.get(places[0]["Location"]))
    assert "Deploying." in body
    assert 'hx-trigger="every 3s"' in body


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "Churn EU"}, "small letters"),
        ({"slo_ms": "1"}, "10"),
        ({"version": str(uuid4())}, "valid choice"),
        ({"project": str(uuid4())}, "valid choice"),
    ],
)
def test_a_refusal_is_shown_beside_its_field(tenant: Tenant, wrong: dict[str, str], says: str) -> None:
    version = make_version(actor_for(tenant))
    entered = {
        "version": str(version.id),
        "name": "churn",
        "project": "",
        "slo_ms": "",
        "form_key": str(uuid4()),
        **wrong,
    }
    answer = client_of(tenant).post(reverse("endpoint-deploy", args=("vision",)), entered)
    assert answer.status_code == 422
    assert says in text_of(answer)
    with tenant_scope(tenant.id):
        assert not Endpoint.objects.exists()


def test_the_page_of_an_endpoint_shows_all_of_it_to_a_viewer_and_offers_nothing(
    tenant: Tenant, endpoint: Endpoint
) -> None:
    serve(endpoint, quiet_rows(350))
    body = text_of(page(client_of(tenant, "viewer"), "endpoint", endpoint.id))
    for words in ("Ready.", "350", "Steady", "tritonclient", "v1/models/churn:predict", "Bearer YOUR_KEY"):
        assert words in body, words
    for words in ("Try it", "Create key", "Undeploy"):
        assert words not in body, words


def test_a_fresh_endpoint_and_one_without_a_baseline_say_so(tenant: Tenant, endpoint: Endpoint) -> None:
    client = client_of(tenant)
    assert "churn model v1 made no prediction in the last seven days" in text_of(page(client, "endpoint", endpoint.id))
    bare = make_endpoint(make_version(actor_for(tenant), baseline={}))
    assert "has no training baseline" in text_of(page(client, "endpoint", bare.id))


def test_one_row_is_tried_with_a_pass_for_this_person_and_endpoint(
    tenant: Tenant, endpoint: Endpoint, node: Node
) -> None:
    client = client_of(tenant)
    path = reverse("endpoint-try", args=("vision", endpoint.id))
    body = text_of(client.post(path, TRY, headers={"HX-Request": "true"}))
    assert "leaves" in body
    assert 'title="0.000021912 EUR">€0.000022</data>' in body
    assert "<html" not in body
    asked, one, sent = node.asked[0]
    assert asked == "/v1/models/churn:predict"
    assert (one.tenant_id, one.endpoint_id) == (tenant.id, endpoint.id)
    assert str(one.user_id) == client.session["_auth_user_id"]
    assert sent == {"instances": [{"age": 41.5, "plan": "pro", "joined": "2026-01-02T03:04:05", "active": True}]}
    whole = text_of(client.post(path, {**TRY, "try-f1": "", "try-f3": ""}))
    assert "<html" in whole
    assert node.asked[1][2]["instances"][0] == {
        "age": 41.5, "plan": None, "joined": "2026-01-02T03:04:05", "active": None,
    }  # fmt: skip


def test_refusals_and_outages_of_the_serving_node_are_shown(tenant: Tenant, endpoint: Endpoint, node: Node) -> None:
    client, path = client_of(tenant), reverse("endpoint-try", args=("vision", endpoint.id))
    node.status, node.body = 422, {"title": "Row 0: column 'joined' takes dates, not 'soon'."}
    answer = client.post(path, {**TRY, "try-f2": "soon"}, headers={"HX-Request": "true"})
    assert answer.status_code == 422
    assert "Column &#x27;joined&#x27; takes dates" in text_of(answer)
    node.status, node.body = 200, {"predictions": []}
    assert "does not answer" in text_of(client.post(path, TRY))
    wrong = client.post(path, {**TRY, "try-f0": "many"}, headers={"HX-Request": "true"})
    assert wrong.status_code == 422
    assert "Enter a number" in text_of(wrong)
    node.shutdown()
    node.server_close()
    away = client.post(path, TRY, headers={"HX-Request": "true"})
    assert away.status_code == 422
    assert "The serving node does not answer" in text_of(away)


def test_code_to_copy_is_code_whatever_columns_are_called() -> None:
    fields = (
        TryInput(name="a'b", kind="numeric", typical=1.5),
        TryInput(name='pl"an', kind="categorical", typical="ba'sic"),
        TryInput(name="on", kind="boolean"),
        TryInput(name="since", kind="datetime", typical="2026-01-02T03:04:05"),
    )
    for shown in (fields, fields[:1]):
        made = snippets("churn", shown)
        for text in (made.requests, made.triton):
            compile(text, "snippet", "exec")
        body = shlex.split(made.curl.replace("\\\n", " "))[-1]
        assert json.loads(body) == {"instances": [{one.name: one.typical for one in shown}]}


@pytest.mark.parametrize(
    ("given", "url", "triton"),
    [
        ({}, "http://127.0.0.1:8001", '"127.0.0.1:8001"'),
        ({"public_url": "https://a.example"}, "https://a.example:8001", '"a.example:8001", ssl=True'),
        ({"serving_public_url": "https://predict.example"}, "https://predict.example", '"predict.example", ssl=True'),
    ],
)
def test_code_shows_the_address_that_clients_call(settings: Any, given: dict[str, str], url: str, triton: str) -> None:
    plain = {"public_url": "", "serving_public_url": "", "serving_port": 8001}
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=plain | given)
    made = snippets("churn", ())
    assert made.url == f"{url}/v1/models/churn:predict"
    assert f"InferenceServerClient({triton})" in made.triton


def test_a_row_is_tried_where_serving_is(tenant: Tenant, endpoint: Endpoint, node: Node, settings: Any) -> None:
    away = {"serving_url": f"http://localhost:{node.server_address[1]}/inside", "serving_port": 9}
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update=away)
    tried = playground.predict(actor_for(tenant), endpoint_id=endpoint.id, name="churn", row={}, currency="EUR")
    assert (tried.fault, tried.label) == ("", "leaves")
    assert [path for path, _, _ in node.asked] == ["/inside/v1/models/churn:predict"]


def test_a_key_is_shown_once_and_revoked_by_its_dialog(tenant: Tenant, endpoint: Endpoint) -> None:
    client, path = client_of(tenant), reverse("endpoint-key-create", args=("vision", endpoint.id))
    entered = {"name": "shop", "requests_per_minute": "60", "form_key": str(uuid4())}
    body = text_of(client.post(path, entered))
    assert "exq_ep_" in body
    assert client.post(path, entered).status_code == 302
    with tenant_scope(tenant.id):
        key = EndpointKey.objects.get()
    again = text_of(page(client, "endpoint", endpoint.id))
    assert body.split('id="secret">')[1].split("<")[0] not in again
    for name in ("endpoint-key-create", "endpoint-try"):  # the URL is opened directly, where the response was shown
        asked = page(client, name, endpoint.id)
        assert (asked.status_code, asked["Location"]) == (302, reverse("endpoint", args=("vision", endpoint.id)))
        assert page(client, name, uuid4()).status_code == 404
    refused = client.post(path, {"name": "", "requests_per_minute": "0", "form_key": str(uuid4())})
    assert refused.status_code == 422
    assert client.post(reverse("endpoint-key-revoke", args=("vision", endpoint.id, key.id))).status_code == 302
    assert "No key yet: no program" in text_of(page(client, "endpoint", endpoint.id))


def test_undeploying_keeps_the_page_and_its_history(tenant: Tenant, endpoint: Endpoint) -> None:
    client = client_of(tenant)
    assert (
        client.post(reverse("endpoint-undeploy", args=("vision", endpoint.id)), {"confirm": "churn"}).status_code == 302
    )
    body = text_of(page(client, "endpoint", endpoint.id))
    assert "Undeployed" in body
    assert "Try it" not in body
    tried = client.post(reverse("endpoint-try", args=("vision", endpoint.id)), TRY, headers={"HX-Request": "true"})
    assert tried.status_code == 422


def test_the_api_answers_traffic_health_and_takes_labels(tenant: Tenant, endpoint: Endpoint) -> None:
    serve(endpoint, quiet_rows(400))
    window = Window()
    window.add(endpoint.version_id, errors={"bad_instance": 50, "internal_error": 50})
    windows.flush(tenant.id, endpoint.id, window)
    client = client_of(tenant)
    client.get(reverse("overview", args=("vision",)))
    base = f"/api/v1/endpoints/{endpoint.id}"
    traffic = client.get(f"{base}/traffic/?range=1h").json()
    assert (traffic["requests"], traffic["rows"], traffic["step_s"], len(traffic["results"])) == (500, 400, 60, 60)
    assert (traffic["error_share"], traffic["refused_share"]) == (0.1, 0.1)
    assert sum(step["requests"] for step in traffic["results"]) == 500
    assert 3.2 <= traffic["p50_ms"] <= 5
    assert client.get(f"{base}/traffic/?range=2y").json()["code"] == "invalid"
    health = client.get(f"{base}/health/").json()
    assert {row["name"] for row in health["drift"]} == {"age", "plan", "joined", "active"}
    assert not any(row["drifted"] for row in health["drift"])
    assert [alert["kind"] for alert in health["alerts"]] == ["errors", "errors"]
    items = [{"prediction_id": one, "label": "stays"} for one in predictions(endpoint, 3)]
    sent = {"items": [*items, {"prediction_id": "forged", "label": "stays"}]}
    key = {"Idempotency-Key": "labels-1"}
    answers = [client.post(f"{base}/feedback/", sent, content_type="application/json", headers=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["accepted"] == 3
    assert answers[0].json()["errors"][0]["code"] == "unknown_prediction"
    assert client.post(f"{base}/feedback/", {"items": 3}, content_type="application/json").status_code == 400
    labels = client.get(f"{base}/health/").json()["labels"]
    assert labels == {"count": 3, "figure": "accuracy", "value": 1.0, "expected": 0.9}


def test_an_endpoint_without_budget_shows_that_it_refuses_all_requests(tenant: Tenant, endpoint: Endpoint) -> None:
    """It has a slot and a loaded model, but refuses every request; the page shows why and what helps."""
    client = client_of(tenant)
    pages = [reverse(name, args=(tenant.slug, endpoint.id)) for name in ("endpoint", "endpoint-live")]
    with tenant_scope(tenant.id):
        Endpoint.objects.filter(id=endpoint.id).update(state=EndpointState.READY)
        budget = budgets.create_budget(actor=actor_for(tenant), amount=Decimal(0), at_limit="block_new", alerts=[])
    for page in pages:
        said = text_of(client.get(page))
        assert "Refuses every request (402)" in said
        assert "Ready." not in said
    with tenant_scope(tenant.id):
        budgets.change_budget(actor=actor_for(tenant), budget_id=budget.id, amount=Decimal(50))
    for page in pages:
        said = text_of(client.get(page))
        assert "Refuses every request" not in said
        assert "Ready." in said


def test_a_try_says_what_was_left_empty_and_what_training_never_saw(
    tenant: Tenant, endpoint: Endpoint, node: Node
) -> None:
    columns = [{"name": "age", "kind": "numeric", "min": 18.0, "max": 90.0}]
    with tenant_scope(tenant.id):
        DatasetVersion.objects.filter(id=endpoint.version.dataset_version_id).update(profile={"columns": columns})
    client, path = client_of(tenant), reverse("endpoint-try", args=("vision", endpoint.id))

    def said(**more: str) -> str:
        return str(text_of(client.post(path, TRY | more, headers={"HX-Request": "true"})))

    assert "x-banner" not in said()
    assert "age: 400 is outside 18 to 90, the range of the training data." in said(**{"try-f0": "400"})
    assert "No value given: plan." in said(**{"try-f1": ""})
    assert "No value given: all inputs." in said(**dict.fromkeys(TRY, ""))
    asked = len(node.asked)
    assert "<strong>age:</strong> Enter a number." in said(**{"try-f0": "1e400"})
    assert len(node.asked) == asked
    page_of = text_of(page(client, "endpoint", endpoint.id))
    assert 'type="number" name="try' not in page_of, "a browser sends a number that is too large as nothing"


def of_numbers(notation: str) -> dict[str, Any]:
    """Return a signature whose age has a notation."""
    signature = plain_signature()
    signature["inputs"][0]["contract"] = Contract("numeric", number=notation).to_json()
    return signature


@pytest.mark.parametrize(
    ("notation", "typed", "read"),
    [
        ("1234.5", "12,5", 12.5), ("1234.5", " 1,234.5 ", 1234.5), ("1234.5", "12 %", 12.0), ("1234.5", "1.234", 1.234),
        ("1234.5", "1.234.567", 1234567.0), ("1234.5", "n/a", None), ("1.234,5", "1.234", 1234.0), ("1.234,5", "12.5", 12.5),
        ("1.234,5", "12,5", 12.5),
    ],
)  # fmt: skip
def test_a_number_is_tried_as_cells_of_its_column_are_read(
    tenant: Tenant, node: Node, notation: str, typed: str, read: float | None
) -> None:
    made = make_endpoint(make_version(actor_for(tenant), "prices", signature=of_numbers(notation)), "prices")
    client, path = client_of(tenant), reverse("endpoint-try", args=("vision", made.id))
    assert client.post(path, {**TRY, "try-f0": typed}, headers={"HX-Request": "true"}).status_code == 200
    assert node.asked[0][2]["instances"][0]["age"] == read


def test_a_number_that_can_be_read_two_ways_is_asked_and_the_typical_one_is_read_back(
    tenant: Tenant, node: Node
) -> None:
    plain = make_endpoint(make_version(actor_for(tenant), "plain", signature=of_numbers("1234.5")), "plain")
    client = client_of(tenant)
    path = reverse("endpoint-try", args=("vision", plain.id))
    refused = client.post(path, {**TRY, "try-f0": "1,234"}, headers={"HX-Request": "true"})
    assert refused.status_code == 422
    assert "can be read two ways. Write 1.234 or 1234." in text_of(refused)
    baseline = plain_baseline()
    baseline["features"]["age"]["typical"] = 1.234
    german = make_version(actor_for(tenant), "german", signature=of_numbers("1.234,5"), baseline=baseline)
    shown = text_of(page(client, "endpoint", make_endpoint(german, "german").id))
    assert 'name="try-f0" value="1,234"' in shown


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ((0.99834, 0.00166), ["99.8", "0.2"]),
        ((1 / 3, 1 / 3, 1 / 3), ["33.4", "33.3", "33.3"]),
        ((1.0, 0.0), ["100.0", "0.0"]),
    ],
)
def test_scores_add_up_as_they_are_shown(scores: tuple[float, ...], shown: list[str]) -> None:
    tried = PredictionPreview(scores=tuple((str(at), score) for at, score in enumerate(scores)))
    assert [words for _, _, words in tried.shares] == [f"{one}\u00a0%" for one in shown]


def test_a_new_key_is_in_the_code_that_calls_and_labels_have_code_too(tenant: Tenant, endpoint: Endpoint) -> None:
    client = client_of(tenant)
    before = text_of(page(client, "endpoint", endpoint.id))
    assert "Bearer YOUR_KEY" in before
    assert f"/api/v1/endpoints/{endpoint.id}/feedback/" in before
    path = reverse("endpoint-key-create", args=("vision", endpoint.id))
    body = text_of(client.post(path, {"name": "shop", "requests_per_minute": "", "form_key": str(uuid4())}))
    secret = body.split('id="secret">')[1].split("<")[0]
    assert f"Bearer {secret}" in body
    assert "YOUR_KEY" not in body


def test_figures_of_one_version_say_which(tenant: Tenant, endpoint: Endpoint) -> None:
    serve(endpoint, quiet_rows(16))
    make = make_version(actor_for(tenant), "newer")
    with tenant_scope(tenant.id):
        Endpoint.objects.filter(id=endpoint.id).update(version=make)
    body = text_of(page(client_of(tenant), "endpoint", endpoint.id))
    for words in (
        "predicted, by any version",
        "newer v1 made no prediction in the last seven days",
        "no ground truth yet for v1",
    ):
        assert words in body, words
