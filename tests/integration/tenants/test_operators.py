"""The operator's area: metrics instead of rows, a permanent log, and nobody else admitted."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import get_hasher, make_password
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client

from billing.budgets import holds
from billing.metering.metering import record_usage
from billing.money import Money
from compute.devices.base import Found
from compute.fleet import fleet, nodes
from compute.models import Device
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct, TenantDigest, User
from tenants.notifications import file_backend
from tenants.operators import grants, tenant_metrics
from tenants.operators.operator_log import Operator, operator_scope
from tests.support import factories
from tests.support.pages import text_of
from tests.support.usage import interval

pytestmark = pytest.mark.django_db
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def operator(as_control: Control) -> Operator:
    user = factories.make_user("root@platform.example")
    with as_control():
        grants.grant(user.email)
    return Operator(user.id, user.email, ip="192.0.2.7", request_id="abc")


@pytest.fixture
def device() -> Iterator[Device]:
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 2**30)]
    nodes.register(name="atlas", hostname="atlas", boot=uuid4(), found=found, missing_layers=["own network"])
    return Device.objects.get(node__name="atlas")  # type: ignore[return-value]


def log_in(email: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(email=email))
    return client


def test_the_web_role_reads_tenant_metrics_only_on_operator_pages(operator: Operator, as_control: Control) -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    with as_control():
        for tenant in (ours, theirs):
            outbox.drain(tenant.id)
        project = factories.default_project_id(ours)
        with tenant_scope(ours.id):
            held = holds.hold(project_id=project, subject="job:1", amount=Money(Decimal(1), "EUR"))
            record_usage([interval(project, now(), 30)], hold_id=held)
        assert tenant_metrics.refresh() == 2
    assert TenantDigest.objects.count() == 0
    with tenant_scope(ours.id):
        assert TenantDigest.objects.count() == 0
    with operator_scope(operator):
        rows = {row.slug: row for row in tenant_metrics.digests()}
        assert set(rows) == {"ours", "theirs"}
        assert rows["ours"].month_spend > 0
        assert (rows["theirs"].month_spend, rows["ours"].members, rows["ours"].running_jobs) == (Decimal(0), 1, 0)
        assert [row.tenants for row in tenant_metrics.totals()] == [2]
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM tenants_membership")
            assert cursor.fetchone() == (0,)
        with pytest.raises(DatabaseError), transaction.atomic():
            TenantDigest.objects.update(name="forged")
    assert tenant_metrics.digests() == []


def test_the_stalest_tenants_come_first(as_control: Control, operator: Operator) -> None:
    made = [factories.make_tenant(f"tenant-{n}") for n in range(3)]
    with as_control():
        assert tenant_metrics.refresh(limit=2) == 2
        assert tenant_metrics.refresh(limit=1) == 1
    with operator_scope(operator):
        assert {row.tenant_id for row in tenant_metrics.digests()} == {tenant.id for tenant in made}
        assert [row.slug for row in tenant_metrics.digests(after="tenant-0", limit=1)] == ["tenant-1", "tenant-2"]


def test_the_operator_area_is_a_404_for_others(operator: Operator, device: Device) -> None:
    tenant = factories.make_tenant()
    owner = factories.make_member(tenant, "owner")
    paths = ("/operator/", "/operator/tenants/", "/operator/acts/", "/operator/mail/")
    for path in paths:
        assert Client().get(path).status_code == 302
        assert log_in(owner.email).get(path).status_code == 404
        assert log_in(operator.label).get(path).status_code == 200
    change = f"/operator/devices/{device.id}/cordon/"
    assert log_in(owner.email).post(change, {"reason": "because"}).status_code == 404
    assert Device.objects.get(id=device.id).state == "ready"
    assert log_in(operator.label).get(f"/t/{tenant.slug}/").status_code == 404
    assert log_in(operator.label).get("/")["Location"] == "/operator/"


def test_the_web_role_cannot_create_operators(as_control: Control) -> None:
    user = factories.make_user("ana@example.org")
    with pytest.raises(DatabaseError), transaction.atomic():
        User.objects.filter(id=user.id).update(is_operator=True)
    with pytest.raises(DatabaseError), transaction.atomic():
        User.objects.create_user("eve@example.org", None, is_operator=True)
    with as_control():
        call_command("operator", "ana@example.org")
    assert User.objects.get(id=user.id).is_operator
    User.objects.filter(id=user.id).update(name="Ana", is_operator=True)
    client = log_in("ana@example.org")
    assert client.get("/operator/").status_code == 200
    with as_control():
        call_command("operator", "ana@example.org", "--revoke")
        with pytest.raises(CommandError, match="No account"):
            call_command("operator", "nobody@example.org")
        call_command("operator", "new@example.org", "--password", "long enough")
    assert client.get("/operator/").status_code == 404


def test_the_web_role_takes_no_operator_over(operator: Operator, as_control: Control) -> None:
    mine = User.objects.filter(id=operator.id)
    stored = mine.get().password
    changes: list[dict[str, Any]] = [
        {"password": make_password("mine from now on")},
        {"email": "eve@example.org"},
        {"is_active": False},
        {"is_operator": False},
        {"is_superuser": True},
    ]
    for change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            mine.update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        EmailAddress.objects.create(user_id=operator.id, email="eve@example.org", verified=True, primary=True)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tenants_user WHERE id = %s", [operator.id])
    mine.update(theme="dark", last_login=now())
    client = log_in(operator.label)
    form = {"oldpassword": factories.PASSWORD, "password1": "a long one indeed", "password2": "a long one indeed"}
    refused = client.post("/accounts/password/change/", form)
    assert (refused.status_code, "--set-password" in text_of(refused)) == (200, True)
    assert mine.get().password == stored
    # Other accounts' hashes of an earlier version are renewed at the next login; here that would be a change of the
    # password.
    with as_control():
        mine.update(password=get_hasher().encode("old but right", "short salt"))
    right = {"login": operator.label, "password": "old but right"}
    assert Client().post("/accounts/login/", right).status_code == 302
    with as_control():
        call_command("operator", operator.label, "--set-password", "typed on the machine")
    assert client.get("/operator/").status_code == 302, "a new password ends every session"
    right["password"] = "typed on the machine"
    assert Client().post("/accounts/login/", right).status_code == 302
    with operator_scope(operator):
        assert tenant_metrics.acts()[0].action == "tenants.operator.password_set"


@pytest.mark.django_db(transaction=True)
def test_a_login_of_its_own_in_the_web_roles_group_is_held_as_the_web_role_is(
    superuser: Any, as_control: Control
) -> None:
    user, other = factories.make_user("root@platform.example"), factories.make_user("ana@example.org")
    with as_control():
        grants.grant(user.email)
    superuser.execute("CREATE ROLE exchequer_web_of_ours IN ROLE exchequer_app")
    try:
        with superuser.transaction():
            superuser.execute("SET LOCAL ROLE exchequer_web_of_ours")
            superuser.execute("UPDATE tenants_user SET theme = 'dark' WHERE id = %s", [user.id])
        for change, who in (
            ("password = 'x'", user),
            ("email = 'eve@example.org'", user),
            ("is_operator = true", other),
        ):
            act = f"SET LOCAL ROLE exchequer_web_of_ours; UPDATE tenants_user SET {change} WHERE email = '{who.email}'"
            with pytest.raises(psycopg.errors.InsufficientPrivilege), superuser.transaction():
                superuser.execute(act)
    finally:
        superuser.execute("DROP ROLE exchequer_web_of_ours")


def test_a_cordon_is_logged_with_its_reason(operator: Operator, device: Device, superuser: Any) -> None:
    with operator_scope(operator):
        for reason in ("", "  ", "no", "x" * 401):
            with pytest.raises(Invalid):
                fleet.cordon(operator=operator, device_id=device.id, reason=reason)
        fleet.cordon(operator=operator, device_id=device.id, reason="Fan  fails")
        with pytest.raises(Conflict):
            fleet.cordon(operator=operator, device_id=device.id, reason="again")
        with pytest.raises(NotFound):
            fleet.cordon(operator=operator, device_id=uuid4(), reason="missing")
        (node,) = fleet.nodes()
        assert (node.state, node.devices[0].state, node.devices[0].state_reason) == ("alive", "cordoned", "Fan fails")
        assert node.missing_layers[0].startswith("own network")
        fleet.uncordon(operator=operator, device_id=device.id, reason="New fan")
        acts = tenant_metrics.acts()
        assert [(act.action, act.reason) for act in acts[:2]] == [
            ("compute.device.uncordoned", "New fan"),
            ("compute.device.cordoned", "Fan fails"),
        ]
        assert acts[0].operator_label == operator.label
        for change in ("UPDATE tenants_operatoract SET reason = 'x'", "DELETE FROM tenants_operatoract"):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(change)
    assert OperatorAct.objects.count() == 0
    with pytest.raises(DatabaseError), transaction.atomic():
        OperatorAct.objects.create(operator=operator.id, action="a", target_type="t", target_id="1", reason="r")


def test_a_refused_reason_comes_back_with_the_form(operator: Operator, device: Device) -> None:
    client = log_in(operator.label)
    answer = client.post(f"/operator/devices/{device.id}/cordon/", {"reason": "x"})
    assert answer.status_code == 400
    assert b"Say why" in answer.content
    assert b'value="x"' in answer.content
    answer = client.post(f"/operator/devices/{device.id}/cordon/", {"reason": "Fan fails"}, follow=True)
    assert b"Fan fails" in answer.content


def test_opening_an_email_is_logged_and_hides_its_links(operator: Operator, tmp_path: Path, settings: Any) -> None:
    settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = "tenants.notifications.file_backend.FileBackend", str(tmp_path)
    secrets = ("/accounts/invitation/s3cret-token/", "/accounts/password/reset/key/3w-c0ffee-dead/")
    text = "Hello.\n\n" + "\n".join(f"<https://x.example{secret}>" for secret in secrets) + "\nGood bye.\n"
    EmailMessage("Join ours", text, to=["ana@example.org"]).send()
    client = log_in(operator.label)
    listed = text_of(client.get("/operator/mail/"))
    assert "Join ours" in listed
    assert "Good bye" not in listed
    assert "recorded" in listed
    (email,) = file_backend.stored_emails()
    for name in ("nothing", "../etc", email.name):
        shown = text_of(client.get("/operator/mail/", {"letter": name}))
        assert not any(secret.split("/")[-2] in shown for secret in secrets)
    assert "Good bye" in shown
    assert file_backend.HIDDEN in shown
    assert all(secret in email.text for secret in secrets)
    with operator_scope(operator):
        (act,) = [act for act in tenant_metrics.acts() if act.target_type == "letter"]
    assert (act.action, act.operator_label) == ("tenants.letter.opened", operator.label)
    assert act.target_label == "to ana@example.org: Join ours"
