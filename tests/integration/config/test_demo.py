"""A small demo: what holds of any history holds of this one, one seed makes one demo, and a failed run leaves nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from config.demo import children, loading
from config.demo.organisations import RETAILER, organisations
from models_app.models import Endpoint, HealthAlert, ModelVersion, PipelineRun, Preset
from models_app.object_store import storage
from models_app.pipelines import reading, weekly
from tenants import quotas
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership, Tenant
from tenants.notifications import notifications
from tests.conftest import SESSION
from tests.integration.config import landing
from tests.support import selling

# One worker for all: a started load is recorded in the home that the workers of a run share.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("demo")]

NUMBER, DAYS, SEED = 2, 5, 7
UNTIL = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
WHAT_MATTERS = {
    "jobs": "SELECT t.slug, j.state, j.cause, count(*), round(sum(j.spent), 6), sum(j.measured_s) FROM compute_job j JOIN tenants_tenant t ON t.id = j.tenant_id GROUP BY 1, 2, 3",
    "attempts": "SELECT outcome, count(*), sum(measured_s) FROM compute_attempt GROUP BY 1",
    "usage": "SELECT t.slug, m.key, round(sum(r.billable), 3), round(sum(r.amount), 6) FROM billing_usagerollup r JOIN billing_meter m ON m.id = r.meter_id JOIN tenants_tenant t ON t.id = r.tenant_id GROUP BY 1, 2",
    "audit": "SELECT t.slug, a.action, count(*) FROM tenants_auditentry a JOIN tenants_tenant t ON t.id = a.tenant_id GROUP BY 1, 2",
    "metrics": "SELECT count(*), count(DISTINCT job_id) FROM compute_jobmetric",
    "windows": "SELECT t.slug, sum(w.requests), sum(w.rows) FROM models_app_healthwindow w JOIN tenants_tenant t ON t.id = w.tenant_id GROUP BY 1",
    "alerts": "SELECT kind, subject FROM models_app_healthalert",
    "labels": "SELECT count(*), count(*) FILTER (WHERE correct) FROM models_app_feedback",
    "budgets": "SELECT t.slug, b.amount, p.period, round(p.spent, 6), p.held FROM billing_budgetperiod p JOIN billing_budget b ON b.id = p.budget_id JOIN tenants_tenant t ON t.id = p.tenant_id",
}
#: How many successful jobs, by training time in minutes or hours, cost what they were quoted: nine of ten of many.
WITHIN_THEIR_QUOTES = (
    "SELECT count(*) FILTER (WHERE spent BETWEEN quoted_least AND quoted_most), count(*)"
    " FROM compute_job WHERE state = 'succeeded'"
)
RESTRICTED = """
SELECT p.slug, array_agg(u.email ORDER BY u.email) FROM tenants_project p JOIN tenants_grant g ON g.project_id = p.id
  JOIN tenants_membership m ON m.id = g.membership_id JOIN tenants_user u ON u.id = m.user_id
WHERE p.restricted GROUP BY 1
"""
INVOICES = """
SELECT t.slug, i.state, i.credited > 0 AND i.credited < i.total, i.paid = i.total, i.tax > 0, i.taxes -> 0 ->> 'note' FROM billing_invoice i
  JOIN tenants_tenant t ON t.id = i.tenant_id WHERE i.number IS NOT NULL
"""
LEFT_BEHIND = {
    "attempts that live": "SELECT count(*) FROM compute_attempt WHERE state <> 'ended'",
    "jobs that wait or run": "SELECT count(*) FROM compute_job WHERE state IN ('queued', 'running')",
    "holds": "SELECT count(*) FROM billing_hold WHERE state = 'open'",
    "slices": "SELECT count(*) FROM models_app_servingslice WHERE closed_at IS NULL",
    "money held by budgets": "SELECT count(*) FROM billing_budgetperiod WHERE held <> 0",
    "reservations of work": "SELECT count(*) FROM tenants_quotareservation WHERE subject LIKE 'job:%'",
    "devices that attempts hold": "SELECT count(*) FROM compute_device WHERE held > 0 AND NOT serves",
    "nodes that take work": "SELECT count(*) FROM compute_node WHERE accepting",
    "power of processors, which measure none": "SELECT count(*) FROM compute_devicesample WHERE power_w IS NOT NULL",
    "a moved clock": "SELECT count(*) FROM demo_clock",
    "events of the past": "SELECT count(*) FROM tenants_outboxmessage WHERE delivered_at IS NULL AND topic NOT LIKE '%Raised'",
    "anything of the future": "SELECT count(*) FROM tenants_auditentry WHERE occurred_at > clock_timestamp()",
}


class Stop(Exception):
    """The process dies just before it commits."""


@pytest.fixture(scope="module")
def training_pool() -> Iterator[type]:
    """Children that work once for the module; their output is tested elsewhere."""
    real = children.TrainingPool()
    made: dict[str, children.Learned] = {}

    class Kept:
        def train_all(self, companies: dict[str, Any]) -> dict[str, children.Learned]:
            if not made:
                made.update(real.train_all(companies))
            return made

        def close(self) -> None:
            pass

    yield Kept
    real.close()


@pytest.fixture(autouse=True)
def _owner(s3, settings, training_pool, monkeypatch):
    """Make the demo log in as the owner of this worker's database: only that role may move the clock."""
    url = SESSION.cluster.url("exchequer_owner", connection.settings_dict["NAME"])
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"database_owner_url": url})
    monkeypatch.setattr(loading, "TrainingPool", training_pool)
    storage.ensure_bucket()


