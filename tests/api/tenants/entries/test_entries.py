"""Every write of the API leaves exactly the audit entries that the table lists, and none if it is refused (A1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from models_app.models import DatasetVersion
from models_app.object_store import storage
from tenants.clock import now
from tenants.grants import groups
from tenants.identity.providers import domains
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, MailDomain, User
from tenants.sharing import shares
from tests.api.objects import COLUMNS, one_of_everything
from tests.api.tenants.entries.grounds import GROUNDS, Sent, World, event, undone
from tests.api.test_fuzz import GOOD
from tests.api.test_matrix import API, BODIES, client_for, path_of
from tests.fakes.stripe import stripe_server
from tests.fakes.stripe.server import API_KEY, WEBHOOK_SECRET
from tests.support import factories
from tests.support.servers.services import S3

pytestmark = pytest.mark.django_db

#: The entries of each write.
ENTRIES: dict[str, tuple[str, ...]] = {
    "PATCH organisation/": ("tenants.tenant.changed",),
    "POST exports/organisation/": ("tenants.export.ordered",),
    "POST members/": ("tenants.invitation.issued",),
    "PATCH members/<uuid:user_id>/": ("tenants.member.role_changed",),
    "DELETE members/<uuid:user_id>/": ("tenants.member.removed",),
    "POST members/<uuid:user_id>/adopt/": ("tenants.member.credentials_adopted",),
    "POST invitations/": ("tenants.invitation.issued",),
    "DELETE invitations/<uuid:invitation_id>/": ("tenants.invitation.revoked",),
    "POST projects/": ("tenants.project.created",),
    "PATCH projects/<uuid:project_id>/": ("tenants.project.changed",),
    "POST api-keys/": ("tenants.api_key.created",),
    "DELETE api-keys/<uuid:key_id>/": ("tenants.api_key.revoked",),
    "POST api-keys/<uuid:key_id>/rotate/": ("tenants.api_key.created", "tenants.api_key.rotated"),
    "PUT quotas/": ("tenants.quota.changed",),
    "POST quotas/requests/": ("tenants.approval.requested",),
    "POST approvals/<uuid:approval_id>/approve/": ("tenants.quota.changed", "tenants.approval.granted"),
    "POST approvals/<uuid:approval_id>/decline/": ("tenants.approval.declined",),
    "POST budgets/<uuid:budget_id>/requests/": ("tenants.approval.requested",),
    "POST roles/": ("tenants.role.created",),
    "PATCH roles/<uuid:role_id>/": ("tenants.role.changed",),
    "DELETE roles/<uuid:role_id>/": ("tenants.role.deleted",),
    "POST groups/": ("tenants.group.created",),
    "DELETE groups/<uuid:group_id>/": ("tenants.group.deleted",),
    "POST groups/<uuid:group_id>/members/": ("tenants.group.member_added",),
    "DELETE groups/<uuid:group_id>/members/<uuid:user_id>/": ("tenants.group.member_removed",),
    "POST service-accounts/": ("tenants.service_account.created",),
    "DELETE service-accounts/<uuid:account_id>/": ("tenants.service_account.disabled",),
    "POST grants/": ("tenants.grant.given",),
    "DELETE grants/<uuid:grant_id>/": ("tenants.grant.withdrawn",),
    "POST access/requests/": ("tenants.approval.requested",),
    "POST webhooks/": ("tenants.webhook.created",),
    "PATCH webhooks/<uuid:webhook_id>/": ("tenants.webhook.changed",),
    "DELETE webhooks/<uuid:webhook_id>/": ("tenants.webhook.deleted",),
    "POST webhooks/<uuid:webhook_id>/secret/": ("tenants.webhook.secret_rotated",),
    "POST webhooks/<uuid:webhook_id>/address/": ("tenants.webhook.address_revealed",),
    "POST webhooks/<uuid:webhook_id>/test/": ("tenants.webhook.tested",),
    "POST webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": ("tenants.webhook.delivery_replayed",),
    "PUT identity-provider/": ("tenants.identity_provider.saved",),
    "DELETE identity-provider/": ("tenants.identity_provider.removed",),
    "PUT identity-provider/required/": ("tenants.identity_provider.required",),
    "PUT identity-provider/leavers/": ("tenants.identity_provider.leavers_chosen",),
    "POST identity-provider/domains/": ("tenants.mail_domain.added",),
    "DELETE identity-provider/domains/<uuid:domain_id>/": ("tenants.mail_domain.removed",),
    "POST identity-provider/domains/<uuid:domain_id>/verify/": ("tenants.mail_domain.verified",),
    "POST identity-provider/scim-tokens/": ("tenants.scim_token.created",),
    "DELETE identity-provider/scim-tokens/<uuid:token_id>/": ("tenants.scim_token.revoked",),
    "POST identity-provider/groups/": ("tenants.external_group.mapped",),
    "DELETE identity-provider/groups/<uuid:mapping_id>/": ("tenants.external_group.unmapped",),
    "DELETE identity-provider/people/<uuid:identity_id>/": ("tenants.external_identity.unlinked",),
    "DELETE sessions/": ("tenants.session.ended",),
    "DELETE sessions/<str:session_id>/": ("tenants.session.ended",),
    "POST events": ("billing.usage.received",),
    "POST events/": ("billing.usage.received",),
    "POST meters/": ("billing.meter.defined",),
    "PATCH meters/<uuid:meter_id>/": ("billing.meter.changed",),
    "POST usage/batches/<uuid:batch_id>/void/": ("billing.usage.voided",),
    "POST usage/void/": ("billing.usage.voided",),
    "POST usage/held/decide/": ("billing.usage.reviewed",),
    "PUT usage/limits/": ("billing.report_limit.changed",),
    "PUT showback/prices/": ("billing.showback.set",),
    "POST budgets/": ("billing.budget.created",),
    "PATCH budgets/<uuid:budget_id>/": ("billing.budget.changed",),
    "DELETE budgets/<uuid:budget_id>/": ("billing.budget.closed",),
    "PUT chargeback/shared/rules/": ("billing.shared_costs.set",),
    "PUT tags/required/": ("billing.required_tags.set",),
    "POST holds/": ("billing.hold.placed",),
    "POST holds/<uuid:hold_id>/extend/": ("billing.hold.extended",),
    "POST holds/<uuid:hold_id>/release/": ("billing.hold.released",),
    "POST wallet/top-ups/": ("billing.top_up.asked",),
    "PUT wallet/automatic-top-up/": ("billing.top_up.automatic",),
    "DELETE wallet/automatic-top-up/": ("billing.top_up.automatic",),
    "POST payment-methods/": ("billing.payment_methods.changed",),
    "PUT payment-methods/default/": ("billing.payment_methods.changed",),
    "POST payment-methods/remove/": ("billing.payment_methods.changed",),
    "PUT payment-methods/automatic-charges/": ("billing.autopay.changed",),
    "DELETE payment-methods/automatic-charges/": ("billing.autopay.changed",),
    "POST invoices/<uuid:invoice_id>/dispute/": ("billing.dispute.opened",),
    "POST disputes/<uuid:dispute_id>/messages/": ("billing.dispute.written",),
    "POST disputes/<uuid:dispute_id>/withdraw/": ("billing.dispute.ended",),
    "POST quotes/": ("billing.quote.bound",),
    "POST jobs/": ("compute.job.submitted",),
    "POST jobs/<uuid:job_id>/cancel/": ("compute.job.cancelled",),
    "POST jobs/<uuid:job_id>/pause/": ("compute.job.paused",),
    "POST jobs/<uuid:job_id>/snooze/": ("compute.job.idle_snoozed",),
    "POST jobs/<uuid:job_id>/resume/": ("compute.job.resumed",),
    "POST jobs/<uuid:job_id>/clone/": ("compute.job.submitted",),
    "PUT idle/rule/": ("compute.idle_rule.set",),
    "DELETE idle/rule/": ("compute.idle_rule.set",),
    "POST job-sets/": ("compute.job_set.launched", "compute.job.submitted", "compute.job.submitted"),
    "POST job-sets/<uuid:job_set_id>/cancel/": ("compute.job.cancelled", "compute.job_set.cancelled"),
    "POST job-sets/<uuid:job_set_id>/retry-failed/": ("compute.job.submitted", "compute.job_set.retried"),
    "POST presets/": ("models_app.preset.saved",),
    "PATCH presets/<uuid:preset_id>/": ("models_app.preset.changed",),
    "DELETE presets/<uuid:preset_id>/": ("models_app.preset.removed",),
    "POST presets/<uuid:preset_id>/launch/": ("compute.job.submitted",),
    "POST schedules/": ("models_app.schedule.saved",),
    "PATCH schedules/<uuid:schedule_id>/": ("models_app.schedule.changed",),
    "DELETE schedules/<uuid:schedule_id>/": ("models_app.schedule.removed",),
    "POST schedules/<uuid:schedule_id>/pause/": ("models_app.schedule.paused",),
    "POST schedules/<uuid:schedule_id>/resume/": ("models_app.schedule.resumed",),
    "POST schedules/<uuid:schedule_id>/run/": (
        "compute.job_set.launched",
        "models_app.pipeline_run.launched",
        "models_app.schedule.launched",
        "models_app.pipeline_run.ended",
    ),
    "POST pipelines/": ("models_app.pipeline.saved",),
    "PATCH pipelines/<uuid:pipeline_id>/": ("models_app.pipeline.changed",),
    "DELETE pipelines/<uuid:pipeline_id>/": ("models_app.pipeline.removed",),
    "POST pipelines/<uuid:pipeline_id>/runs/": (
        "compute.job_set.launched",
        "models_app.pipeline_run.launched",
        "models_app.pipeline_run.ended",
    ),
    "POST pipeline-runs/<uuid:run_id>/cancel/": ("models_app.pipeline_run.cancelled",),
    "POST pipeline-runs/<uuid:run_id>/retry/": ("models_app.pipeline_run.retried", "models_app.pipeline_run.ended"),
    "POST datasets/": ("models_app.dataset.uploaded",),
    "DELETE datasets/<uuid:dataset_id>/": ("models_app.dataset.removed",),
    "DELETE datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/": ("models_app.dataset_version.removed",),
    "PATCH datasets/<uuid:dataset_id>/": ("models_app.dataset.restricted",),
    "POST datasets/<uuid:dataset_id>/shares/": ("models_app.dataset.shared",),
    "DELETE datasets/<uuid:dataset_id>/shares/<uuid:holder_id>/": ("models_app.dataset.unshared",),
    "POST models/<uuid:model_id>/shares/": ("models_app.model.shared",),
    "DELETE models/<uuid:model_id>/shares/<uuid:holder_id>/": ("models_app.model.unshared",),
    "POST endpoints/<uuid:endpoint_id>/shares/": ("models_app.endpoint.shared",),
    "DELETE endpoints/<uuid:endpoint_id>/shares/<uuid:holder_id>/": ("models_app.endpoint.unshared",),
    "POST jobs/<uuid:job_id>/shares/": ("compute.job.shared",),
    "DELETE jobs/<uuid:job_id>/shares/<uuid:holder_id>/": ("compute.job.unshared",),
    "PATCH datasets/<uuid:dataset_id>/columns/": ("models_app.dataset_version.columns_chosen",),
    "POST versions/<uuid:version_id>/promote/": ("models_app.model_version.promoted",),
    "POST versions/<uuid:version_id>/approve/": ("models_app.model_version.promoted",),
    "POST versions/<uuid:version_id>/decline/": ("models_app.model_version.declined",),
    "POST endpoints/": ("compute.slot.requested", "models_app.endpoint.deployed"),
    "DELETE endpoints/<uuid:endpoint_id>/": ("compute.slot.released", "models_app.endpoint.undeployed"),
    "POST endpoints/<uuid:endpoint_id>/keys/": ("models_app.endpoint_key.created",),
    "DELETE endpoints/<uuid:endpoint_id>/keys/<uuid:endpoint_key_id>/": ("models_app.endpoint_key.revoked",),
}
#: Writes that leave no entry, and why.
SILENT: dict[str, str] = {
    "PUT notifications/choices/": "what a person wants to be notified of is their own",
    "POST endpoints/<uuid:endpoint_id>/feedback/": "labels are data, as the predictions are",
    "POST what-if/": "nothing is stored",
    "POST invoices/<uuid:invoice_id>/pay/": "nothing is charged: the answer is the provider's page",
}
#: Refused to everybody: operators publish prices, and the answer says so.
CLOSED = {"POST price-books/<uuid:book_id>/versions/"}
SHARED = ("dataset", "model", "endpoint", "job")
#: Bodies that are accepted here; a text that is the name of an id stands for it.
MORE: dict[str, dict[str, Any]] = {
    "PATCH organisation/": {"name": "Another name"},
    "PATCH projects/<uuid:project_id>/": {"name": "Another name"},
    "POST groups/<uuid:group_id>/members/": {"user_id": "newcomer"},
    "PUT identity-provider/": {"kind": "oidc", "name": "idp", "issuer": "https://idp.example", "client_id": "y"},
    "POST identity-provider/groups/": {"group_id": "plain", "claim": "another"},
    "POST usage/batches/<uuid:batch_id>/void/": ("billing.usage.voided",),
    "POST usage/void/": ("billing.usage.voided",),
    "POST usage/held/decide/": ("billing.usage.reviewed",),
    "PUT usage/limits/": {"events": 1000, "amount": "100"},
    "POST budgets/": {"scope": "project", "amount": "10", "at_limit": "notify"},
    "PUT chargeback/shared/rules/": {"rules": [{"source": "organisation", "rule": "even"}]},
    "POST endpoints/": {"name": "another-endpoint", "version": "version"},
    **{f"POST {kind}s/<uuid:{kind}_id>/shares/": {"user": "newcomer"} for kind in SHARED},
}


def body_of(asked: str, route: str, ids: dict[str, UUID], more: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a body that is accepted, with ids of one's own."""
    nouns = [part for part in route.split("/") if part and "<" not in part]
    good = GOOD.get(" ".join(nouns[-2:])) or GOOD.get(nouns[-1], {})
    body = more.get(asked) or (BODIES.get(route) if asked.startswith("P") else None) or good
    return named(body, ids)


