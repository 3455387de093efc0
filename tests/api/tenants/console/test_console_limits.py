"""What the console withstands: sessions, its database login, acts that cross, input from outside."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.test import Client, override_settings

from compute.models import Allocation
from models_app.endpoints import deployments
from models_app.models import Endpoint
from tenants.events import events, outbox
from tenants.identity import invitations
from tenants.isolation.scoping import tenant_scope
from tenants.models import Invitation, Membership, OperatorAct, OperatorSession, Tenant, User
from tenants.operators import grants, keys, lifecycle
from tenants.operators.operator import Operator
from tests.support import endpoints, factories
from tests.support.console import ROOT, log_in, set_up_second_factor

pytestmark = pytest.mark.django_db
Role = Callable[[], AbstractContextManager[None]]


def admin() -> Operator:
    return Operator(id=uuid4(), label=ROOT, roles=("platform_admin",))


def sql(statement: str, values: Any = ()) -> Any:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def in_tenant_sql(tenant: Tenant, statement: str, values: Any = ()) -> Any:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant.id)])
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else cursor.rowcount


@pytest.mark.django_db(transaction=True)
def test_a_session_of_a_password_alone_opens_nothing_once_somebody_else_proved_a_factor(
    operator: Any, console: Role
) -> None:
    """An account that has a factor is not enough: this session must have shown it."""
    operator()
    with console():
        thief, owner = log_in(), log_in()
        assert thief.get("/tenants/").status_code == 302
        set_up_second_factor(owner)
        assert owner.get("/tenants/").status_code == 200
        assert thief.get("/tenants/").status_code == 302, "a password alone opened the console"
        assert thief.get("/api/operator/v1/tenants/").status_code in (401, 403)


@pytest.mark.django_db(transaction=True)
def test_a_reset_second_factor_ends_the_sessions(operator: Any, console: Role, as_control: Role) -> None:
    operator()
    with console():
        set_up_second_factor(log_in())
    with as_control():
        grants.reset_second_factor(ROOT)
    with console():
        assert OperatorSession.objects.filter(user_id__isnull=False).count() == 0


def test_a_new_password_by_command_ends_keys(operator: Any, console: Role, as_control: Role) -> None:
    operator()
    with console():
        user = User.objects.get(email=ROOT)
        made = keys.create(
            operator=Operator(id=user.id, label=ROOT, roles=("platform_admin",)), name="x", roles=["platform_admin"]
        )
    with as_control():
        grants.set_password(ROOT, "another long one, chosen")
    with console():
        got = Client().get("/api/operator/v1/tenants/", headers={"Authorization": f"Bearer {made.secret}"})
        assert got.status_code == 401


def test_the_consoles_login_forges_no_event_of_others(as_operator: Role) -> None:
    """An attacker with the console's login starts what belongs to the tenants' side: shares end, endpoints stop, budgets alarm."""
    from tenants.events.events import MemberRemoved

    tenant = factories.make_tenant("ours")
    with as_operator(), pytest.raises(DatabaseError), tenant_scope(tenant.id):
        events.publish(MemberRemoved(tenant_id=tenant.id, user_id=uuid4()))


def test_a_late_message_stops_no_endpoint_of_an_active_tenant(as_operator: Role, as_control: Role) -> None:
    tenant = factories.make_tenant("ours")
    with as_control():
        outbox.drain(tenant.id)
    with as_operator():
        lifecycle.suspend(operator=admin(), tenant_id=tenant.id, reason="by mistake")
        lifecycle.resume(operator=admin(), tenant_id=tenant.id, reason="by mistake")
    endpoint = endpoints.make_endpoint(tenant)
    with as_control():
        outbox.drain(tenant.id)
    with tenant_scope(tenant.id):
        assert Endpoint.objects.get(id=endpoint.id).state != "undeployed"


def test_the_consoles_login_reads_no_event_of_others(as_operator: Role) -> None:
    from compute.events import JobEnded

    tenant = factories.make_tenant("ours")
    with tenant_scope(tenant.id):
        events.publish(JobEnded(tenant_id=tenant.id, job_id=uuid4(), state="failed", cause="user"))
    with as_operator():
        assert in_tenant_sql(tenant, "SELECT payload FROM tenants_outboxmessage WHERE topic = 'compute.JobEnded'") == []


@pytest.mark.parametrize(
    "change",
    ["currency = 'USD'", "slug = 'theirs'", "created_at = created_at - interval '1 year'", "self_approval = true"],
)
def test_the_consoles_login_writes_only_the_standing_of_a_tenant(change: str, as_operator: Role) -> None:
    tenant = factories.make_tenant("ours")
    with as_operator(), pytest.raises(DatabaseError):
        in_tenant_sql(tenant, f"UPDATE tenants_tenant SET {change} WHERE id = %s", [tenant.id])


def test_the_web_login_touches_no_counter_of_the_console(as_operator: Role) -> None:
    with as_operator():
        sql(
            "INSERT INTO tenants_ratelimit (cache_key, value, expires) VALUES ('operator:1:login', 'W10=', now() + interval '1 hour')"
        )
    assert sql("DELETE FROM tenants_ratelimit WHERE cache_key LIKE 'operator:%%'") == 0


def test_restore_returns_to_the_standing_before(as_operator: Role) -> None:
    tenant = factories.make_tenant("ours")
    with as_operator():
        for act, why in (
            (lifecycle.suspend, "does not pay"),
            (lifecycle.close, "asked to"),
            (lifecycle.restore, "undo"),
        ):
            act(operator=admin(), tenant_id=tenant.id, reason=why)
        assert Tenant.objects.get(id=tenant.id).standing == "suspended"


def test_restore_after_its_date_is_refused(as_operator: Role, demo_clock: Any) -> None:
    tenant = factories.make_tenant("ours")
    with as_operator():
        lifecycle.close(operator=admin(), tenant_id=tenant.id, reason="ended")
        demo_clock.advance(timedelta(days=8))
        with pytest.raises(lifecycle.WrongStanding):
            lifecycle.restore(operator=admin(), tenant_id=tenant.id, reason="too late")


def test_an_endpoint_deployed_across_a_suspension_gets_no_slot(as_operator: Role, as_control: Role) -> None:
    from compute.devices.base import Found
    from compute.fleet import nodes
    from compute.scheduling import slots

    tenant = factories.make_tenant("ours")
    version = endpoints.make_version(tenant)
    nodes.register(
        name="n",
        hostname="n",
        boot=uuid4(),
        found=[Found("s", "cpu", "serving", "S", 0, 1)],
        missing_layers=[],
        serves=True,
    )
    stale = factories.actor_for(tenant)  # read at the door, before the suspension commits
    with as_operator():
        lifecycle.suspend(operator=admin(), tenant_id=tenant.id, reason="does not pay")
    with as_control():
        outbox.drain(tenant.id)
    deployments.deploy(actor=stale, name="churn", version_id=version.id)
    with as_control():
        outbox.drain(tenant.id)
        given = slots.assign_slots()
    with tenant_scope(tenant.id):
        assert (given, list(Allocation.objects.values_list("state", flat=True))) == (0, ["waiting"])


@pytest.mark.parametrize("standing", ["closing", "closed"])
def test_nobody_joins_what_closes(standing: str, as_operator: Role, as_control: Role, demo_clock: Any) -> None:
    tenant = factories.make_tenant("ours")
    row = invitations.invite(actor=factories.actor_for(tenant), email="new@ours.example", role="admin")
    with as_operator():
        lifecycle.close(operator=admin(), tenant_id=tenant.id, reason="ended")
    with as_control():
        sql("SELECT 1")
    if standing == "closed":
        demo_clock.advance(timedelta(days=7, minutes=1))
        with tenant_scope(tenant.id):
            sql("SELECT 1")
        with as_control():
            lifecycle.close_due()
    before = _members(tenant)
    with pytest.raises(invitations.InvitationGone):
        invitations.accept(
            token=invitations.token_of(row.id), user=None, name="New", password="a long one indeed, chosen"
        )
    assert _members(tenant) == before


def _members(tenant: Tenant) -> int:
    with tenant_scope(tenant.id):
        return Membership.objects.count()


def test_who_closes_asks_for_nothing(as_operator: Role) -> None:
    tenant = factories.make_tenant("ours")
    key = factories.make_api_key(tenant)
    with as_operator():
        lifecycle.close(operator=admin(), tenant_id=tenant.id, reason="ended")
    from tenants.access.permissions import PERMISSIONS
    from tenants.access.standing import CHANGES

    left = {one for one in PERMISSIONS if not one.endswith((".view", ".view_restricted", ".export"))} - CHANGES
    assert left == set() or left <= {"jobs.cancel", "jobs.cancel_any"}, left
    assert key


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "tenants/?q=%00", None),
        ("get", "tenants/?before=WyJcdTAwMDAiXQ", None),
        ("get", "log/?before=WyJcdTAwMDAiXQ", None),
        ("put", "quotas/", {"resource": "devices:cpu", "limit": 10**30, "reason": "because"}),
        ("put", "quotas/", {"resource": "storage:bytes", "limit": 2**62, "reason": "because"}),
        ("put", "quotas/", {"resource": "devices:cpu", "limit": 1, "weight": 10**12, "reason": "because"}),
        ("put", "quotas/", {"resource": "devices:cpu", "limit": 1, "guaranteed": 2**63, "reason": "because"}),
        ("put", "quotas/", {"resource": "devices:\x00", "limit": 1, "reason": "because"}),
        ("post", "suspend/", {"reason": "a\u0000bcd"}),
        ("post", "suspend/", {"reason": "a\ud800bcd"}),
        ("post", "tenants/", {"name": "a\u0000b", "slug": "vision", "owner_email": "o@v.example"}),
        ("post", "keys/", {"name": "a\u0000b", "roles": ["platform_admin"]}),
        ("post", "keys/", {"name": "k", "roles": ["platform_admin"], "expires_at": "9999-12-31T23:59:59-14:00"}),
        ("post", "keys/", {"name": "k", "roles": ["platform_admin"], "expires_at": "0001-01-01T00:00:00+14:00"}),
    ],
)
def test_no_input_is_a_5xx(
    method: str, path: str, body: Any, operator: Any, console: Role, without_second_factor: None
) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    with console():
        client = log_in()
        client.raise_request_exception = False
        where = f"tenants/{tenant.id}/{path}" if path in ("quotas/", "suspend/") else path
        answer = getattr(client, method)(
            f"/api/operator/v1/{where}", body, **({"content_type": "application/json"} if body else {})
        )
        assert answer.status_code < 500


@pytest.mark.parametrize(
    "path",
    ["/tenants/?q=%00", "/tenants/?q=%ff", "/tenants/?before=WyJcdTAwMDAiXQ", "/log/?before=x", "/mail/?letter=%00"],
)
def test_no_page_is_a_5xx(path: str, operator: Any, console: Role, without_second_factor: None) -> None:
    operator()
    with console():
        client = log_in()
        client.raise_request_exception = False
        assert client.get(path).status_code < 500


@pytest.mark.parametrize(
    "given", [{"limit": str(10**30)}, {"limit": str(2**62)}, {"resource": "storage:bytes", "limit": str(2**60)}]
)
def test_no_ceiling_is_a_5xx(given: dict[str, str], operator: Any, console: Role, without_second_factor: None) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    with console():
        client = log_in()
        client.raise_request_exception = False
        form = {"resource": "devices:cpu", "reason": "because"} | given
        assert client.post(f"/tenants/{tenant.id}/ceilings/", form).status_code < 500
        assert client.get(f"/tenants/{tenant.id}/").status_code == 200


def test_an_export_of_all_tenants_stands_in_the_operator_log(
    operator: Any, console: Role, without_second_factor: None
) -> None:
    operator()
    factories.make_tenant("ours")
    with console():
        client = log_in()
        assert client.get("/tenants/?export=csv").status_code == 200
        assert OperatorAct.objects.filter(action__contains="export").exists()


def test_the_console_trusts_no_origin_of_the_tenants_side(
    operator: Any, console: Role, without_second_factor: None
) -> None:
    """`CSRF_TRUSTED_ORIGINS` is one variable for both sides; a cookie ignores ports, so the tenants' side plants the token."""
    operator()
    tenant = factories.make_tenant("ours")
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://exchequer.example"]), console():
        victim = log_in()
        victim.handler.enforce_csrf_checks = True
        token = "a" * 32
        victim.cookies[django_settings.CSRF_COOKIE_NAME] = token
        form = {"reason": "forged", "csrfmiddlewaretoken": token}
        for origin in ("https://evil.example", "https://exchequer.example"):
            answer = victim.post(f"/tenants/{tenant.id}/suspend/", form, headers={"Origin": origin})
            assert answer.status_code == 403, origin
        assert Tenant.objects.get(id=tenant.id).standing == "active"


