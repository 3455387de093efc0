"""A thief with the credentials of a node's worker, on the real product (T1)."""

import psycopg
import pytest

from tests.scenarios.stack import Stack
from tests.support.datasets import csv_bytes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("walks")


def test_the_login_of_a_node_shows_an_organisation_only_while_it_works_for_it(stack: Stack) -> None:
    url = stack.environment("node")["DATABASE_URL"]
    assert url.startswith("postgresql://exchequer_node_"), "the worker logs in as its node"
    dataset = stack.upload("stolen", csv_bytes("digits"), "target")
    with psycopg.connect(url, autocommit=True) as thief:

        def seen() -> list[int]:
            tables = ("tenants_tenant", "compute_job", "tenants_datakey", "models_app_dataset", "billing_contract")
            return [len(thief.execute(f"SELECT FROM {table}").fetchall()) for table in tables]

        assert seen() == [0] * 5, "no organisation is named"
        thief.execute("SELECT set_config('app.tenant', %s, false)", [stack.get("me/")["tenant"]["id"]])
        assert seen() == [0] * 5, "it does no work"
        job = stack.launch(dataset, params={"epochs": 50, "patience": 50, "width": 512, "layers": 4})
        wait_until(lambda: stack.job(job)["state"] == "running", "the job runs")
        tenant, jobs, *_ = seen()
        assert (tenant, jobs) == (1, 1), "the job that it runs, and no other"
        for refused in ("SELECT email FROM tenants_user", "SELECT * FROM tenants_auditentry", "SET ROLE exchequer_app"):
            with pytest.raises(psycopg.Error, match="permission denied"):
                thief.execute(refused)
        stack.post(f"jobs/{job}/cancel/", status=200)
        stack.wait_ended(job)
        wait_until(lambda: seen() == [0] * 5, "the work is over, its child has ended")
    assert "permission denied" not in stack.log("node")
