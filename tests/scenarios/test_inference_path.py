"""From a table to the last line of the bill: train, approve, deploy, try, call, batch, monitor, undeploy.

Its own organisation on the shared stack, so that every request and second on its invoice is known.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import re
import secrets
import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from billing.defaults import SLOT_SECONDS
from tests.scenarios.invoice_client import explanation, held, in_use, lines_of, node_of, spooled
from tests.scenarios.out_of_process import ask, run, same
from tests.scenarios.stack import Stack
from tests.scenarios.user_flows import WAIT_S, choose, job_id, join, launch, promote, succeeded, upload, walking
from tests.support.datasets import TARGET, csv_bytes, write_csv
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("walks")

SLUG, ENDPOINT, A_REQUEST = "clinic", "screening", 10
TABLE = list(csv.DictReader(io.StringIO(csv_bytes("breast_cancer").decode())))
TRUTH = [row[TARGET] for row in TABLE]
ROWS = [{name: float(value) for name, value in row.items() if name != TARGET} for row in TABLE]


@pytest.fixture(scope="module")
def clinic(stack: Stack) -> Stack:
    """An organisation with a budget; its owner watches, its engineer and its admin act."""
    own = copy.copy(stack)
    own.email, own.key = "olga@clinic.example", f"exq_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    made = stack.manage(
        "create_tenant", "Clinic", f"--email={own.email}", f"--password={own.password}", f"--api-key={own.key}"
    )
    assert made.returncode == 0, made.stdout + made.stderr
    own.post("budgets/", json={"scope": "tenant", "amount": "500.00", "period": "month", "alerts": [80]})
    return own


@pytest.fixture
def engineer(browser: Browser, clinic: Stack) -> Iterator[Page]:
    with walking(browser, clinic) as page:
        join(page, clinic, "emil@clinic.example", "engineer", SLUG)
        yield page


@pytest.fixture
def admin(browser: Browser, clinic: Stack) -> Iterator[Page]:
    with walking(browser, clinic) as page:
        join(page, clinic, "ada@clinic.example", "admin", SLUG)
        yield page


def test_a_model_is_approved_served_called_watched_and_paid_for(
    engineer: Page, admin: Page, clinic: Stack, tmp_path: Any
) -> None:
    upload(engineer, write_csv("breast_cancer", tmp_path), SLUG)
    train = launch(engineer, "breast_cancer", "tabular.classifier", SLUG)
    succeeded(engineer)
    trained = clinic.job(train)
    version = promote(engineer, admin, trained["model_version"], SLUG)
    expect(admin.locator("main")).to_contain_text(re.compile(r"Approved\s*ada@clinic\.example"))
    endpoint = deploy(engineer, clinic, version)
    truth = ask(clinic, ROWS, "model", clinic.get("me/")["tenant"]["id"], trained["model_version"])

    tried = try_it(engineer)
    key = make_key(engineer)
    asked = call(clinic, key, truth)
    typical = copied(engineer, key)
    assert str(typical["label"]) == tried
    same(ask(clinic, [list(row.values()) for row in ROWS[:100]], "triton", node_of(clinic), ENDPOINT, key), truth[:100])
    answered = 1 + len(asked) + 2 + 1  # tried, called, curl and the snippet, the client with a hundred rows

    batch = run_over_the_table(engineer, clinic, version, truth)
    label_all(clinic, endpoint, asked)
    look_at_its_health(engineer, clinic, endpoint, truth, answered)
    explained(admin, clinic, endpoint, {"device_seconds": trained, "batch_seconds": batch}, answered)
    undeploy(engineer, clinic, endpoint, key)
    assert lines_of(clinic)["inference_requests"]["quantity"] == Decimal(answered)

    admin.goto(f"/t/{SLUG}/audit/")
    for action in ("model_version.requested", "model_version.promoted", "endpoint.deployed", "endpoint.undeployed"):
        expect(admin.locator("main")).to_contain_text(f"models_app.{action}")
    assert clinic.get("audit/verify/")["ok"] is True
    clinic.manage("confirm_key_backup")
    for command in ("verify_audit", "verify_ledger", "reconcile", "doctor"):
        done = clinic.manage(command)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    for part in ("web", "serving", "ops"):
        assert "Traceback" not in clinic.log(part), part


def deploy(page: Page, clinic: Stack, version: str) -> str:
    """Deploy by the form and wait on the endpoint's page until it is ready; return its id."""
    page.goto(f"/t/{SLUG}/endpoints/")
    page.get_by_role("link", name="Deploy a model").first.click()
    choose(page, "#id_version", version)
    page.get_by_label("Endpoint name").fill(ENDPOINT)
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(ENDPOINT)
    expect(page.locator("#live")).to_contain_text("Ready.")
    (found,) = clinic.get("endpoints/")["results"]
    assert found["answers"]
    assert in_use(clinic) == 1
    return str(found["id"])