@pytest.mark.parametrize(
    "where",
    [
        "//evil.example/",
        "https://evil.example/",
        "http://127.0.0.1/",
        "http://testserver@evil.example/",
        "javascript:alert(1)",
        "/\\evil.example",
    ],
)
def test_no_open_redirect(where: str, operator: Any, console: Role, without_second_factor: None) -> None:
    operator()
    with console():
        answer = Client().post("/accounts/login/", {"login": ROOT, "password": factories.PASSWORD, "next": where})
        assert answer["Location"] == "/", answer["Location"]


def test_the_consoles_environment_opens_no_store(tmp_path: Path) -> None:
    from deploy.local.plan import plan_for
    from deploy.local.state_dir import Home

    home = Home(tmp_path / "home")
    home.take()
    plan = plan_for(home, {})
    kept = home.secrets()
    given = plan.for_console()
    leaked = {
        name
        for name, value in given.items()
        for secret in ("valkey", "s3_secret_key", "secret_key")
        if kept[secret] in value
    }
    assert leaked == set(), leaked


@pytest.mark.django_db(transaction=True)
def test_a_change_of_second_factors_stands_in_the_operator_log(operator: Any, console: Role) -> None:
    operator()
    with console():
        client = log_in()
        set_up_second_factor(client)
        client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD, "next": "/"})
        assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302
        assert not Authenticator.objects.exists()
        done = list(OperatorAct.objects.order_by("id").values_list("action", flat=True))
        assert [one for one in done if "factor" in one] != [], done


