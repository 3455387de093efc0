"""The operators' console over HTTP: log-in with a second factor, roles, tenants from their creation to their end."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.test import Client

from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Invitation, OperatorAct, OperatorSession, Project, Tenant, User
from tenants.notifications import file_backend
from tenants.operators import grants, lifecycle
from tests.support import factories
from tests.support.console import ROOT, code_of, log_in
from tests.support.pages import routes_below, text_of

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]


def pages() -> list[str]:
    """Return the console's routes, without those for anybody."""
    free = ("healthz", "readyz", "accounts/", "api/")
    return [route for route, _ in routes_below("config.console.urls") if not route.startswith(free)]


def test_every_page_asks_for_a_session_and_names_a_permission(console: Role) -> None:
    missing = "00000000-0000-0000-0000-000000000000"
    with console():
        for route in pages():
            if route == "fleet/join/":  # a machine shows a token there, and has no session
                continue
            path = "/" + re.sub("<uuid:[a-z_]+>", missing, route).replace("<slug:act>", "suspend")
            for method in ("get", "post"):
                response = getattr(Client(), method)(path)
                assert (response.status_code, response["Location"][:16]) == (302, "/accounts/login/"), path


@pytest.mark.django_db(transaction=True)
def test_a_first_log_in_leads_to_the_second_factor_and_nowhere_else(operator: Any, console: Role) -> None:
    operator()
    with console():
        client = log_in()
        for path in ("/tenants/", "/fleet/", "/log/"):
            assert client.get(path)["Location"] == "/accounts/2fa/"
        asked = client.get("/accounts/2fa/totp/activate/", follow=True)
        assert "Confirm that it is you" in text_of(asked)
        confirmed = {"password": factories.PASSWORD, "next": "/accounts/2fa/totp/activate/"}
        form = client.post("/accounts/reauthenticate/", confirmed, follow=True)
        secret = str(form.context["form"].secret)
        wrong = client.post("/accounts/2fa/totp/activate/", {"code": "000000"})
        assert (wrong.status_code, Authenticator.objects.count()) == (200, 0)
        form = client.get("/accounts/2fa/totp/activate/")
        secret = str(form.context["form"].secret)
        done = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
        assert done.status_code == 302
        assert client.get("/tenants/").status_code == 200
        stored = Authenticator.objects.get(type="totp").data["secret"]
        assert secret not in stored, "encrypted at rest"

        again = Client()
        first = again.post("/accounts/login/", {"login": ROOT, "password": factories.PASSWORD})
        assert first["Location"].startswith("/accounts/2fa/authenticate/")
        assert again.get("/tenants/").status_code == 302, "a password alone opens nothing"
        assert again.post("/accounts/2fa/authenticate/", {"code": "123"}).status_code == 200
        recovery = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
        assert recovery in client.get("/accounts/2fa/recovery-codes/").content.decode()
        assert OperatorAct.objects.filter(action="tenants.recovery_codes.viewed").exists()
        assert again.post("/accounts/2fa/authenticate/", {"code": recovery})["Location"] == "/"
        assert again.get("/tenants/").status_code == 200


def test_only_operators_with_a_role_log_in_and_only_here(operator: Any, console: Role, as_control: Role) -> None:
    operator()
    operator("platform_support", email="gone@platform.example")
    with as_control():
        grants.revoke("gone@platform.example")
    member = factories.make_member(factories.make_tenant(), "owner")
    refused = Client().post("/accounts/login/", {"login": ROOT, "password": factories.PASSWORD})
    assert "wrong" in text_of(refused), "an operator is nobody on the tenants' side"
    with console():
        for email in (member.email, "gone@platform.example"):
            answer = Client().post("/accounts/login/", {"login": email, "password": factories.PASSWORD})
            assert (answer.status_code, "wrong" in text_of(answer)) == (200, True)
        assert OperatorSession.objects.count() == 0


