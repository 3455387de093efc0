"""Webhooks with real parts: a receiver over TLS, the fetcher's process, the database, and a worker that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client

from compute.events import JobEnded
from tenants import tasks
from tenants.events import external_work, outbox
from tenants.events.events import publish
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, OutboxMessage, Tenant, Webhook, WebhookDelivery
from tenants.webhooks import retries
from tests.support import factories
from tests.support.servers.fetcher import Received, Receiver, RunningFetcher
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.conftest import DemoClock

# One receiver and one fetcher serve the whole module: on one worker.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("webhooks")]
Control = Callable[[], AbstractContextManager[None]]
ROOT = Path(__file__).resolve().parents[3]


class Organisation:
    """A tenant with its API, and an ops worker at hand."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.tenant: Tenant = factories.make_tenant()
        self.key = factories.make_api_key(self.tenant)
        self.work()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return status and body of a call of the API."""
        answer = Client().generic(
            method, f"/api/v1/webhooks/{path}", "" if body is None else json.dumps(body), "application/json",
            headers={"Authorization": f"Bearer {self.key}"},
        )  # fmt: skip
        if answer.status_code in (429, 503):
            assert 0 < int(answer["Retry-After"]) <= 3_600
        return answer.status_code, answer.json() if answer.content else None

    def webhook(self, url: str, *types: str, **more: str) -> dict[str, Any]:
        """Create a webhook; return it with its secret."""
        given = {"name": f"hook {uuid7()}", "url": url, "types": list(types) or ["job.failed"], **more}
        status, made = self.ask("POST", "", given)
        assert status == 201, made
        return made

    def fail_a_job(self) -> UUID:
        """Publish that a job failed; return its id."""
        job = uuid7()
        with tenant_scope(self.tenant.id):
            publish(JobEnded(tenant_id=self.tenant.id, job_id=job, state="failed", cause="user_error"))
        return job

    def open(self) -> list[UUID]:
        """Return the open messages of the outbox, oldest first, without emails."""
        with tenant_scope(self.tenant.id):
            rows = OutboxMessage.objects.filter(delivered_at=None).exclude(topic="tenants.NotificationRaised")
            return list(rows.order_by("id").values_list("id", flat=True))

    def work(self) -> None:
        """Deliver every open message, and those that follow, as the ops worker does."""
        with self.control():
            while messages := self.open():
                for message in messages:
                    outbox.deliver(message, self.tenant.id)

    def sweep(self) -> int:
        """Wake what is due and deliver it."""
        with self.control():
            woken = retries.wake_due()
        self.work()
        return woken

    def deliveries(self, webhook: dict[str, Any], **query: str) -> list[dict[str, Any]]:
        """Return the deliveries by the API."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return list(self.ask("GET", f"{webhook['id']}/deliveries/?{text}")[1]["results"])


@pytest.fixture
def organisation(as_control: Control) -> Organisation:
    return Organisation(as_control)


def signed_by(request: Received, *secrets: str) -> bool:
    """Verify a signature with the code that the documents give to receivers."""
    document = (ROOT / "docs/how-to/receive-webhooks.md").read_text()
    code: dict[str, Any] = {}
    exec(document.split("```python\n")[1].split("```")[0], code)  # noqa: S102 (our own document)
    return bool(code["verified"](request.headers["exchequer-signature"], request.body, list(secrets)))


def test_an_event_arrives_signed_thin_and_once(served: Receiver, organisation: Organisation) -> None:
    made = organisation.webhook(f"{served.url}/hook", "job.failed", "job.succeeded")
    other = organisation.webhook(f"{served.url}/other", "member.added")
    job = organisation.fail_a_job()
    organisation.work()
    (request,) = served.received
    assert (request.method, request.path) == ("POST", "/hook")
    body = json.loads(request.body)
    assert set(body) == {"id", "type", "created", "tenant", "object", "data"}
    slug = organisation.tenant.slug
    assert body["tenant"] == {"id": str(organisation.tenant.id), "slug": slug}
    assert body["object"] == {"kind": "job", "id": str(job), "path": f"/t/{slug}/jobs/{job}/"}
    assert (body["type"], body["data"]) == ("job.failed", {"state": "failed", "cause": "user_error"})
    assert signed_by(request, made["secret"])
    assert not signed_by(request, other["secret"])
    tampered = Received(request.method, request.path, request.headers, request.body.replace(b"failed", b"lost"))
    assert not signed_by(tampered, made["secret"])
    (row,) = organisation.deliveries(made)
    assert (row["state"], row["attempts"], row["event_id"]) == ("delivered", 1, body["id"])
    assert [(one["status"], one["said"]) for one in row["log"]] == [(200, "ok")]
    assert organisation.deliveries(other) == []