def test_the_page_keeps_what_the_api_set(operator: Any, console: Role, without_second_factor: None) -> None:
    operator()
    tenant = factories.make_tenant("ours")
    with console():
        client = log_in()
        path = f"/api/operator/v1/tenants/{tenant.id}/quotas/"
        body = {"resource": "devices:cpu", "limit": 8, "guaranteed": 4, "weight": 3, "reason": "Contract"}
        assert client.put(path, body, content_type="application/json").status_code == 200
        client.post(f"/tenants/{tenant.id}/ceilings/", {"resource": "devices:cpu", "limit": "9", "reason": "More"})
        (row,) = client.get(path).json()["results"]
        assert (row["limit"], row["guaranteed"], row["weight"]) == (9, 4, 3)


@pytest.mark.django_db(transaction=True)
def test_a_key_ends_with_the_second_factor(operator: Any, console: Role, as_control: Role) -> None:
    operator()
    with console():
        client = log_in()
        set_up_second_factor(client)
        body = {"name": "k", "roles": ["platform_admin"]}
        made = client.post("/api/operator/v1/keys/", body, content_type="application/json").json()
    with as_control():
        grants.reset_second_factor(ROOT)
    with console():
        got = Client().get("/api/operator/v1/tenants/", headers={"Authorization": f"Bearer {made['key']}"})
        assert got.status_code in (401, 403)