def test_a_cookie_of_one_side_opens_nothing_on_the_other(
    operator: Any, console: Role, without_second_factor: None
) -> None:
    operator()
    owner = factories.make_member(factories.make_tenant("ours"), "owner", "owner@ours.example")
    tenants_side = Client()
    tenants_side.force_login(owner)
    theirs = tenants_side.cookies[django_settings.SESSION_COOKIE_NAME].value
    with console():
        client = log_in()
        name = django_settings.SESSION_COOKIE_NAME
        ours = client.cookies[name].value
        stranger = Client()
        stranger.cookies[name] = theirs
        assert stranger.get("/tenants/").status_code == 302
    assert name != django_settings.SESSION_COOKIE_NAME
    stranger = Client()
    stranger.cookies[django_settings.SESSION_COOKIE_NAME] = ours
    assert stranger.get("/t/ours/").status_code == 302


def test_roles_open_what_they_name(operator: Any, console: Role, without_second_factor: None) -> None:
    operator("platform_support", email="support@platform.example")
    operator("platform_admin")
    tenant = factories.make_tenant("ours")
    with console():
        support, admin = log_in("support@platform.example"), log_in()
        for client in (support, admin):
            for path in ("/tenants/", f"/tenants/{tenant.id}/", "/fleet/", "/log/"):
                assert client.get(path).status_code == 200, path
        for path in ("/tenants/new/", "/operators/", "/mail/"):
            assert (support.get(path).status_code, admin.get(path).status_code) == (403, 200), path
        assert "Suspend" not in text_of(support.get(f"/tenants/{tenant.id}/"))
        assert support.post(f"/tenants/{tenant.id}/suspend/", {"reason": "not mine"}).status_code == 403
        assert Tenant.objects.get().standing == "active"


NEW = {
    "name": "Vision",
    "slug": "vision",
    "owner_email": "owner@vision.example",
    "currency": "eur",
    "timezone": "Europe/Berlin",
}


def test_a_tenant_is_created_with_its_owner_invited(
    operator: Any, console: Role, as_control: Role, without_second_factor: None
) -> None:
    operator()
    with console():
        client = log_in()
        made = client.post("/tenants/new/", NEW)
        assert made.status_code == 302
        assert "No member yet" in text_of(client.get(made["Location"]))
        assert "Vision" in text_of(client.get("/tenants/")), "listed before its figures are collected"
        again = client.post("/tenants/new/", NEW)
        assert (again.status_code, "already exists" in text_of(again)) == (422, True)
        for field, value in (
            ("slug", "Vi sion"),
            ("owner_email", "nobody"),
            ("currency", "XXX"),
            ("timezone", "localtime"),
        ):
            wrong = client.post("/tenants/new/", NEW | {"slug": "other", field: value})
            assert wrong.status_code == 422, field
            assert wrong.context["form"].errors[field], field
        tenant = Tenant.objects.get()
    with as_control():
        outbox.drain(tenant.id)
        outbox.drain(tenant.id)
    with tenant_scope(tenant.id):
        assert list(Project.objects.values_list("slug", flat=True)) == ["default"]
        assert list(Invitation.objects.values_list("email", "role")) == [("owner@vision.example", "owner")]
        entry = AuditEntry.objects.order_by("seq").first()
        assert entry is not None
        assert (entry.action, entry.actor_type, entry.actor_label) == ("tenants.tenant.created", "system", "operator")
    with console():
        page = log_in().get(f"/tenants/{tenant.id}/")
        assert [one.email for one in page.context["found"].invitations] == ["owner@vision.example"]
        (act,) = OperatorAct.objects.filter(action="tenants.tenant.created")
        assert (act.operator_label, act.target_label) == (ROOT, "vision")


