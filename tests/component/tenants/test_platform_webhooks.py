"""Platform events with real parts: a receiver over TLS, the fetcher's process, the console, and an ops worker at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.core import mail
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Device, DeviceState, Node
from tenants import quotas, tasks
from tenants.access.actor import Actor
from tenants.audit import checkpoints
from tenants.clock import now
from tenants.events import outbox
from tenants.isolation.sweeps import SweepFailed
from tenants.models import OperatorEmail, PlatformDelivery, PlatformEvent, Tenant
from tenants.operators import grants
from tests.component.tenants.test_webhooks import signed_by
from tests.support import factories
from tests.support.selling import Console
from tests.support.servers.fetcher import Receiver

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.conftest import DemoClock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("webhooks")]
Control = Callable[[], AbstractContextManager[None]]
API = "/api/operator/v1/"
REASON = {"reason": "Asked for by mail"}


class Now:
    """A queue whose work is done at once."""

    def put(self, key: Any, work: Callable[[], object], share: Any = None) -> bool:
        """Do the work."""
        work()
        return True


class Platform:
    """A tenant, an administrator at the console, and an ops worker."""

    def __init__(self, control: Control, seller: Callable[..., Console]) -> None:
        self.control = control
        self.tenant: Tenant = factories.make_tenant("lab")
        self.work()
        self.admin = seller("platform_admin")
        mail.outbox.clear()

    def work(self) -> None:
        """Do what the ops worker does when everything is due."""
        with self.control():
            outbox.relay(outbox.deliver)
            tasks.send_platform_events()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return status and body of a call of the console's API."""
        with self.admin._enter():
            given = "" if body is None else json.dumps(body)
            answer = self.admin._client.generic(method, f"{API}{path}", given, "application/json")
        return answer.status_code, answer.json() if answer.content else None

    def webhook(self, url: str, *types: str, **more: str) -> dict[str, Any]:
        """Create a webhook; return it with its secret."""
        status, made = self.ask("POST", "webhooks/", {"name": f"hook {uuid4()}", "url": url, "types": types, **more})
        assert status == 201, made
        return dict(made)

    def deliveries(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the deliveries by the API."""
        return list(self.ask("GET", f"webhooks/{webhook['id']}/deliveries/")[1]["results"])

    def suspend(self, act: str = "suspend") -> None:
        """Suspend the tenant, or undo it."""
        assert self.ask("POST", f"tenants/{self.tenant.id}/{act}/", REASON)[0] == 200


@pytest.fixture
def platform(as_control: Control, seller: Callable[..., Console], monkeypatch: pytest.MonkeyPatch) -> Platform:
    for queue in ("SLOW_EVENTS", "EXTERNAL_EVENTS"):
        monkeypatch.setattr(tasks, queue, Now())
    return Platform(as_control, seller)


def test_a_request_for_a_higher_ceiling_reaches_the_webhook_and_the_administrators(
    served: Receiver, platform: Platform, as_control: Control
) -> None:
    with as_control():
        grants.grant("finance@platform.example", "platform_finance", password=factories.PASSWORD)
        operator = Actor.system(platform.tenant.id, "operator")
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=8, reason="as in the contract")
    made = platform.webhook(f"{served.url}/hook", "approval.requested")
    other = platform.webhook(f"{served.url}/other", "node.lost")
    browser = Client()
    browser.force_login(factories.make_member(platform.tenant, "engineer"))
    browser.get("/t/lab/")
    body = {"resource": "devices:cpu", "limit": 12, "reason": "a larger model"}
    asked = browser.post("/api/v1/quotas/requests/", body, content_type="application/json")
    assert asked.status_code == 201
    platform.work()
    platform.work()
    (request,) = served.received
    said = json.loads(request.body)
    assert request.path == "/hook" and signed_by(request, made["secret"]) and not signed_by(request, other["secret"])
    assert said["tenant"] == {"id": str(platform.tenant.id), "slug": "lab"}
    assert said["object"] == {"kind": "approval", "id": asked.json()["id"], "path": "/approvals/"}
    assert (said["type"], said["data"]) == ("approval.requested", {"kind": "ceiling"})
    (row,) = platform.deliveries(made)
    assert (row["state"], row["attempts"], row["event_id"]) == ("delivered", 1, said["id"])
    (letter,) = mail.outbox
    assert letter.to == ["platform_admin@platform.example"], "finance does not answer it"
    assert letter.subject == "[Exchequer operators] An organisation asks for a higher ceiling: lab"
    assert "http://127.0.0.1:8002/approvals/" in letter.body and "a larger model" not in letter.body


def test_an_operator_chooses_what_to_get_emails_about(platform: Platform, seller: Callable[..., Console]) -> None:
    finance = seller("platform_finance")
    page = finance.post("/notifications/", {"organisation.standing_changed": "on"}, follow=True)
    assert "Saved." in page.content.decode()
    status, chosen = platform.ask("PUT", "notifications/", {"type": "organisation.standing_changed", "wanted": False})
    assert (status, chosen["wanted"]) == (200, False)
    platform.suspend()
    platform.work()
    assert [letter.to for letter in mail.outbox] == [["platform_finance@platform.example"]]
    assert "Standing: suspended" in mail.outbox[0].body
    unread = finance.post(f"{API}webhooks/", {}, content_type="application/json")
    assert unread.status_code == 403
    refused = finance._client
    with finance._enter():
        body = {"type": "webhook.failing", "wanted": True}
        answer = refused.put(f"{API}notifications/", body, content_type="application/json")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["type"]), "their roles do not read it"


def test_an_email_that_no_server_takes_is_sent_later_and_none_to_who_has_lost_their_role(
    platform: Platform, as_control: Control, monkeypatch: pytest.MonkeyPatch, demo_clock: DemoClock
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    def letters() -> int:
        """Return how many letters the operator got; the organisation's owner has one of their own."""
        return len([one for one in mail.outbox if one.to == ["platform_admin@platform.example"]])

    platform.suspend()
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", refuse)
        with pytest.raises(SweepFailed):  # the queue logs it
            platform.work()
    platform.work()
    assert letters() == 0, "the wait is not over"
    demo_clock.advance(timedelta(minutes=1))
    platform.work()
    assert letters() == 1
    platform.suspend("resume")
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", refuse)
        with pytest.raises(SweepFailed):
            platform.work()
    with as_control():
        grants.revoke("platform_admin@platform.example")
    demo_clock.advance(timedelta(minutes=1))
    platform.work()
    assert letters() == 1
    with as_control():
        assert OperatorEmail.objects.filter(sent_at=None).count() == 0


def test_a_delivery_is_retried_given_up_disabled_and_sent_again(
    served: Receiver, platform: Platform, demo_clock: DemoClock
) -> None:
    served.answer = lambda handler, request: 500
    made = platform.webhook(served.url, "organisation.standing_changed")
    platform.suspend()
    platform.work()
    platform.work()
    assert len(served.received) == 1, "the wait is not over"
    for _ in range(60):
        demo_clock.advance(timedelta(hours=2))
        platform.work()
    (row,) = platform.deliveries(made)
    assert (row["state"], row["next_at"], row["log"][0]["status"]) == ("failed", None, 500)
    assert 8 <= row["attempts"] <= 30
    shown = platform.ask("GET", f"webhooks/{made['id']}/")[1]
    assert (shown["enabled"], shown["disabled_because"]) == (False, "Its address accepted nothing for three days.")
    assert [letter.subject for letter in mail.outbox].count(
        "[Exchequer operators] A webhook of the platform accepts nothing"
    ) == 1
    log = platform.ask("GET", "audit/")[1]["results"]
    assert (log[0]["action"], log[0]["operator"]) == ("tenants.platform_webhook.disabled", "webhooks")
    sent = len(served.received)
    platform.suspend("resume")
    platform.work()
    assert len(served.received) == sent, "a disabled webhook receives nothing"
    served.answer = lambda handler, request: 200
    assert platform.ask("PATCH", f"webhooks/{made['id']}/", {"enabled": True})[1]["failures"] == 0
    assert platform.ask("POST", f"webhooks/{made['id']}/deliveries/{row['id']}/replay/")[0] == 202
    again = platform.ask("POST", f"webhooks/{made['id']}/deliveries/{row['id']}/replay/")
    assert (again[0], again[1]["code"]) == (409, "delivery_waits")
    platform.work()
    assert json.loads(served.received[-1].body)["id"] == row["event_id"]
    assert platform.deliveries(made)[0]["state"] == "delivered"


def test_a_rotated_secret_signs_beside_its_predecessor_and_a_test_reaches_a_disabled_webhook(
    served: Receiver, platform: Platform, demo_clock: DemoClock
) -> None:
    made = platform.webhook(served.url, "node.lost")
    status, rotated = platform.ask("POST", f"webhooks/{made['id']}/secret/")
    assert status == 201 and rotated["secret"] != made["secret"]
    assert platform.ask("PATCH", f"webhooks/{made['id']}/", {"enabled": False})[0] == 200
    assert platform.ask("POST", f"webhooks/{made['id']}/test/")[0] == 202
    platform.work()
    (request,) = served.received
    assert signed_by(request, made["secret"]) and signed_by(request, rotated["secret"])
    demo_clock.advance(timedelta(hours=25))
    platform.ask("POST", f"webhooks/{made['id']}/test/")
    platform.work()
    assert not signed_by(served.received[-1], made["secret"])
    assert signed_by(served.received[-1], rotated["secret"])


def test_slack_gets_a_line_of_text_with_the_organisation_and_the_page(served: Receiver, platform: Platform) -> None:
    platform.webhook(served.url, "organisation.standing_changed", format="slack")
    platform.suspend()
    platform.work()
    (request,) = served.received
    assert "exchequer-signature" not in request.headers
    title = "An organisation was suspended, resumed, closed or restored: organisation lab, standing suspended"
    assert json.loads(request.body) == {"text": f"{title}\nhttp://127.0.0.1:8002/tenants/{platform.tenant.id}/"}


def test_the_receiver_is_not_blamed_while_the_fetcher_or_the_master_key_is_away(
    served: Receiver, platform: Platform, settings: Settings, demo_clock: DemoClock, tmp_path: Path
) -> None:
    made = platform.webhook(served.url, "organisation.standing_changed")
    there = settings.EXCHEQUER
    platform.suspend()
    for change in ({"fetcher_socket": str(tmp_path / "none")}, {"master_key": "", "master_key_file": ""}):
        tasks.platform_secrets._unwrapped.cache_clear()
        settings.EXCHEQUER = there.model_copy(update=change)
        platform.work()
        (row,) = platform.deliveries(made)
        assert (row["state"], row["attempts"], row["log"]) == ("pending", 0, [])
        settings.EXCHEQUER = there
        demo_clock.advance(timedelta(minutes=1))
    platform.work()
    assert platform.deliveries(made)[0]["state"] == "delivered"


def test_a_lost_host_a_cordoned_device_a_waiting_look_and_an_unsigned_log_are_raised_once(
    platform: Platform, seller: Callable[..., Console], as_control: Control, demo_clock: DemoClock, monkeypatch: Any
) -> None:
    demo_clock.move_to(now().replace(minute=30) + timedelta(hours=1))  # of an hour that does not end meanwhile
    for name in ("atlas", "left"):
        found = [Found(f"{name}-c", "cpu", "cpu", "CPU 0", 0, 1)]
        here = nodes.register(name=name, hostname=name, boot=uuid4(), found=found, missing_layers=[])
    nodes.leave(here)
    platform.work()
    device = Device.objects.get(node__name="atlas")
    assert platform.ask("POST", f"fleet/devices/{device.id}/cordon/", REASON)[0] == 204
    Device.objects.filter(node__name="left").update(state=DeviceState.CORDONED, state_at=now() - timedelta(days=9))
    support = seller("platform_support")
    look = support.post(f"/tenants/{platform.tenant.id}/look-inside/", {"reason": "Ticket 4711", "minutes": "20"})
    assert look.status_code == 302
    demo_clock.advance(timedelta(minutes=5))

    def fails() -> int:
        raise ConnectionRefusedError

    monkeypatch.setattr(checkpoints, "sign_due", fails)
    for _ in range(2):
        with as_control(), pytest.raises(ConnectionRefusedError):
            tasks.sign_checkpoints()
        platform.work()
    with as_control():
        rows = list(PlatformEvent.objects.order_by("type").values_list("type", "data"))
    assert rows == [
        ("audit.checkpoint_failed", {}),
        ("device.cordoned", {"node": "atlas", "device": "CPU 0"}),
        ("look.asked", {"minutes": 20}),
        ("node.lost", {"node": "atlas"}),
    ]
    assert len(mail.outbox) == 4
    Node.objects.filter(name="atlas").update(last_seen_at=now(), boot=uuid4())
    platform.work()
    demo_clock.advance(timedelta(minutes=5))
    platform.work()
    with as_control():
        assert PlatformEvent.objects.filter(type="node.lost").count() == 2, "lost once more"


def test_deliveries_are_kept_for_thirty_days_and_events_for_ninety(
    served: Receiver, platform: Platform, as_control: Control, demo_clock: DemoClock
) -> None:
    platform.webhook(served.url, "organisation.standing_changed")
    platform.suspend()
    platform.work()
    demo_clock.advance(timedelta(days=31))
    platform.suspend("resume")
    platform.work()
    with as_control():
        tasks.purge_expired()
        assert (PlatformDelivery.objects.count(), PlatformEvent.objects.count()) == (1, 2)
    demo_clock.advance(timedelta(days=60))
    with as_control():
        tasks.purge_expired()
        assert (PlatformDelivery.objects.count(), PlatformEvent.objects.count()) == (0, 1)
        assert OperatorEmail.objects.count() == 1