def try_it(page: Page) -> str:
    """Predict the row that the page offers; return the label."""
    page.get_by_role("button", name="Predict").click()
    tried = page.locator("#try-result")
    expect(tried.locator(".x-tile-value")).to_have_text(re.compile(r"^\s*[01]\s*$"))
    expect(tried.locator(".x-tile-note")).to_contain_text(re.compile(r"v1, \d+\sms, €0\.000\d+"))
    expect(tried.get_by_role("region", name="Table: Scores").get_by_role("row")).to_have_count(3)
    return tried.locator(".x-tile-value").inner_text()


def make_key(page: Page) -> str:
    """Create a key by the form; it is shown once."""
    page.get_by_label("Name", exact=True).fill("clinic-frontend")
    page.get_by_role("button", name="Create key").click()
    secret = page.locator("#secret").inner_text()
    page.goto(page.url.partition("keys/")[0])
    expect(page.get_by_role("region", name="Table: Endpoint keys")).to_contain_text("clinic-frontend")
    assert secret not in page.content()
    return secret


def call(clinic: Stack, key: str, truth: list[Any]) -> list[dict[str, Any]]:
    """Predict the whole table over HTTP, and send refused requests; return the predictions.

    They equal the model's own.
    """
    url, answers = f"http://{node_of(clinic)}/v1/models/{ENDPOINT}:predict", []
    headers = {"Authorization": f"Bearer {key}"}
    for at in range(0, len(ROWS), A_REQUEST):
        answer = requests.post(url, json={"instances": ROWS[at : at + A_REQUEST]}, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        assert Decimal(answer.headers["x-exchequer-cost"]) > 0
        answers.append(answer.json())
    same([one for answer in answers for one in answer["predictions"]], truth)
    bad = requests.post(url, json={"instances": [ROWS[0] | {"mean_radius": "wide"}]}, headers=headers, timeout=60)
    assert (bad.status_code, bad.json()["code"], bad.json()["column"]) == (422, "bad_instance", "mean_radius")
    assert requests.post(url, json={"instances": ROWS[:1]}, timeout=60).status_code == 401
    return answers


def copied(page: Page, key: str) -> dict[str, Any]:
    """Run the page's code for curl and for tritonclient as copied, with the key inserted; return curl's response."""
    code = {
        title: page.get_by_role("region", name=f"Code: {title}", include_hidden=True).text_content() or ""
        for title in ("curl", "Python, tritonclient")
    }
    code = {title: text.replace("YOUR_KEY", key) for title, text in code.items()}
    one = json.loads(run(["bash", "-c", code["curl"].replace("curl ", "curl -sS ", 1)]))["predictions"][0]
    shown = run([sys.executable, "-c", code["Python, tritonclient"]])
    assert f"'model_name': '{ENDPOINT}'" in shown
    return dict(one)


def run_over_the_table(page: Page, clinic: Stack, version: str, truth: list[Any]) -> dict[str, Any]:
    """Predict the dataset by a job from the version's page; its download equals the model's predictions.

    Returns the job.
    """
    page.get_by_role("link", name=version).first.click()
    page.get_by_role("link", name="Batch prediction").click()
    choose(page, "#id_dataset", "breast_cancer")
    expect(page.locator("#cost .x-cost-total")).to_contain_text("€")
    page.get_by_role("button", name="Launch").click()
    job = job_id(page)
    succeeded(page)
    page.reload()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    lines = list(csv.DictReader(download.value.path().read_text().splitlines()))
    found = [{"label": row["label"], "scores": [float(row["score_0"]), float(row["score_1"])]} for row in lines]
    same(found, truth)
    return clinic.job(job)


def label_all(clinic: Stack, endpoint: str, asked: list[dict[str, Any]]) -> None:
    """Send ground truth for all predictions."""
    ids = [one for answer in asked for one in answer["prediction_ids"]]
    items = [{"prediction_id": one, "label": label} for one, label in zip(ids, TRUTH, strict=True)]
    counts = clinic.post(f"endpoints/{endpoint}/feedback/", 200, json={"items": items})
    assert counts == {"accepted": len(TRUTH), "known": 0, "errors": []}


def look_at_its_health(page: Page, clinic: Stack, endpoint: str, truth: list[Any], answered: int) -> None:
    """Check requests, latency, predictions and accuracy on the endpoint's page and on Model health."""
    requests_seen = answered + 1  # the refused row counts as a request too
    rows = len(ROWS) + 100 + 3
    path = f"endpoints/{endpoint}/traffic/"
    wait_until(lambda: clinic.get(path)["rows"] == rows, "all rows are counted", WAIT_S)
    traffic, health = clinic.get(path), clinic.get(f"endpoints/{endpoint}/health/")
    assert traffic["requests"] == requests_seen
    assert 0 < traffic["p50_ms"] <= traffic["p95_ms"]
    right = sum(str(one["label"]) == label for one, label in zip(truth, TRUTH, strict=True)) / len(TRUTH)
    # The newest labels are evaluated; which five hundred is unspecified, so the share may differ by the rest.
    assert math.isclose(health["labels"]["value"], right, abs_tol=0.02)
    assert math.isclose(sum(health["output"]["after"]), 1, abs_tol=1e-9)
    assert not any(feature["drifted"] for feature in health["drift"])
    assert health["alerts"] == []

    page.goto(f"/t/{SLUG}/endpoints/{endpoint}/")
    tiles = page.locator(".x-tiles").first
    expect(tiles).to_contain_text(re.compile(rf"Requests, 24 h\s*{requests_seen}"))
    expect(tiles).to_contain_text(re.compile(r"p95 latency\s*[\d.]+\sms"))
    expect(page.get_by_role("region", name="Table: Drift")).to_contain_text("Steady")
    page.get_by_role("link", name="Model health").first.click()
    tiles = page.locator("#tiles")
    expect(tiles).to_contain_text(re.compile(rf"Requests\s*{requests_seen}"))
    expect(tiles).to_contain_text(re.compile(r"Accuracy\s*0\.9\d*\s*newest \d+ ground truth labels of any time"))
    expect(tiles).to_contain_text(re.compile(r"p95 latency\s*[\d.]+\sms"))
    expect(page.locator("#predictions-chart .js-plotly-plot")).to_be_visible()
    predictions = page.locator("#predictions-table")
    assert re.search(r"0[\d.]+\s%[\d.]+\s%.*1[\d.]+\s%[\d.]+\s%", predictions.text_content() or "")


def explained(page: Page, clinic: Stack, endpoint: str, jobs: dict[str, dict[str, Any]], answered: int) -> None:
    """Compare every line of the draft with what ran: quantity times price, down to attempts and spooled batches."""
    wait_until(lambda: lines_of(clinic).get("inference_requests", {}).get("quantity") == answered, f"{answered} requests are billed", WAIT_S)  # fmt: skip
    lines = lines_of(clinic)
    slot = lines.pop(SLOT_SECONDS, None)  # it exists after a quarter of an hour, and is free here
    assert slot is None or Decimal(slot["exact"]["amount"]) == 0
    assert lines.keys() == {"device_seconds", "batch_seconds", "inference_requests", "inference_ms"}
    (invoice,) = clinic.get("invoices/")["results"]
    pieces = {}
    for meter, line in lines.items():
        exact = line["quantity"] * Decimal(line["unit_amount"]["amount"])
        assert Decimal(line["exact"]["amount"]) == exact > 0
        assert abs(Decimal(line["amount"]["amount"]) - exact) <= Decimal("0.005")
        shares, pieces[meter] = explanation(clinic, invoice["id"], line["n"])
        for parts in (shares, pieces[meter]):
            assert sum(Decimal(part["quantity"]) for part in parts) == line["quantity"]
            assert sum(Decimal(part["exact"]["amount"]) for part in parts) == exact
        if meter in jobs:
            assert {share["attempt"] for share in shares} == {one["id"] for one in jobs[meter]["attempts"]}
            assert {share["job"] for share in shares} == {jobs[meter]["id"]}
            assert line["quantity"] == Decimal(jobs[meter]["billed_seconds"])
        else:
            assert {piece["resource"] for piece in pieces[meter]} == {f"endpoint:{endpoint}"}
            billed = [(datetime.fromisoformat(one["starts_at"]), Decimal(one["measured"])) for one in pieces[meter]]
            assert sorted(billed) == spooled(clinic, endpoint)[meter]
    total = sum(Decimal(line["amount"]["amount"]) for line in lines.values())
    assert Decimal(invoice["total"]["amount"]) == total
    served = sum(Decimal(lines[meter]["exact"]["amount"]) for meter in ("inference_requests", "inference_ms"))
    assert Decimal(clinic.get(f"endpoints/{endpoint}/")["cost"]["amount"]) == served

    page.goto(f"/t/{SLUG}/invoice/")
    expect(page.locator("main")).to_contain_text("Reconciled")
    for meter, line in lines.items():
        page.goto(f"/t/{SLUG}/invoices/{invoice['id']}/lines/{line['n']}/")
        main = page.locator("main")
        if meter in jobs:
            expect(main.locator(f"a[href$='/jobs/{jobs[meter]['id']}/']").first).to_be_visible()
            expect(main.locator(f"a[href$='?attempt={jobs[meter]['attempts'][0]['id']}']")).to_be_visible()
        else:
            expect(main.get_by_role("region", name="Table: Batches")).to_contain_text(ENDPOINT)
            expect(main.locator(f"a[href$='/endpoints/{endpoint}/']").first).to_be_visible()


def undeploy(page: Page, clinic: Stack, endpoint: str, key: str) -> None:
    """Undeploy by its dialog: it no longer serves, and slot and money are released."""
    assert held(clinic) > 0
    page.goto(f"/t/{SLUG}/endpoints/{endpoint}/")
    page.get_by_role("button", name="Undeploy").click()
    page.get_by_role("dialog").get_by_label("Type").fill(ENDPOINT)
    page.get_by_role("dialog").get_by_role("button", name="Undeploy").click()
    expect(page.locator("#live")).to_contain_text("Undeployed")
    url, headers = f"http://{node_of(clinic)}/v1/models/{ENDPOINT}:predict", {"Authorization": f"Bearer {key}"}

    def refused() -> bool:
        answer = requests.post(url, json={"instances": ROWS[:1]}, headers=headers, timeout=60)
        return answer.status_code in (401, 404)

    wait_until(refused, "the endpoint answers no more", WAIT_S)
    wait_until(lambda: held(clinic) == 0, "the held money comes back", WAIT_S)
    assert in_use(clinic) == 0