def test_a_receiver_that_fails_twice_gets_the_same_event_a_third_time(
    served: Receiver, organisation: Organisation, demo_clock: DemoClock
) -> None:
    statuses = [500, 503, 204]
    served.answer = lambda handler, request: statuses.pop(0)
    made = organisation.webhook(served.url)
    organisation.fail_a_job()
    organisation.work()
    assert organisation.sweep() == 0, "the wait is not over"
    for _ in range(2):
        demo_clock.advance(timedelta(minutes=2))
        assert organisation.sweep() == 1
    assert len({json.loads(request.body)["id"] for request in served.received}) == 1
    (row,) = organisation.deliveries(made)
    assert (row["state"], [one["status"] for one in row["log"]]) == ("delivered", [500, 503, 204])
    assert organisation.ask("GET", f"{made['id']}/")[1]["failures"] == 0


def test_what_is_no_success_is_recorded_as_what_it_is(served: Receiver, organisation: Organisation) -> None:
    def redirect(handler: BaseHTTPRequestHandler, request: Received) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"https://127.0.0.1:{served.port}/inside")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def pour(handler: BaseHTTPRequestHandler, request: Received) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(100 * 1024 * 1024))
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * 1024 * 1024)

    def seen(answer: Any) -> dict[str, Any]:
        served.answer = answer
        made = organisation.webhook(served.url)
        organisation.fail_a_job()
        organisation.work()
        (row,) = organisation.deliveries(made)
        assert organisation.ask("DELETE", f"{made['id']}/")[0] == 204
        return row

    row = seen(redirect)
    assert (row["state"], row["log"][0]["status"], row["log"][0]["error"]) == ("pending", 307, "status")
    row = seen(pour)
    assert (row["state"], row["log"][0]["status"], len(row["log"][0]["said"])) == ("delivered", 200, 500)
    assert {request.path for request in served.received} == {"/"}, "no redirect was followed"


def test_an_address_inside_is_refused_and_the_log_says_why(
    served: Receiver, asking: RunningFetcher, organisation: Organisation
) -> None:
    asking.resolve({"hooks.example": [["10.1.2.3"]]})
    made = organisation.webhook("https://hooks.example/x")
    organisation.fail_a_job()
    organisation.work()
    (row,) = organisation.deliveries(made)
    assert (row["state"], row["log"][0]["status"], row["log"][0]["error"]) == ("pending", None, "address_refused")
    assert "private" in row["log"][0]["said"]
    for url in (
        "http://hooks.example/",
        "https://10.0.0.1/",
        "https://u:p@hooks.example/",
        "https://hooks.example:8443/",
    ):
        status, answer = organisation.ask("POST", "", {"name": url, "url": url, "types": ["job.failed"]})
        assert (status, list(answer["fields"])) == (400, ["url"]), url


