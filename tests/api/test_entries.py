"""Every write of the API leaves exactly the audit entries that the table lists, and none if it is refused (A1)."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.test import Client

from compute.devices.base import Found
from compute.fleet import nodes
from models_app.models import DatasetVersion
from tenants.clock import now
from tenants.grants import groups
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, Tenant
from tenants.sharing import shares
from tests.api.objects import COLUMNS, one_of_everything
from tests.api.test_fuzz import GOOD
from tests.api.test_matrix import API, BODIES, call, path_of
from tests.support import factories

pytestmark = pytest.mark.django_db

#: The entries of each write. None: it changes what is one's own, or orders what is recorded when it is done.
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
    "POST webhooks/": ("tenants.webhook.created",),
    "PATCH webhooks/<uuid:webhook_id>/": ("tenants.webhook.changed",),
    "DELETE webhooks/<uuid:webhook_id>/": ("tenants.webhook.deleted",),
    "POST webhooks/<uuid:webhook_id>/secret/": ("tenants.webhook.secret_rotated",),
    "POST webhooks/<uuid:webhook_id>/address/": ("tenants.webhook.address_revealed",),
    "POST webhooks/<uuid:webhook_id>/test/": ("tenants.webhook.tested",),
    "POST webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": ("tenants.webhook.delivery_replayed",),
    "PUT identity-provider/": ("tenants.identity_provider.saved",),
    "DELETE identity-provider/": ("tenants.identity_provider.removed",),
    "PUT identity-provider/required/": (),
    "PUT identity-provider/leavers/": ("tenants.identity_provider.leavers_chosen",),
    "POST identity-provider/domains/": ("tenants.mail_domain.added",),
    "DELETE identity-provider/domains/<uuid:domain_id>/": ("tenants.mail_domain.removed",),
    "POST identity-provider/domains/<uuid:domain_id>/verify/": (),
    "POST identity-provider/scim-tokens/": ("tenants.scim_token.created",),
    "DELETE identity-provider/scim-tokens/<uuid:token_id>/": ("tenants.scim_token.revoked",),
    "POST identity-provider/groups/": ("tenants.external_group.mapped",),
    "DELETE identity-provider/groups/<uuid:mapping_id>/": ("tenants.external_group.unmapped",),
    "DELETE identity-provider/people/<uuid:identity_id>/": ("tenants.external_identity.unlinked",),
    "PUT notifications/choices/": (),
    "DELETE sessions/": ("tenants.session.ended",),
    "DELETE sessions/<str:session_id>/": ("tenants.session.ended",),
    "POST events": ("billing.usage.received",),
    "POST events/": ("billing.usage.received",),
    "POST meters/": ("billing.meter.defined",),
    "PATCH meters/<uuid:meter_id>/": ("billing.meter.changed",),
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
    "PUT wallet/automatic-top-up/": ("billing.top_up.automatic",),
    "DELETE wallet/automatic-top-up/": ("billing.top_up.automatic",),
    "DELETE payment-methods/automatic-charges/": (),
    "POST disputes/<uuid:dispute_id>/messages/": ("billing.dispute.written",),
    "POST disputes/<uuid:dispute_id>/withdraw/": ("billing.dispute.ended",),
    "POST quotes/": ("billing.quote.bound",),
    "POST jobs/": ("compute.job.submitted",),
    "POST jobs/<uuid:job_id>/cancel/": ("compute.job.cancelled",),
    "POST jobs/<uuid:job_id>/pause/": ("compute.job.paused",),
    "POST jobs/<uuid:job_id>/clone/": ("compute.job.submitted",),
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
    "POST endpoints/": ("compute.slot.requested", "models_app.endpoint.deployed"),
    "DELETE endpoints/<uuid:endpoint_id>/": ("compute.slot.released", "models_app.endpoint.undeployed"),
    "POST endpoints/<uuid:endpoint_id>/keys/": ("models_app.endpoint_key.created",),
    "DELETE endpoints/<uuid:endpoint_id>/keys/<uuid:endpoint_key_id>/": ("models_app.endpoint_key.revoked",),
    "POST endpoints/<uuid:endpoint_id>/feedback/": (),
}
#: Refused in this world, with the status: what they need is tested with them.
REFUSED_HERE: dict[str, int] = {
    "POST access/requests/": 400,
    "POST usage/batches/<uuid:batch_id>/void/": 409,
    "POST usage/void/": 400,
    "POST usage/held/decide/": 400,
    "POST price-books/<uuid:book_id>/versions/": 403,
    "POST wallet/top-ups/": 409,
    "POST payment-methods/": 409,
    "PUT payment-methods/default/": 404,
    "POST payment-methods/remove/": 404,
    "PUT payment-methods/automatic-charges/": 400,
    "POST what-if/": 400,
    "POST invoices/<uuid:invoice_id>/pay/": 409,
    "POST invoices/<uuid:invoice_id>/dispute/": 400,
    "POST jobs/<uuid:job_id>/resume/": 409,
    "POST datasets/": 415,
    "DELETE datasets/<uuid:dataset_id>/": 409,
    "DELETE datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/": 409,
    "POST versions/<uuid:version_id>/promote/": 409,
    "POST versions/<uuid:version_id>/approve/": 409,
    "POST versions/<uuid:version_id>/decline/": 409,
}
SHARED = ("dataset", "model", "endpoint", "job")
#: Bodies that are accepted here; a text that is the name of an id stands for it.
MORE: dict[str, dict[str, Any]] = {
    "PATCH organisation/": {"name": "Another name"},
    "PATCH projects/<uuid:project_id>/": {"name": "Another name"},
    "POST groups/<uuid:group_id>/members/": {"user_id": "newcomer"},
    "PUT identity-provider/": {"kind": "oidc", "name": "idp", "issuer": "https://idp.example", "client_id": "y"},
    "POST identity-provider/groups/": {"group_id": "plain", "claim": "another"},
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
    return {
        name: str(ids.get(f"{value}_id", value)) if isinstance(value, str) else value for name, value in body.items()
    }


def world(tenant: Tenant) -> dict[str, UUID]:
    """Return the ids of one of everything, a device, a person without rights, a group without rights, and shares to end."""
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**32)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    ids = one_of_everything(tenant)
    actor = factories.actor_for(tenant)
    with tenant_scope(tenant.id):
        DatasetVersion.objects.update(rows=200, target="t", columns=COLUMNS)
    for kind in SHARED:
        shares.share(actor=actor, kind=kind, object_id=ids[f"{kind}_id"], user_id=ids["holder_id"])
    plain = groups.create_group(actor=actor, name="Plain")
    return ids | {"newcomer_id": factories.make_member(tenant, "viewer").id, "plain_id": plain.id}


def test_every_write_leaves_the_entries_that_the_table_lists_and_a_refused_one_leaves_none() -> None:
    tenant = factories.make_tenant("ours")
    ids, owner = world(tenant), factories.make_member(tenant, "owner")
    client, elsewhere = Client(), Client()
    for browser in (elsewhere, client):
        browser.force_login(owner)
        browser.get("/api/v1/me/")
    event = {"specversion": "1.0", "id": "one", "source": "gateway", "type": "inference.requests", "subject": "a"}
    event |= {"time": now().isoformat(), "data": {"quantity": 3}}
    more = MORE | dict.fromkeys(("POST events", "POST events/"), event)
    ids["session_id"] = next(
        row["id"] for row in client.get("/api/v1/sessions/").json()["results"] if not row["current"]
    )
    with tenant_scope(tenant.id):
        newest = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]
    written, refused = {}, {}
    for route, methods in API.items():
        for method in set(methods) - {"GET"}:
            asked = f"{method} {route}"
            with transaction.atomic():  # each write finds the same world
                answer = call(client, method, path_of("/api/v1/", route, ids), body_of(asked, route, ids, more))
                with tenant_scope(tenant.id):
                    rows = AuditEntry.objects.filter(seq__gt=newest).order_by("seq")
                    entries = tuple(rows.values_list("action", flat=True))
                transaction.set_rollback(True)
            if answer.status_code < 300:
                written[asked] = entries
            else:
                refused[asked] = answer.status_code
                assert entries == (), asked
    assert written == ENTRIES
    assert refused == REFUSED_HERE