def test_a_suspended_tenant_reads_and_starts_nothing(
    operator: Any, console: Role, as_control: Role, without_second_factor: None
) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    key = factories.make_api_key(tenant)
    headers = {"Authorization": f"Bearer {key}"}
    job = {"project_id": str(factories.default_project_id(tenant)), "kind": "train", "spec": {}}
    with console():
        client = log_in()
        page = f"/tenants/{tenant.id}/"
        short = client.post(f"{page}suspend/", {"reason": "x"})
        assert (short.status_code, "Say why" in text_of(short)) == (400, True)
        assert client.post(f"{page}resume/", {"reason": "too early"}).status_code == 409
        assert client.post(f"{page}suspend/", {"reason": "Invoice of October is open"}).status_code == 302
        shown = text_of(client.get(page))
        assert "is suspended" in shown
        assert "Invoice of October is open" in shown
    api = Client()
    assert api.get("/api/v1/jobs/", headers=headers).status_code == 200
    for path, body in (("/api/v1/jobs/", job), ("/api/v1/endpoints/", {})):
        answer = api.post(path, body, content_type="application/json", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended"), answer.content[:300]
    owner = factories.make_member(tenant, "owner")
    person = Client()
    person.force_login(owner)
    assert person.get("/t/ours/jobs/").status_code == 200
    assert person.get("/t/ours/jobs/new/").status_code == 403
    with tenant_scope(tenant.id):
        entry = AuditEntry.objects.order_by("-seq").first()
        assert entry is not None
        assert (entry.action, entry.actor_label) == ("tenants.tenant.suspended", "operator")
        assert entry.reason == "Invoice of October is open"
        assert ROOT not in str(entry.__dict__), "the tenant's log does not name the person"
    with console():
        assert log_in().post(f"{page}resume/", {"reason": "Paid"}).status_code == 302
        assert Tenant.objects.get().standing_reason == ""
    refused = api.post("/api/v1/jobs/", job, content_type="application/json", headers=headers)
    assert refused.json()["code"] != "tenant_suspended"


def test_closing_can_be_undone_on_the_sixth_day(
    operator: Any, console: Role, as_control: Role, without_second_factor: None, demo_clock: Any
) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    key = factories.make_api_key(tenant)
    headers = {"Authorization": f"Bearer {key}"}
    with console():
        client = log_in()
        assert client.post(f"/tenants/{tenant.id}/close/", {"reason": "Contract ended"}).status_code == 302
        closing = Tenant.objects.get()
        assert closing.standing == "closing"
        assert closing.closes_at is not None
    api = Client()
    assert api.get("/api/v1/jobs/", headers=headers).status_code == 200
    answer = api.post("/api/v1/projects/", {"slug": "x", "name": "X"}, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended")
    demo_clock.advance(timedelta(days=6))
    with as_control():
        assert lifecycle.close_due() == 0
    with console():
        assert log_in().post(f"/tenants/{tenant.id}/restore/", {"reason": "Renewed"}).status_code == 302
        restored = Tenant.objects.get()
        assert (restored.standing, restored.closes_at) == ("active", None)
    answer = api.post("/api/v1/projects/", {"slug": "x", "name": "X"}, content_type="application/json", headers=headers)
    assert answer.status_code == 201


def test_a_tenant_whose_seven_days_are_over_is_closed(
    operator: Any, console: Role, as_control: Role, without_second_factor: None, demo_clock: Any
) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    key = factories.make_api_key(tenant)
    owner = factories.make_member(tenant, "owner")
    headers = {"Authorization": f"Bearer {key}"}
    with console():
        log_in().post(f"/tenants/{tenant.id}/close/", {"reason": "Contract ended"})
    person = Client()
    person.force_login(owner)
    with as_control():
        lifecycle.close_due()
    assert person.get("/t/ours/").status_code == 200
    demo_clock.advance(timedelta(days=7, minutes=1))
    with as_control():
        assert lifecycle.close_due() == 1
        assert lifecycle.close_due() == 0
        outbox.drain(tenant.id)
    assert Client().get("/api/v1/jobs/", headers=headers).status_code == 401
    assert person.get("/t/ours/").status_code == 404
    assert "No organisation yet" in text_of(person.get("/"))
    with console():
        refused = log_in().post(f"/tenants/{tenant.id}/restore/", {"reason": "Too late"})
        assert (refused.status_code, Tenant.objects.get().standing) == (409, "closed")


def test_a_ceiling_is_set_with_its_reason_in_both_logs(
    operator: Any, console: Role, without_second_factor: None
) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    with console():
        client = log_in()
        wrong = client.post(
            f"/tenants/{tenant.id}/ceilings/", {"resource": "devices:cpu", "limit": "-1", "reason": "no"}
        )
        assert wrong.status_code == 422
        given = {"resource": "devices:cpu", "limit": "8", "reason": "Contract of November"}
        assert client.post(f"/tenants/{tenant.id}/ceilings/", given).status_code == 302
        assert "Contract of November" in text_of(client.get(f"/tenants/{tenant.id}/"))
    with tenant_scope(tenant.id):
        entry = AuditEntry.objects.order_by("-seq").first()
        assert entry is not None
        assert (entry.action, entry.actor_label) == ("tenants.quota_ceiling.changed", "operator")


def test_log_ins_and_passwords_stand_in_the_operator_log(
    operator: Any, console: Role, without_second_factor: None
) -> None:
    operator()
    chosen = "a long one indeed, chosen"
    with console():
        client, other = log_in(), log_in()
        form = {"oldpassword": factories.PASSWORD, "password1": chosen, "password2": chosen}
        assert client.post("/accounts/password/change/", form).status_code == 302
        assert client.get("/tenants/").status_code == 200
        assert other.get("/tenants/").status_code == 302, "a new password ends the other sessions"
        done = [
            action.rsplit(".", 1)[1] for action in OperatorAct.objects.order_by("id").values_list("action", flat=True)
        ]
        assert done == ["appointed", "logged_in", "logged_in", "password_changed"]
        assert client.post("/accounts/password/reset/", {"email": ROOT}).status_code == 404
        assert User.objects.count() == 1


def test_opening_an_email_is_logged_and_hides_its_links(
    operator: Any, console: Role, without_second_factor: None, tmp_path: Path, settings: Any
) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "tenants.notifications.file_backend.FileBackend", str(tmp_path)
    operator()
    secrets = ("/accounts/invitation/s3cret-token/", "/accounts/password/reset/key/3w-c0ffee-dead/")
    text = "Hello.\n\n" + "\n".join(f"<https://x.example{secret}>" for secret in secrets) + "\nGood bye.\n"
    EmailMessage("Join ours", text, to=["ana@example.org"]).send()
    with console():
        client = log_in()
        listed = text_of(client.get("/mail/"))
        assert "Join ours" in listed
        assert "Good bye" not in listed
        assert "recorded" in listed
        (email,) = file_backend.stored_emails()
        for name in ("nothing", "../etc", email.name):
            shown = text_of(client.get("/mail/", {"letter": name}))
            assert not any(secret.split("/")[-2] in shown for secret in secrets)
        assert "Good bye" in shown
        assert file_backend.HIDDEN in shown
        assert all(secret in email.text for secret in secrets)
        (act,) = OperatorAct.objects.filter(target_type="letter")
        assert (act.action, act.operator_label) == ("tenants.letter.opened", ROOT)
        assert act.target_label.startswith("an email of 20") and "ana@" not in act.target_label


def test_a_refused_reason_comes_back_with_the_form(operator: Any, console: Role, without_second_factor: None) -> None:
    from uuid import uuid4

    from compute.devices.base import Found
    from compute.fleet import nodes
    from compute.models import Device

    operator()
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 2**30)]
    nodes.register(name="atlas", hostname="atlas", boot=uuid4(), found=found, missing_layers=["own network"])
    device = Device.objects.get()
    with console():
        client = log_in()
        answer = client.post(f"/fleet/devices/{device.id}/cordon/", {"reason": "x"})
        assert answer.status_code == 400
        assert b"Say why" in answer.content
        assert b'value="x"' in answer.content
        answer = client.post(f"/fleet/devices/{device.id}/cordon/", {"reason": "Fan fails"}, follow=True)
        assert b"Fan fails" in answer.content