def test_a_hanging_receiver_delays_no_other_tenant(
    served: Receiver, as_control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the worker's threads: one tenant's receiver hangs for ten events, another's gets its event at once."""
    queue = external_work.ThreadQueue("slow", threads=3, most=100, of_one=2)
    monkeypatch.setattr(tasks, "SLOW_EVENTS", queue)
    deliver = outbox.deliver

    def run(message: UUID, tenant: UUID) -> bool:
        with as_control():
            return deliver(message, tenant)

    monkeypatch.setattr(outbox, "deliver", run)
    release = threading.Event()

    def answer(handler: BaseHTTPRequestHandler, request: Received) -> int:
        if request.path == "/slow":
            release.wait(20)
        return 200

    served.answer = answer
    slow, quick = Organisation(as_control), Organisation(as_control)
    waiting, done = slow.webhook(f"{served.url}/slow"), quick.webhook(f"{served.url}/quick")
    try:
        for one in [slow] * 10 + [quick]:
            one.fail_a_job()
        for one in (slow, quick):
            for _ in range(2):  # the job's events, then the deliveries that they made
                for message in one.open():
                    tasks.deliver(str(message), str(one.tenant.id))
        wait_until(lambda: quick.deliveries(done)[0]["state"] == "delivered", "the other tenant's delivery", 8)
        assert {row["state"] for row in slow.deliveries(waiting)} == {"pending"}
        assert sum(request.path == "/slow" for request in served.received) == 2, "of one tenant two at once"
    finally:
        release.set()
        wait_until(lambda: not queue.known, "what is done aside")
    assert {row["state"] for row in slow.deliveries(waiting)} == {"delivered"}


def test_a_worker_killed_between_sending_and_recording_sends_the_same_event_again(
    served: Receiver, organisation: Organisation, asking: RunningFetcher, process_environment: Callable[..., Any]
) -> None:
    made = organisation.webhook(served.url)
    job = organisation.fail_a_job()
    with organisation.control():
        for message in organisation.open():
            outbox.deliver(message, organisation.tenant.id)
    (due,) = organisation.open()
    workers: list[subprocess.Popen[bytes]] = []
    arrived = threading.Event()

    def kill(handler: BaseHTTPRequestHandler, request: Received) -> int:
        if len(served.received) == 1:
            workers[0].kill()
            workers[0].wait()
        arrived.set()
        return 200

    served.answer = kill
    code = (
        "import django; django.setup(); from uuid import UUID; from tenants.events import outbox; "
        f"outbox.deliver(UUID('{due}'), UUID('{organisation.tenant.id}'))"
    )
    environment = process_environment("control", EXCHEQUER_FETCHER_SOCKET=asking.socket)
    workers.append(subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment))
    assert arrived.wait(60)
    wait_until(lambda: workers[0].poll() is not None, "the worker is dead")
    assert organisation.deliveries(made)[0]["attempts"] == 0, "nothing was recorded"
    wait_until(lambda: _free(due), "its lock is free")
    organisation.work()
    first, second = served.received
    assert first.body == second.body
    assert json.loads(second.body)["object"]["id"] == str(job)
    (row,) = organisation.deliveries(made)
    assert (row["state"], row["attempts"]) == ("delivered", 1)


def _free(message: UUID) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool(cursor.fetchone()[0] == 0)


def test_after_three_days_it_is_given_up_disabled_and_notified(
    served: Receiver, organisation: Organisation, demo_clock: DemoClock
) -> None:
    served.answer = lambda handler, request: 500
    made = organisation.webhook(served.url)
    organisation.fail_a_job()
    organisation.work()
    for _ in range(60):
        demo_clock.advance(timedelta(hours=2))
        organisation.sweep()
    (row,) = organisation.deliveries(made)
    assert (row["state"], row["next_at"]) == ("failed", None)
    assert 8 <= row["attempts"] <= 30
    shown = organisation.ask("GET", f"{made['id']}/")[1]
    assert (shown["enabled"], shown["disabled_because"]) == (False, "Its address accepted nothing for three days.")
    with tenant_scope(organisation.tenant.id):
        titles = set(Notification.objects.filter(kind="webhook_failing").values_list("title", flat=True))
    assert titles == {f"Webhook {made['name']}: a delivery was given up", f"Webhook {made['name']} was disabled"}
    sent = len(served.received)
    organisation.fail_a_job()
    organisation.work()
    assert len(served.received) == sent, "a disabled webhook receives nothing"
    # Corrected: enabled again, the lost event is sent again with its own id, and new ones arrive.
    served.answer = lambda handler, request: 200
    assert organisation.ask("PATCH", f"{made['id']}/", {"enabled": True})[1]["failures"] == 0
    assert organisation.ask("POST", f"{made['id']}/deliveries/{row['id']}/replay/")[0] == 202
    organisation.work()
    assert json.loads(served.received[-1].body)["id"] == row["event_id"]
    assert organisation.deliveries(made)[0]["state"] == "delivered"


def test_a_webhook_that_fails_is_left_alone_for_a_growing_time(
    served: Receiver, organisation: Organisation, demo_clock: DemoClock
) -> None:
    served.answer = lambda handler, request: 500
    made = organisation.webhook(served.url)
    for _ in range(20):
        organisation.fail_a_job()
        organisation.work()
    assert len(served.received) == 3, "the rest waits, unsent"
    assert {row["state"] for row in organisation.deliveries(made)} == {"pending"}
    served.answer = lambda handler, request: 200
    for _ in range(4):
        demo_clock.advance(timedelta(minutes=10))
        organisation.sweep()
    assert {row["state"] for row in organisation.deliveries(made)} == {"delivered"}