def named(body: dict[str, Any], ids: dict[str, UUID]) -> dict[str, Any]:
    """Return the body with the ids that its texts name, at any depth."""
    return {
        name: named(value, ids)
        if isinstance(value, dict)
        else str(ids.get(f"{value}_id", value))
        if isinstance(value, str)
        else value
        for name, value in body.items()
    }


@pytest.fixture
def world(s3: S3, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One of everything, a payment provider, a store, a name server, and whom and what the writes name."""
    storage.ensure_bucket()
    tenant = factories.make_tenant("ours")
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**32)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    ids = one_of_everything(tenant)
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        DatasetVersion.objects.update(rows=200, target="t", columns=COLUMNS)
        records = [domains.row_of(one).record_text for one in MailDomain.objects.all()]
    monkeypatch.setattr(domains, "txt_records", lambda name: records)
    for kind in SHARED:
        shares.share(actor=actor, kind=kind, object_id=ids[f"{kind}_id"], user_id=ids["holder_id"])
    plain = groups.create_group(actor=actor, name="Plain")
    ids |= {"newcomer_id": factories.make_member(tenant, "viewer").id, "plain_id": plain.id}
    client, elsewhere = client_for(tenant, "owner"), Client()
    elsewhere.force_login(User.objects.get(id=client.session["_auth_user_id"]))
    elsewhere.get("/api/v1/me/")
    sessions = client.get("/api/v1/sessions/").json()["results"]
    ids["session_id"] = next(row["id"] for row in sessions if not row["current"])
    with stripe_server(now()) as fake:
        settings.EXCHEQUER = settings.EXCHEQUER.model_copy(
            update={"stripe_api_key": API_KEY, "stripe_api_base": fake.url, "stripe_webhook_secret": WEBHOOK_SECRET}
        )
        yield World(tenant, ids, client, actor.id or uuid4())


def test_every_write_leaves_the_entries_that_the_table_lists_and_a_refused_one_leaves_none(world: World) -> None:
    """A refusal itself is entered. A POST that is repeated with its key has one effect (P16)."""
    more, viewer = MORE | dict.fromkeys(("POST events", "POST events/"), event()), client_for(world.tenant, "viewer")
    written, refused, twice = {}, set(), []

    def send(asked: str, sent: Sent, client: Client, **headers: str) -> Any:
        method, _, route = asked.partition(" ")
        path = path_of("/api/v1/", route, world.ids | sent.ids)
        if sent.file:
            return client.post(
                path, (sent.body or {}) | {"file": SimpleUploadedFile("n.csv", sent.file)}, headers=headers
            )
        body = json.dumps(sent.body or body_of(asked, route, world.ids | sent.ids, more))
        return client.generic(method, path, body, content_type="application/json", headers=headers)

    def newest() -> int:
        with tenant_scope(world.tenant.id):
            return AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]

    def entries_since(seq: int) -> tuple[str, ...]:
        with tenant_scope(world.tenant.id):
            return tuple(AuditEntry.objects.filter(seq__gt=seq).order_by("seq").values_list("action", flat=True))

    for asked, roles in [(f"{method} {route}", API[route][method]) for route in API for method in API[route]]:
        if asked.startswith("GET "):
            continue
        with undone():  # each write finds the same world
            sent, once = GROUNDS.get(asked, lambda _: Sent())(world), {"Idempotency-Key": "once"}
            before = newest()
            if "viewer" not in roles:
                assert send(asked, sent, viewer).status_code == 403, asked
                assert entries_since(before) in ((), ("tenants.request.refused",)), asked
            before = newest()
            answer = send(asked, sent, sent.client or world.client, **once)
            if answer.status_code >= 400:
                refused.add(asked)
                assert asked in CLOSED, (asked, answer.status_code, answer.content[:500])
                continue
            written[asked] = entries_since(before)
            if asked.startswith("POST "):
                again = send(asked, sent, sent.client or world.client, **once)
                twice += [] if "Idempotent-Replayed" in again and again.status_code == answer.status_code else [asked]
                assert entries_since(before) == written[asked], asked
    assert written == ENTRIES | dict.fromkeys(SILENT, ())
    assert refused == CLOSED
    assert twice == []
