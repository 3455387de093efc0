"""The main path as its user walks it: `make up`, a browser, three real tables, the bill, the log, the dashboard."""

import json
import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import boto3
import pytest
import redis
import requests
from playwright.sync_api import Browser, Page, expect

from tests.scenarios.stack import Stack
from tests.scenarios.user_flows import launch, log_in, succeeded, upload, walking
from tests.support.datasets import write_csv

#: dataset: (recipe, test metric, its required value)
WANTED = {
    "breast_cancer": ("tabular.classifier", "accuracy", 0.9),
    "digits": ("tabular.classifier", "accuracy", 0.9),
    "diabetes": ("tabular.regressor", "r2", 0.4),
}

pytestmark = pytest.mark.xdist_group("walks")


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    with walking(browser, stack) as page:
        yield page


def train(page: Page, name: str, recipe: str) -> str:
    launched = launch(page, name, recipe, "lab")
    expect(page.locator("main")).to_contain_text("Running")
    expect(page.locator("main")).to_contain_text(re.compile("epoch", re.IGNORECASE))
    succeeded(page)
    return launched


def test_a_new_member_trains_three_models_and_the_invoice_shows_every_second(
    page: Page, stack: Stack, tmp_path: Path
) -> None:
    log_in(page, stack.email, stack.password, "lab")
    jobs = {}
    for name, (recipe, metric, wanted) in WANTED.items():
        upload(page, write_csv(name, tmp_path), "lab")
        jobs[name] = stack.job(train(page, name, recipe))
        reached = jobs[name]["metrics"][metric]
        assert reached > wanted, f"{name}: {metric} {reached}"

    # Another test of this stack may have trained before.
    billed = sum(Decimal(stack.job(job["id"])["billed_seconds"]) for job in stack.get("jobs/")["results"])
    invoice = stack.get("invoices/")["results"][0]
    lines = stack.get(f"invoices/{invoice['id']}/lines/")["results"]
    assert invoice["state"] == "draft"
    assert sum(Decimal(line["quantity"]) for line in lines) == billed, "a line a tier: another test may have used spot"
    line = max(lines, key=lambda one: Decimal(one["unit_amount"]["amount"]))
    billed = Decimal(line["quantity"])
    exact = billed * Decimal(line["unit_amount"]["amount"])
    assert Decimal(line["exact"]["amount"]) == exact > 0
    assert abs(Decimal(line["amount"]["amount"]) - exact) <= Decimal("0.005")
    assert Decimal(invoice["total"]["amount"]) == sum(Decimal(one["amount"]["amount"]) for one in lines), (
        "on a fast machine both round to 0"
    )

    page.goto("/t/lab/invoice/")
    expect(page.locator("main")).to_contain_text("Device time")
    page.goto(f"/t/lab/invoices/{invoice['id']}/lines/{lines.index(line) + 1}/")
    for job in jobs.values():
        expect(page.locator(f"main a[href$='/jobs/{job['id']}/']").first).to_be_visible()

    job = next(iter(jobs.values()))
    for action, only in (
        ("models_app.dataset.", "action=models_app.dataset."),
        ("compute.job.submitted", f"target={job['id']}"),
        ("tenants.tenant.created", "action=tenants.tenant."),
    ):
        page.goto(f"/t/lab/audit/?acts=all&{only}")
        expect(page.locator("main tbody")).to_contain_text(action)
    assert stack.get("audit/verify/")["ok"] is True

    page.goto("/t/lab/dash/spend/")
    expect(page.locator("main")).to_contain_text("breast_cancer-baseline")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=20_000)
    assert "Traceback" not in stack.log("web")


def test_the_quick_start_of_the_api_runs_as_it_is_written(stack: Stack, tmp_path: Path) -> None:
    described = requests.get(f"{stack.url}/api/schema/?format=json", timeout=60).json()["info"]["description"]
    (script,) = re.findall(r"```sh\n(.*?)```", described, re.S)
    assert f"HOST={stack.url} KEY=exq_..." in script
    script = "set -eu -o pipefail\n" + script.replace("exq_...", stack.key)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    _, end = json.JSONDecoder().raw_decode(done.stdout)
    job = json.loads(done.stdout[end:])
    assert (job["state"], bool(job["model_version"])) == ("succeeded", True)


def test_ledger_and_usage_reconcile_and_commands_report_it(stack: Stack) -> None:
    stack.manage("confirm_key_backup")
    for command in ("verify_audit", "verify_ledger", "reconcile", "doctor"):
        done = stack.manage(command)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"


#: What concerns no tenant: the broker's queues and bindings, and figures of the whole installation.
NOBODYS_KEYS = re.compile(r"_kombu\.|unacked|ops$|node\.|:1:metrics")
NOBODYS_OBJECTS = re.compile(r"\.ready$|audit/")


def test_what_is_kept_outside_the_database_names_its_tenant(stack: Stack) -> None:
    """After the other walks of this stack, whichever came before."""
    rows = b"".join(b"%d,%d\n" % (number, number % 2) for number in range(60))
    dataset = stack.upload("tenancy", b"a,target\n" + rows, "target")
    given = stack.environment("ops")
    s3 = boto3.client(
        "s3",
        endpoint_url=given["S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
    objects = {row["Key"] for row in s3.list_objects_v2(Bucket=given["S3_BUCKET"])["Contents"]}
    assert any(f"/d/{dataset}/" in key for key in objects)
    of_tenants = {key for key in objects if re.match(r"t/[0-9a-f-]{36}/", key)}
    assert {key for key in objects - of_tenants if not NOBODYS_OBJECTS.match(key)} == set()
    keys = set()
    for url in (given["BROKER_URL"], given["CACHE_URL"]):
        with redis.Redis.from_url(url) as link:
            keys |= {key.decode() for key in link.scan_iter(count=1000)}
    assert {key for key in keys if not NOBODYS_KEYS.match(key)} == set()
    assert {key for key in keys if "_kombu" in key}, "the broker is the one that is used"