def test_both_secrets_sign_for_a_day_after_a_rotation(
    served: Receiver, organisation: Organisation, demo_clock: DemoClock
) -> None:
    made = organisation.webhook(served.url)
    status, rotated = organisation.ask("POST", f"{made['id']}/secret/")
    assert (status, rotated["secret"] != made["secret"]) == (201, True)
    organisation.fail_a_job()
    organisation.work()
    assert signed_by(served.received[-1], made["secret"])
    assert signed_by(served.received[-1], rotated["secret"])
    demo_clock.advance(timedelta(hours=25))
    organisation.fail_a_job()
    organisation.work()
    assert not signed_by(served.received[-1], made["secret"])
    assert signed_by(served.received[-1], rotated["secret"])


def test_slack_gets_one_line_of_text_without_a_signature(served: Receiver, organisation: Organisation) -> None:
    organisation.webhook(f"{served.url}/services/T0/B0/token", "job.failed", format="slack")
    job = organisation.fail_a_job()
    organisation.work()
    (request,) = served.received
    text = json.loads(request.body)["text"]
    assert text.startswith("A job failed: state failed, cause user_error\n")
    assert text.endswith(f"/t/{organisation.tenant.slug}/jobs/{job}/")
    assert "exchequer-signature" not in request.headers


def test_a_test_event_is_sent_once_even_to_a_disabled_webhook(served: Receiver, organisation: Organisation) -> None:
    served.answer = lambda handler, request: 500
    made = organisation.webhook(served.url)
    assert organisation.ask("PATCH", f"{made['id']}/", {"enabled": False})[0] == 200
    assert organisation.ask("POST", f"{made['id']}/test/")[0] == 202
    organisation.work()
    assert json.loads(served.received[0].body)["type"] == "webhook.test"
    (row,) = organisation.deliveries(made)
    assert (row["type"], row["state"], row["attempts"]) == ("webhook.test", "failed", 1)
    for _ in range(19):
        assert organisation.ask("POST", f"{made['id']}/test/")[0] == 202
    status, answer = organisation.ask("POST", f"{made['id']}/test/")
    assert (status, answer["code"]) == (429, "too_many_tests")


def test_address_and_secrets_are_stored_sealed(organisation: Organisation, superuser: Any) -> None:
    url = "https://hooks.slack.example/services/T0/B0/veryprivate"
    made = organisation.webhook(url)
    with tenant_scope(organisation.tenant.id):
        row = Webhook.objects.get()
    assert b"veryprivate" not in bytes(row.url)
    assert made["secret"].encode() not in bytes(row.secret)
    organisation.ask("POST", f"{made['id']}/secret/")
    shown = json.dumps(organisation.ask("GET", "")[1])
    assert "hooks.slack.example" in shown
    assert "veryprivate" not in shown and "whsec_" not in shown
    assert organisation.ask("POST", f"{made['id']}/address/") == (200, {"url": url})
    entries = superuser.execute("SELECT changes::text || target_label FROM tenants_auditentry").fetchall()
    assert not any("veryprivate" in text or "whsec_" in text for (text,) in entries)


def test_deliveries_are_kept_for_thirty_days(
    served: Receiver, organisation: Organisation, demo_clock: DemoClock
) -> None:
    organisation.webhook(served.url)
    organisation.fail_a_job()
    organisation.work()
    demo_clock.advance(timedelta(days=29))
    organisation.fail_a_job()
    organisation.work()
    demo_clock.advance(timedelta(days=2))
    with organisation.control():
        tasks.purge_expired()
    with tenant_scope(organisation.tenant.id):
        assert WebhookDelivery.objects.count() == 1


def test_a_receiver_away_because_of_us_is_not_blamed(
    served: Receiver, organisation: Organisation, settings: Settings, demo_clock: DemoClock, tmp_path: Path
) -> None:
    made = organisation.webhook(served.url)
    there = settings.EXCHEQUER
    settings.EXCHEQUER = there.model_copy(update={"fetcher_socket": str(tmp_path / "none")})
    organisation.fail_a_job()
    organisation.work()
    (row,) = organisation.deliveries(made)
    assert (row["state"], row["attempts"], row["log"]) == ("pending", 0, [])
    settings.EXCHEQUER = there
    demo_clock.advance(timedelta(minutes=1))
    organisation.sweep()
    assert organisation.deliveries(made)[0]["state"] == "delivered"