def load(say=lambda text: None) -> loading.Loaded:
    return loading.load(number=NUMBER, days=DAYS, seed=SEED, until=UNTIL, say=say)


def ask(question: str) -> list[tuple[Any, ...]]:
    """Query past the policies; inside a test's transaction only this connection sees the demo's rows."""
    with SESSION.cluster.superuser(connection.settings_dict["NAME"]) as admin:
        return sorted(admin.execute(question).fetchall(), key=repr)


def figures() -> dict[str, list[tuple[Any, ...]]]:
    return {name: ask(question) for name, question in WHAT_MATTERS.items()}


@pytest.mark.nightly
def test_a_killed_run_leaves_nothing_and_the_next_one_creates_everything(as_control) -> None:
    def die(text: str) -> None:
        if text == "committing":
            raise Stop

    with as_control():
        with pytest.raises(Stop):
            load(die)
        assert ask("SELECT (SELECT count(*) FROM tenants_tenant), (SELECT count(*) FROM demo_clock)") == [(0, 0)]
        note = loading.note_file()
        lost = [loading.UUID(text) for text in json.loads(note.read_text())]
        assert len(lost) == NUMBER
        assert all(list(storage.listing(tenant_id)) for tenant_id in lost)

        made = load()
        assert not note.exists()
        assert not any(list(storage.listing(tenant_id)) for tenant_id in lost)
        assert (made.organisations, made.fresh) == (NUMBER, True)
        for question in LEFT_BEHIND.items():
            assert ask(question[1]) == [(0,)], question[0]
        for command in ("verify_audit", "verify_ledger", "reconcile"):
            call_command(command, stdout=StringIO())

        inside, ended = ask(WITHIN_THEIR_QUOTES)[0]
        assert ended > 10
        assert inside >= 0.75 * ended

        first = figures()
        assert load().fresh is False
        assert figures() == first
        check_what_people_find()
        check_invoices()
        if os.environ.get(landing.WANTED):
            landing.write()
        assert ask(RESTRICTED) == [("outcomes", ["jonas@riverside.example", "mei@riverside.example"])]


def check_invoices() -> None:
    """The ended month of each organisation is finalised once: the first paid, the second credited."""
    for expected in (NUMBER, 0):
        out = StringIO()
        with selling.role("exchequer_operator"):
            call_command("issue_demo_invoices", "--tenants", str(NUMBER), stdout=out)
        assert out.getvalue() == f"demo: {expected} invoices issued\n"
    assert ask(INVOICES) == [
        ("harbour", "finalised", True, False, False, "VATEX-EU-AE"),
        ("riverside", "paid", False, True, True, None),
    ]
    call_command("reconcile", stdout=StringIO())


def check_what_people_find() -> None:
    for one in organisations(NUMBER):
        tenant = Tenant.objects.get(slug=one.slug)
        with tenant_scope(tenant.id):
            assert Membership.objects.count() == len(one.people)
            limited = {"devices:cpu", "device_hours:cpu", "devices:serving"}
            assert limited <= {row.resource for row in quotas.usage()}
            endpoint = Endpoint.objects.get()
            assert (endpoint.name, endpoint.state) == (one.service.name, "ready")
            assert endpoint.version.stage == "production"
            assert ModelVersion.objects.count() == len(one.versions) + 2  # those of the weekly round
            check_the_weekly_round()
            assert Preset.objects.count() == 2
            drifted = set(HealthAlert.objects.filter(resolved_at=None).values_list("subject", flat=True))
            engineer = Membership.objects.get(user__email=f"engineer@{one.slug}.example").user_id
            told = [row.title for row in notifications.notifications(engineer) if row.kind == "health_alert"]
        if one is RETAILER:
            assert "channel" in drifted
            assert f"Endpoint {one.service.name}: input drift" in told
        else:
            assert not drifted
            assert not told


def check_the_weekly_round() -> None:
    """All six steps of the template ended; what was trained is as good as what serves, so nothing is deployed."""
    run = PipelineRun.objects.get()
    steps = {step.name: step for step in reading.run(Actor.system(run.tenant_id, "test"), run.id).steps}
    states = {name: step.state for name, step in steps.items()}
    assert run.state == "succeeded", run.reason
    assert states == dict.fromkeys(("extract", "clean", "train", "compare", "report"), "succeeded") | {
        "deploy": "skipped"
    }
    assert [step["kind"] for step in weekly.STEPS] == [step.kind for step in steps.values()]
    compared = steps["compare"].tries[0].outputs
    assert compared["better"] is False
    assert compared["value"] == compared["before"]
    assert len({one.outputs["model_version"] for one in steps["train"].tries}) == 2


@pytest.mark.nightly
def test_one_seed_makes_one_demo(as_control, superuser) -> None:
    found = []
    for _ in range(2):
        with as_control():
            load()
        found.append(figures())
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("SELECT testkit.reset()")
    assert found[0] == found[1]


def test_the_demo_is_refused_beside_other_organisations(as_control) -> None:
    with as_control():
        call_command("create_tenant", "Acme", email="o@acme.example", password="long enough a pass", stdout=StringIO())
        with pytest.raises(CommandError, match="already has organisations"):
            call_command("seed_demo", "--tenants", "1", "--days", "3")
        out = StringIO()
        call_command("seed_demo", "--unless-used", stdout=out)
        assert "not loaded" in out.getvalue()
        assert Tenant.objects.count() == 1


@pytest.mark.parametrize("wrong", [["--tenants", "0"], ["--days", "2"], ["--days", "4000"]])
def test_numbers_that_make_no_demo_are_refused(wrong) -> None:
    with pytest.raises(CommandError, match="Use 1 to"):
        call_command("seed_demo", *wrong)