def test_a_page_of_a_tenant_reads_few_rows(
    operator: Any, as_operator: Role, django_assert_max_num_queries: Any
) -> None:
    from tenants.operators import tenant_details

    tenant = factories.make_tenant("ours")
    for at in range(12):
        factories.make_member(tenant, "viewer", f"p{at}@ours.example")
    with as_operator(), django_assert_max_num_queries(16):
        assert len(tenant_details.details(tenant.id).people) >= 12


def test_an_owner_is_invited_again_when_the_address_was_wrong(
    operator: Any, console: Role, as_control: Role, without_second_factor: None
) -> None:
    operator()
    new = {"name": "Vision", "slug": "vision", "currency": "EUR", "timezone": "UTC"}
    with console():
        client = log_in()
        client.post("/tenants/new/", new | {"owner_email": "onwer@vision.example"})
        tenant = Tenant.objects.get()
    with as_control():
        outbox.drain(tenant.id)
    with console():
        url = f"/tenants/{tenant.id}/owner/"
        assert client.post(url, {"owner_email": "nobody"}).status_code == 422
        assert client.post(url, {"owner_email": "owner@vision.example"}).status_code == 302
    with as_control():
        outbox.drain(tenant.id)
    with tenant_scope(tenant.id):
        live = Invitation.objects.filter(revoked_at=None).values_list("email", "role")
        assert list(live) == [("owner@vision.example", "owner")]
    factories.make_member(tenant, "owner")
    with console():
        assert client.post(url, {"owner_email": "eve@vision.example"}).status_code == 422


DEMO = {"demo": True, "bound_to": "127.0.0.1"}
#: Settings in which the console is reached by nobody else, and those in which somebody may.
ASKS = (
    (DEMO, False),
    (DEMO | {"bound_to": "::1"}, False),
    (DEMO | {"demo": False}, True),
    (DEMO | {"bound_to": "0.0.0.0"}, True),  # noqa: S104 (what is tested)
    (DEMO | {"bound_to": "192.0.2.7"}, True),
    (DEMO | {"bound_to": ""}, True),
    (DEMO | {"public_url": "http://testserver"}, True),
    (DEMO | {"operator_public_url": "http://testserver"}, True),
    (DEMO | {"trusted_proxies": "127.0.0.1"}, True),
)


def test_a_second_factor_is_asked_for_unless_it_is_a_demo_that_no_other_machine_reaches(
    operator: Any, console: Role, settings: Any
) -> None:
    operator()
    shipped = settings.EXCHEQUER
    for changed, asked in ASKS:
        settings.EXCHEQUER = shipped.model_copy(update=changed)
        with console():
            client = log_in()
            page, answer = client.get("/tenants/"), client.get("/api/operator/v1/me/")
            assert (page.status_code, page.get("Location")) == ((302, "/accounts/2fa/") if asked else (200, None)), (
                changed
            )
            assert answer.status_code == (403 if asked else 200), changed
