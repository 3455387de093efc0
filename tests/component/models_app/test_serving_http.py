"""The serving node over real HTTP, with its backend in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from models_app.endpoints import playground_tokens
from models_app.serving.accounting.spool import backlog
from models_app.serving.gateway import app
from models_app.serving.node import GOES_ON
from models_app.serving.requests import access
from models_app.serving.requests.calls import Call
from tests.fakes.serving import CHURN, NUMBERS, Memory, Server, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("serving")

ROWS = [
    {"age": 31, "town": "Oslo", "member": True, "since": "2020-05-01"},
    {"age": None, "town": "elsewhere", "member": "no", "since": 1.5e9},
    [55.5, None, 0, "2019-01-02T03:04:05"],
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    backend = Memory(tmp_path_factory.mktemp("models"))
    models = {
        "churn": backend.deploy("churn"), "price": backend.deploy("price", NUMBERS, ()),
        "digit": backend.deploy("digit", NUMBERS, (1, 2, 3)),
    }  # fmt: skip
    with serving(backend, tmp_path_factory.mktemp("home"), *models) as server:
        yield backend, server, models


def post(server: Server, key: str | None, name: str, body: object, **more) -> requests.Response:
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
    data = body if isinstance(body, bytes) else json.dumps(body)
    return requests.post(f"{server.url}/v1/models/{name}:predict", data=data, headers=headers, timeout=90, **more)


def same(one: list, other: list) -> bool:
    for a, b in zip(one, other, strict=True):
        if isinstance(a, dict):
            assert a["label"] == b["label"]
            assert all(abs(a["scores"][name] - b["scores"][name]) < 1e-5 for name in b["scores"])
        else:
            assert abs(a - b) < 1e-5
    return True


def test_predictions_over_http_equal_the_model_in_process(cluster):
    backend, server, models = cluster
    key = backend.key("churn")
    answer = post(server, key, "churn", {"instances": ROWS})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert same(found["predictions"], models["churn"].predict(ROWS))
    assert found["model_version"] == answer.headers["x-exchequer-model-version"] == "churn v1"
    assert len(set(found["prediction_ids"])) == 3
    assert answer.headers["x-exchequer-cost"] == "0.010000000000" or float(answer.headers["x-exchequer-cost"]) == 0.01
    assert answer.headers["x-request-id"]
    rows = [[1, 2.5, -3, None], {"x0": 1, "x1": None, "x2": 0.5, "x3": None}]
    answer = post(server, backend.key("price"), "price", {"instances": rows})
    assert same(answer.json()["predictions"], models["price"].predict(rows))


def test_many_clients_at_once_each_get_their_own_answer(cluster):
    backend, server, models = cluster
    key = backend.key("price")
    failures: list[str] = []

    def client(seed: int) -> None:
        random = np.random.default_rng(seed)
        with requests.Session() as session:
            for _ in range(15):
                rows = random.normal(size=(int(random.integers(1, 5)), 4)).tolist()
                answer = session.post(
                    f"{server.url}/v1/models/price:predict", json={"instances": rows},
                    headers={"Authorization": f"Bearer {key}"}, timeout=90,
                )  # fmt: skip
                if answer.status_code != 200 or not same(answer.json()["predictions"], models["price"].predict(rows)):
                    failures.append(answer.text)

    before = server.node.telemetry.batches.counts[:]
    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    after = server.node.telemetry.batches.counts
    assert sum(after[1:]) > sum(before[1:]), "some batches hold more than one request"


def test_the_curl_example_works_unchanged(cluster):
    backend, server, models = cluster
    done = subprocess.run(
        ["curl", "-sS", "-i", "-H", f"Authorization: Bearer {backend.key('churn')}", "-d",
         json.dumps({"instances": ROWS[:1]}), f"{server.url}/v1/models/churn:predict"],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK")
    assert same(json.loads(body)["predictions"], models["churn"].predict(ROWS[:1]))
    big = subprocess.run(
        ["curl", "-sS", "-H", f"Authorization: Bearer {backend.key('churn')}", "--data-binary", "@-",
         f"{server.url}/v1/models/churn:predict"],
        input=b'{"instances": [' + b" " * (9 << 20) + b"[]]}", capture_output=True, timeout=90, check=True,
    )  # fmt: skip
    assert json.loads(big.stdout)["code"] == "too_large"


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_works_unchanged(cluster, binary):
    backend, server, models = cluster
    headers = {"Authorization": f"Bearer {backend.key('churn')}"}
    with triton.InferenceServerClient(server.address) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("churn", headers=headers)
        assert client.is_model_ready("churn", "1", headers=headers)
        described = client.get_model_metadata("churn", headers=headers)
        assert [tensor["datatype"] for tensor in described["inputs"]] == ["FP64", "BYTES", "BOOL", "BYTES"]
        columns = {
            "age": np.array([31, 55.5, -4]), "town": np.array(["Oslo", "Berne", "Paris"], dtype=object),
            "member": np.array([True, False, True]), "since": np.array(["2020-05-01", "2019-01-02", "1999-12-31"], dtype=object),
        }  # fmt: skip
        inputs = []
        for tensor in described["inputs"]:
            made = triton.InferInput(tensor["name"], [3], tensor["datatype"])
            made.set_data_from_numpy(columns[tensor["name"]], binary_data=binary)
            inputs.append(made)
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "scores")]
        found = client.infer("churn", inputs, outputs=outputs, request_id="mine", headers=headers)
        rows = [
            {name: column[at].item() if name in ("age", "member") else column[at] for name, column in columns.items()}
            for at in range(3)
        ]
        expected = models["churn"].predict(rows)
        labels = [value.decode() if isinstance(value, bytes) else value for value in found.as_numpy("label")]
        assert labels == [one["label"] for one in expected]
        assert np.allclose(found.as_numpy("scores"), [list(one["scores"].values()) for one in expected], atol=1e-5)
        response = found.get_response()
        assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "churn", "1")
        assert client.infer("churn", inputs, model_version="1", headers=headers).as_numpy("scores").shape == (3, 2)
        with pytest.raises(InferenceServerException, match="no such model"):
            client.infer("churn", inputs, model_version="2", headers=headers)
        with pytest.raises(InferenceServerException, match="endpoint key"):
            client.infer("churn", inputs)
        with pytest.raises(InferenceServerException, match="'town' is missing"):
            client.infer("churn", inputs[:1], headers=headers)


@pytest.mark.parametrize("dtype", ["FP32", "FP64", "INT32"])
def test_one_matrix_serves_a_model_of_numbers(cluster, dtype):
    backend, server, models = cluster
    headers = {"Authorization": f"Bearer {backend.key('digit')}"}
    values = np.arange(8).reshape(2, 4).astype({"FP32": np.float32, "FP64": np.float64, "INT32": np.int32}[dtype])
    tensor = triton.InferInput("inputs", [2, 4], dtype)
    tensor.set_data_from_numpy(values)
    with triton.InferenceServerClient(server.address) as client:
        found = client.infer("digit", [tensor], headers=headers)
    expected = models["digit"].predict(values.tolist())
    assert [value.decode() for value in found.as_numpy("label")] == [str(one["label"]) for one in expected]
    gap, endless = (triton.InferInput("inputs", [1, 4], "FP64") for _ in range(2))
    gap.set_data_from_numpy(np.array([[0, np.nan, 1, 2]]))
    endless.set_data_from_numpy(np.array([[0, np.inf, 1, 2]]))
    with triton.InferenceServerClient(server.address) as client:
        found = client.infer("digit", [gap], headers=headers)
        (missing,) = models["digit"].predict([[0, None, 1, 2]])
        assert np.allclose(found.as_numpy("scores")[0], list(missing["scores"].values()), atol=1e-5)
        with pytest.raises(InferenceServerException, match="infinity"):
            client.infer("digit", [endless], headers=headers)


def test_an_invalid_category_is_refused_and_an_unseen_one_reported(cluster):
    backend, server, models = cluster
    headers = {"Authorization": f"Bearer {backend.key('churn')}"}
    age, town = np.array([np.nan, 40.5]), np.array(["Paris", "Oslo"], dtype=object)
    rest = {"member": (np.array([True, False]), "BOOL"), "since": (np.array(["2020-05-01"] * 2, dtype=object), "BYTES")}

    def ask(client, towns, datatype):
        inputs = []
        for name, (values, kind) in {"age": (age, "FP64"), "town": (towns, datatype), **rest}.items():
            inputs.append(triton.InferInput(name, [2], kind))
            inputs[-1].set_data_from_numpy(values)
        return client.infer("churn", inputs, headers=headers)

    with triton.InferenceServerClient(server.address) as client:
        found = ask(client, town, "BYTES")
        rows = [
            {"age": None, "town": "Paris", "member": True, "since": "2020-05-01"},
            {"age": 40.5, "town": "Oslo", "member": False, "since": "2020-05-01"},
        ]
        expected = [list(one["scores"].values()) for one in models["churn"].predict(rows)]
        assert np.allclose(found.as_numpy("scores"), expected, atol=1e-5), "NaN in a tensor is a missing value"
        told = "Row 0, column 'town': 'Paris' is not a category of the training data."
        assert found.get_response()["parameters"] == {"warnings": told}
        for wrong, kind in (
            (np.array([1.0, 2.0]), "FP64"),
            (np.array([True, False]), "BOOL"),
            (np.array([1, 2]), "INT64"),
        ):
            with pytest.raises(InferenceServerException, match=f"'town' takes BYTES .*, not {kind}"):
                ask(client, wrong, kind)
    answer = post(server, backend.key("churn"), "churn", {"instances": rows})
    assert answer.json()["warnings"] == [told]
    assert "warnings" not in post(server, backend.key("churn"), "churn", {"instances": rows[1:]}).json()


GOOD = {"instances": [[1, 2, 3, 4]]}
REFUSALS = [
    (b"", 400, "invalid_json"),
    (b"age=31", 400, "invalid_json"),
    (b'{"instances": [[NaN, 1, 2, 3]]}', 400, "invalid_json"),
    (b'{"instances": [[Infinity, 1, 2, 3]]}', 400, "invalid_json"),
    (b"[" * 100_000, 400, "invalid_json"),
    (b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", 422, "bad_instance"),
    (b"\xff\xfe", 400, "invalid_json"),
    ([1, 2], 400, "invalid_body"),
    ({"instances": {}}, 400, "invalid_body"),
    ({"instances": []}, 400, "invalid_body"),
    ({"instances": [[1, 2, 3, 4]], "more": 1}, 400, "invalid_body"),
    ({"instances": [[1, 2, 3]]}, 422, "bad_instance"),
    ({"instances": [[1, 2, 3, "four"]]}, 422, "bad_instance"),
    ({"instances": [[1, 2, 3, "nan"]]}, 422, "bad_instance"),
    ({"instances": [[1, 2, 3, "inf"]]}, 422, "bad_instance"),
    ({"instances": [[1, 2, 3, {}]]}, 422, "bad_instance"),
    ({"instances": [[1, 2, 3, [4]]]}, 422, "bad_instance"),
    ({"instances": [{"x0": 1, "x9": 2}]}, 422, "bad_instance"),
    ({"instances": [{"x0": 1, "x1": 2, "x2": 3}]}, 422, "bad_instance"),
    ({"instances": ["x0"]}, 422, "bad_instance"),
    ({"instances": [None]}, 422, "bad_instance"),
    (b'{"instances": [[1, 2, 3, 1e400]]}', 400, "invalid_json"),
    ({"instances": [[0, 0, 0, 0]] * 4097}, 413, "too_large"),
]


@pytest.mark.parametrize(("body", "status", "code"), REFUSALS)
def test_every_wrong_body_is_a_coded_problem_and_costs_nothing(cluster, body, status, code):
    backend, server, _ = cluster
    key = backend.key("price")
    answer = post(server, key, "price", body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) in {(status, code), (422, "bad_instance")}, answer.text
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert "x-exchequer-cost" not in answer.headers
    assert "Traceback" not in answer.text
    assert post(server, key, "price", GOOD).status_code == 200


def tensor(**more):
    return {"name": "inputs", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4], **more}


@pytest.mark.parametrize(
    "body",
    [
        {}, {"inputs": []}, {"inputs": [3]}, {"inputs": [tensor(shape=[4])]}, {"inputs": [tensor(shape=[-1, 4])]},
        {"inputs": [tensor(shape=[1, 4, 1])]}, {"inputs": [tensor(datatype="FP63")]}, {"inputs": [tensor(datatype=[])]}, {"inputs": [tensor(datatype={})]},
        {"inputs": [tensor(data=[1, 2])]},
        {"inputs": [tensor(data="1234")]}, {"inputs": [tensor(data=[1, 2, 3, "4"])]}, {"inputs": [tensor(), tensor()]},
        {"inputs": [tensor(datatype="INT32", data=[1, 2, 3, 4.5])]}, {"inputs": [tensor(parameters={"binary_data_size": 99})]},
        {"inputs": [tensor(shape=[1, 3], data=[1, 2, 3])]}, {"inputs": [tensor()], "id": 7}, {"inputs": [tensor(name="y")]},
        {"inputs": [tensor()], "outputs": [{"name": "label"}]}, {"inputs": [tensor()], "parameters": []},
        {"inputs": [tensor()], "outputs": [{"name": "prediction", "parameters": {"classification": 2}}]},
        {"inputs": [tensor(shape=[0, 4], data=[])]}, {"inputs": [tensor(shape=[5000, 4], data=[])]},
    ],
)  # fmt: skip
def test_every_wrong_tensor_is_a_coded_problem(cluster, body):
    backend, server, _ = cluster
    headers = {"Authorization": f"Bearer {backend.key('price')}"}
    answer = requests.post(f"{server.url}/v2/models/price/infer", json=body, headers=headers, timeout=90)
    assert answer.status_code in (400, 413, 422), answer.text
    assert answer.json()["error"] == answer.json()["title"]
    ragged = requests.post(
        f"{server.url}/v2/models/price/infer", data=json.dumps({"inputs": [tensor()]}) + "tail",
        headers={**headers, "Inference-Header-Content-Length": str(len(json.dumps({"inputs": [tensor()]})))}, timeout=90,
    )  # fmt: skip
    assert ragged.status_code == 400


@pytest.mark.parametrize("length", ["9" * 11, "9" * 5000, "-1", "²", "1e3"], ids=lambda text: text[:12])
def test_an_invalid_content_length_is_a_coded_problem(cluster, length):
    backend, server, _ = cluster
    headers = {
        "Authorization": f"Bearer {backend.key('price')}",
        "Inference-Header-Content-Length": length.encode("latin-1"),
    }
    answer = requests.post(f"{server.url}/v2/models/price/infer", data=b"{}", headers=headers, timeout=90)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body"), answer.text


def test_keys_open_their_own_endpoint_only(cluster):
    backend, server, _ = cluster
    key = backend.key("churn")
    assert post(server, None, "churn", GOOD).status_code == 401
    assert post(server, "exq_ep_wrong", "churn", GOOD).json()["code"] == "not_authenticated"
    foreign, absent = post(server, key, "price", GOOD), post(server, key, "nothing", GOOD)
    assert foreign.status_code == absent.status_code == 404
    hide = {"request_id": ""}
    assert foreign.json() | hide == absent.json() | hide
    headers = {"Authorization": f"Bearer {key}"}
    assert requests.get(f"{server.url}/v2/models/price", headers=headers, timeout=60).status_code == 404
    assert requests.get(f"{server.url}/v1/models/churn:predict", headers=headers, timeout=60).status_code == 405
    assert requests.get(f"{server.url}/nothing", timeout=60).status_code == 404
    packed = post(server, key, "churn", b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert packed.json()["code"] == "unsupported_media_type"


def test_head_answers_as_get(cluster):
    backend, server, _ = cluster
    headers = {"Authorization": f"Bearer {backend.key('price')}"}
    for path in ("healthz", "v2/health/ready", "v2", "metrics", "v2/models/price", "v2/models/absent", "nothing"):
        got = requests.get(f"{server.url}/{path}", headers=headers, timeout=60)
        headed = requests.head(f"{server.url}/{path}", headers=headers, timeout=60)
        assert (headed.status_code, headed.headers["Content-Type"]) == (got.status_code, got.headers["Content-Type"])
        assert headed.content == b""
    assert requests.head(f"{server.url}/v2/models/price/infer", headers=headers, timeout=60).status_code == 405


def test_a_revoked_key_is_refused_from_the_next_request_on(cluster):
    backend, server, _ = cluster
    key = backend.key("price")
    assert post(server, key, "price", GOOD).status_code == 200
    backend.revoke(key)
    assert post(server, key, "price", GOOD).status_code == 401
    assert post(server, key, "price", GOOD).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "reveals"),
    [
        ("GET", "v2/models/price", None, "x1"),
        ("GET", "v2/models/price/ready", None, "true"),
        ("POST", "v1/models/price:predict", {"instances": [{"nope": 1}]}, "x1"),
        (
            "POST",
            "v2/models/price/infer",
            {"inputs": [{"name": "nope", "shape": [1], "datatype": "FP64", "data": [1]}]},
            "x1",
        ),
    ],
)
def test_a_revoked_key_learns_nothing_of_the_model_from_the_next_request_on(cluster, method, path, body, reveals):
    backend, server, _ = cluster
    key = backend.key("price")
    headers = {"Authorization": f"Bearer {key}"}

    def ask() -> requests.Response:
        return requests.request(method, f"{server.url}/{path}", json=body, headers=headers, timeout=60)

    assert reveals in ask().text
    backend.revoke(key)
    refused = ask()
    assert refused.status_code == 401
    assert "x1" not in refused.text


def test_a_key_has_its_own_limit(cluster):
    backend, server, _ = cluster
    key = backend.key("price", per_minute=5)
    answers = [post(server, key, "price", GOOD) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["code"] == "rate_limited"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 24
    assert post(server, backend.key("price"), "price", GOOD).status_code == 200


def test_metrics_name_no_tenant_and_no_endpoint(cluster):
    backend, server, _ = cluster
    post(server, backend.key("price"), "price", GOOD)
    text = requests.get(f"{server.url}/metrics", timeout=60).text
    for name in (
        "requests_total",
        "latency_seconds_bucket",
        "batch_requests_bucket",
        "spool_bytes",
        "waiting_requests",
    ):
        assert f"exchequer_serving_{name}" in text
    assert "price" not in text and str(backend.order("price").tenant_id) not in text


def test_every_answered_request_is_accounted_for_once(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    backend.slice_requests = 10
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        answered = sum(post(server, key, "price", GOOD).status_code == 200 for _ in range(60))
        assert answered == 60
        wait_until(lambda: backend.requests() == 60, "usage arrives")
        assert max(number for _, _, number in backend.taken) > 3, "money was held slice by slice"
    assert backend.requests() == 60
    assert {number for _, _, number in backend.taken} == {number for _, number in backend.closed}
    assert sum(sums.requests for drained in backend.flushed for sums in drained.values()) == 60


def test_undeploying_completes_requests_in_flight_and_returns_money(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        backend.undeploy("price")
        wait_until(lambda: not server.serves("price"), "it is taken out")
        assert post(server, key, "price", GOOD).status_code in (401, 503)
        wait_until(lambda: backend.closed, "the slice is closed")
        assert backend.requests() == 1
        assert float(backend.budget) == pytest.approx(1000 - 0.01)


def test_a_new_version_takes_over_without_a_refused_request(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        seen: list[tuple[int, str]] = []
        stop = threading.Event()

        def client() -> None:
            while not stop.is_set():
                answer = post(server, key, "price", GOOD)
                seen.append((answer.status_code, answer.headers.get("x-exchequer-model-version", "")))

        thread = threading.Thread(target=client)
        thread.start()
        backend.deploy("price", NUMBERS, ())
        wait_until(lambda: server.serves("price", 2), "the new version is served")
        wait_until(lambda: seen and seen[-1][1] == "price v2", "it answers")
        stop.set()
        thread.join()
        assert {status for status, _ in seen} == {200}
        wait_until(lambda: ("price", 2, "ready", "") in backend.reports, "it is reported")


def test_while_the_database_is_away_known_keys_go_on_and_usage_arrives_later(tmp_path, monkeypatch):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, unknown = backend.key("price"), backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        wait_until(lambda: backend.requests() == 1, "usage arrives")
        backend.away = True
        answers = [post(server, key, "price", GOOD) for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 10
        refused = post(server, unknown, "price", GOOD)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.headers["Retry-After"]
        assert backend.requests() == 1
        monkeypatch.setattr(access, "TRUSTED_S", 0.0)
        assert post(server, key, "price", GOOD).status_code == 503, "trust ends"
        monkeypatch.undo()
        backend.away = False
        wait_until(lambda: backend.requests() == 11, "usage arrives later")
        assert post(server, unknown, "price", GOOD).status_code == 200


def test_a_spent_budget_is_402_and_heals(tmp_path, monkeypatch):
    monkeypatch.setattr("models_app.serving.accounting.balance.ASK_AGAIN_S", 0.3)
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    backend.budget = backend.budget.from_float(0.05)
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        answers = [post(server, key, "price", GOOD) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [402] * 3
        assert answers[-1].json()["code"] == "budget_exceeded"
        assert answers[-1].headers["Retry-After"] == "30"
        wait_until(lambda: backend.requests() == 5, "usage arrives")
        backend.budget += 1
        wait_until(lambda: post(server, key, "price", GOOD).status_code == 200, "it heals by itself")


class FullDisk:
    """A disk that is full while `full`, in the middle of a line."""

    def __init__(self) -> None:
        self.full = False

    def __call__(self, file: int, data: bytes) -> int:
        import errno
        import os

        if not self.full:
            return os.write(file, data)
        os.write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_503_charges_nothing_and_heals(tmp_path):
    backend, disk = Memory(tmp_path / "m"), FullDisk()
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price", write=disk) as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        disk.full = True
        refused = [post(server, key, "price", GOOD) for _ in range(3)]
        assert {(one.status_code, one.json()["code"]) for one in refused} == {(503, "usage_not_recorded")}
        disk.full = False
        assert post(server, key, "price", GOOD).status_code == 200
        wait_until(lambda: backend.requests() == 2, "only what was answered is accounted for")
        time.sleep(0.3)  # for anything more that might arrive
        assert backend.requests() == 2
    assert float(backend.budget) == pytest.approx(1000 - 0.02)


def test_overload_is_refused_early(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, (), slo_ms=50)
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        worker = server.node.find(backend.order("price").endpoint_id)
        assert worker is not None
        entered, gate, serve = threading.Event(), threading.Event(), worker._serve_safely

        def held_up(calls: list[Call]) -> None:
            entered.set()
            gate.wait(60)
            serve(calls)

        worker._serve_safely = held_up  # type: ignore[method-assign]
        with ThreadPoolExecutor(2) as pool:
            served = pool.submit(post, server, key, "price", GOOD)
            assert entered.wait(60)
            worker.batcher.batch_s = 1000.0  # batches are slow: a call that would wait for a second one is refused
            waits = pool.submit(post, server, key, "price", GOOD)
            wait_until(lambda: len(worker.batcher) == 1, "one waits")
            answer = post(server, key, "price", GOOD)
            gate.set()
            assert [one.result().status_code for one in (served, waits)] == [200, 200]
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
    assert 900 < int(answer.headers["Retry-After"]) <= 1000


def test_an_abandoned_request_in_the_queue_is_not_predicted_or_charged(tmp_path, monkeypatch):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        worker = server.node.find(backend.order("price").endpoint_id)
        assert worker is not None
        entered, gate, serve, scores = threading.Event(), threading.Event(), worker._serve_safely, worker.model.scores
        predicted: list[int] = []

        def held_up(calls: list[Call]) -> None:
            entered.set()
            gate.wait(60)
            serve(calls)

        monkeypatch.setattr(worker, "_serve_safely", held_up)
        monkeypatch.setattr(worker.model, "scores", lambda block: predicted.append(block.rows) or scores(block))
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(post, server, key, "price", GOOD)
            assert entered.wait(60)
            monkeypatch.setattr(app, "ANSWER_S", 0.2)
            lost = post(server, key, "price", GOOD)
            assert (lost.status_code, lost.json()["code"]) == (503, "unavailable")
            monkeypatch.setattr(app, "ANSWER_S", 60.0)
            waits = pool.submit(post, server, key, "price", GOOD)
            wait_until(lambda: len(worker.batcher) == 2, "one waits beside the one that was given up")
            gate.set()
            assert [one.result().status_code for one in (first, waits)] == [200, 200]
        assert predicted == [1, 1], "in the second batch one of two"
    assert backend.requests() == 3, "what was answered"


def test_a_request_abandoned_during_its_key_check_is_not_charged(tmp_path, monkeypatch):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key, known, gate = backend.key("price"), backend.known, threading.Event()
        assert post(server, key, "price", GOOD).status_code == 200
        worker = server.node.find(backend.order("price").endpoint_id)
        assert worker is not None
        scores, predicted = worker.model.scores, []
        monkeypatch.setattr(worker.model, "scores", lambda block: predicted.append(block.rows) or scores(block))
        monkeypatch.setattr(access, "PATIENCE_S", 60.0)
        monkeypatch.setattr(backend, "known", lambda digests: gate.wait(60) and known(digests))
        monkeypatch.setattr(app, "ANSWER_S", 3.0)
        assert post(server, key, "price", GOOD).status_code == 503
        assert predicted == [1], "its batch had begun"
        monkeypatch.setattr(app, "ANSWER_S", 60.0)
        gate.set()
        assert post(server, key, "price", GOOD).status_code == 200
        assert server.node.telemetry.refused == {"unavailable": 1}, "counted once, at the door"
    assert [record["requests"] for record in backend.usage.values()] == [1, 1]


def test_rows_of_an_abandoned_request_are_charged_to_no_other(tmp_path, monkeypatch):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        worker = server.node.find(backend.order("price").endpoint_id)
        assert worker is not None
        gate, serve, scores = threading.Event(), worker._serve_safely, worker.model.scores
        batch: list[Call] = []

        def held_up(calls: list[Call]) -> None:
            gate.wait(60)
            batch[:] = calls
            serve(calls)

        def gives_up(block):
            if len(batch) == 2:
                batch[0].loop.call_soon_threadsafe(batch[0].future.cancel)  # as its timeout does, at this moment
                wait_until(lambda: batch[0].given_up, "it is given up")
                before = time.thread_time()
                while time.thread_time() < before + 0.4:
                    pass
            return scores(block)

        monkeypatch.setattr(worker, "_serve_safely", held_up)
        monkeypatch.setattr(worker.model, "scores", gives_up)
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(post, server, key, "price", GOOD)
            wait_until(lambda: worker.batcher._busy_since is not None, "it is held up")
            both = []
            for waiting in (1, 2):
                both.append(pool.submit(post, server, key, "price", GOOD))
                wait_until(lambda waiting=waiting: len(worker.batcher) == waiting, "it waits behind")
            gate.set()
            assert [one.result().status_code for one in (first, both[1])] == [200, 200]
            assert both[0].result().status_code != 200
    last = max(backend.usage.values(), key=lambda record: record["n"])
    assert last["requests"] == 1
    assert 200 <= float(last["ms"]) < 300, "half of the processor time that the batch took"


def test_a_broken_artefact_fails_the_endpoint_with_a_sentence(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    backend.deploy("churn", CHURN)
    home = backend.models[backend.order("price").weights.key]
    (home / "model.safetensors").write_bytes(b"\x80\x04 not a model")
    with serving(backend, tmp_path / "home", "churn") as server:
        wait_until(lambda: any(report[0] == "price" for report in backend.reports), "it is reported")
        ((state, message),) = {one[2:] for one in backend.reports if one[0] == "price"}  # it may be reported again
        assert state == "failed" and message.startswith("The stored model")
        assert post(server, backend.key("churn"), "churn", {"instances": ROWS}).status_code == 200
        assert post(server, backend.key("price"), "price", GOOD).json()["code"] == "endpoint_not_ready"


def test_a_failed_rollout_keeps_the_serving_version_and_states_that_it_is_charged(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    with serving(backend, tmp_path / "home", "price") as server:
        old = backend.order("price")
        bad = shutil.copytree(backend.models[old.weights.key], tmp_path / "bad")
        (bad / "model.safetensors").write_bytes(b"\x80\x04 not a model")
        weights = backend._stored(bad / "model.safetensors")
        backend.models[weights.key] = bad
        backend.orders[old.endpoint_id] = replace(old, generation=2, number=2, weights=weights)
        backend.moved.set()
        wait_until(lambda: any(report[1] == 2 for report in backend.reports), "it is reported")
        ((state, message),) = {one[2:] for one in backend.reports if one[1] == 2}
        assert state == "failed" and message.endswith(GOES_ON)
        assert backend.answering["price"]
        assert post(server, backend.key("price"), "price", GOOD).status_code == 200


def test_the_next_boot_replays_what_the_last_one_left(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    home = tmp_path / "home"
    with serving(backend, home, "price") as server:
        key = backend.key("price")
        assert post(server, key, "price", GOOD).status_code == 200
        wait_until(lambda: backend.requests() == 1, "usage arrives")
        backend.away = True
        for _ in range(7):
            assert post(server, key, "price", GOOD).status_code == 200
        first = server.node.boot
    assert backend.requests() == 1
    assert backlog(home / "spool") > 0
    backend.away = False
    with serving(backend, home, "price"):
        wait_until(lambda: backend.requests() == 8, "the spool is replayed")
        wait_until(lambda: first in backend.left_behind, "what it held is given back")
    assert not [path for path in Path(home / "spool").iterdir() if str(first) in path.name]


def test_a_permanently_refused_record_does_not_block_the_others(tmp_path):
    backend = Memory(tmp_path / "m")
    backend.deploy("price", NUMBERS, ())
    backend.poison = {2}
    with serving(backend, tmp_path / "home", "price") as server:
        key = backend.key("price")
        for _ in range(4):
            assert post(server, key, "price", GOOD).status_code == 200
        wait_until(lambda: backend.requests() == 3, "the others arrive")
        wait_until(
            lambda: "batches_set_aside 1" in requests.get(f"{server.url}/metrics", timeout=60).text, "it is counted"
        )
        kept = (tmp_path / "home" / "spool" / f"{server.node.boot}.refused").read_text()
        assert json.loads(kept)["n"] == 2


def test_a_pass_of_the_page_opens_its_endpoint_once(cluster):
    backend, server, _ = cluster
    order = backend.order("price")

    def sign(**more):
        given = {"tenant_id": order.tenant_id, "endpoint_id": order.endpoint_id, "user_id": uuid4(),
                 "now_s": time.time(), "nonce": b"12345678", **more}  # fmt: skip
        return {playground_tokens.HEADER: playground_tokens.sign(more.pop("secret", server.node.secret), **given)}

    one = sign()
    assert post(server, None, "price", GOOD, headers=one).status_code == 200
    again = post(server, None, "price", GOOD, headers=one)
    assert (again.status_code, again.json()["title"]) == (401, "The token has already been used.")
    assert post(server, None, "price", GOOD, headers=sign(now_s=time.time() - 60)).status_code == 401
    assert post(server, None, "churn", GOOD, headers=sign(nonce=b"87654321")).status_code == 404
    assert post(server, None, "price", GOOD, headers={playground_tokens.HEADER: "AAAA"}).status_code == 401
