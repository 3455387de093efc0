"""Keys that expire soon: their creator, or who manages keys, is notified a week and a day before, each time once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core import mail
from django.test import Client

from models_app.endpoints import endpoint_keys
from models_app.models import EndpointKey
from tenants import tasks
from tenants.clock import now
from tenants.events import outbox
from tenants.grants import grants, service_accounts
from tenants.grants.grants import Holder
from tenants.identity import api_keys
from tenants.identity.authentication import actor_today
from tenants.isolation.scoping import tenant_scope
from tenants.models import OutboxMessage
from tests.support import factories
from tests.support.endpoints import make_endpoint
from tests.support.pages import text_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)


def test_before_a_key_expires_its_creator_is_notified_by_mail_each_time_once(
    demo_clock: DemoClock, as_control: Any
) -> None:
    tenant = factories.make_tenant("lab", owner="owner@lab.example")
    nora = factories.make_member(tenant, "admin", "nora@lab.example")
    with tenant_scope(tenant.id):
        actor = actor_today(tenant.id, nora.id)
    account = service_accounts.create_service_account(actor=factories.actor_for(tenant), name="nightly")
    grants.give(actor=factories.actor_for(tenant), holder=Holder(service_account_id=account.id), role="viewer")
    later = now() + timedelta(days=30)
    api_keys.create_api_key(actor=actor, name="reporting", scopes=["jobs.view"], expires_at=later)
    api_keys.create_api_key(actor=actor, name="short", scopes=["jobs.view"], expires_at=now() + timedelta(hours=12))
    api_keys.create_api_key(actor=actor, name="for ever", scopes=["jobs.view"])
    api_keys.create_api_key(
        actor=actor, name="of nightly", scopes=["jobs.view"], expires_at=later, service_account_id=account.id
    )
    key = endpoint_keys.create(actor=actor, endpoint_id=make_endpoint(tenant).id, name="app")
    with tenant_scope(tenant.id):
        EndpointKey.objects.filter(id=key.id).update(expires_at=later)

    def sweep(days: float) -> list[tuple[str, str]]:
        demo_clock.advance(timedelta(days=days))
        mail.outbox.clear()
        for _ in range(2):
            with as_control():
                tasks.purge_expired()
        with tenant_scope(tenant.id):
            waiting = OutboxMessage.objects.filter(topic="tenants.NotificationRaised", delivered_at=None)
            messages = list(waiting.values_list("id", flat=True))
        with as_control():
            for message in messages:
                outbox.deliver(message, tenant.id)
        return sorted((one.to[0], one.subject) for one in mail.outbox if "expires in" in one.subject)

    assert sweep(1) == []
    week = sweep(22.5)
    hers = {subject.partition("The ")[2].partition(" expires")[0] for to, subject in week if to == nora.email}
    assert {"API key reporting", "endpoint key app of churn"} <= hers
    assert not any("short" in subject or "for ever" in subject for _, subject in week)
    assert any("of nightly" in subject and to == "owner@lab.example" for to, subject in week), "who manages keys"
    assert all("7 days" in subject for _, subject in week)
    assert sweep(1) == []
    assert {subject.rpartition(" in ")[2] for _, subject in sweep(4.8)} == {"1 day"}
    client = Client()
    client.force_login(nora)
    assert "The API key reporting expires in 1 day" in text_of(client.get("/t/lab/notifications/"))
