"""Every route x method x caller x owner of the object (trust T5, T6, T9). A route missing from the table fails."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from tenants.access.permissions import ROLES
from tenants.models import Tenant
from tests.api.objects import missing, one_of_everything
from tests.architecture.test_edges import METHODS, STRANGERS, routes
from tests.support import factories

pytestmark = pytest.mark.django_db

EVERYONE = frozenset(ROLES)
LAUNCH = frozenset({"owner", "admin", "engineer"})
MONEY = frozenset({"owner", "admin", "finance"})
ADMINS = frozenset({"owner", "admin"})
ASKS = frozenset({"owner", "admin", "engineer", "finance"})
READS_MONEY = MONEY | {"auditor"}
READS_KEYS = ADMINS | {"auditor"}
OWNER = frozenset({"owner"})

#: Who may call what. Written by hand: this is the specification, the code is under test.
API: dict[str, dict[str, frozenset[str]]] = {
    "me/": {"GET": EVERYONE},
    "organisation/": {"GET": EVERYONE, "PATCH": frozenset({"owner"})},
    "exports/organisation/": {"GET": OWNER, "POST": OWNER},
    "exports/organisation/<uuid:export_id>/file/": {"GET": OWNER},
    "members/": {"GET": EVERYONE, "POST": ADMINS},
    "members/<uuid:user_id>/": {"PATCH": ADMINS, "DELETE": ADMINS},
    "members/<uuid:user_id>/departure/": {"GET": ADMINS},
    "members/<uuid:user_id>/adopt/": {"POST": frozenset({"owner"})},
    "invitations/": {"GET": ADMINS, "POST": ADMINS},
    "invitations/<uuid:invitation_id>/": {"DELETE": ADMINS},
    "projects/": {"GET": EVERYONE, "POST": ADMINS},
    "projects/<uuid:project_id>/": {"GET": EVERYONE, "PATCH": ADMINS},
    "api-keys/": {"GET": READS_KEYS, "POST": ADMINS},
    "api-keys/<uuid:key_id>/": {"DELETE": ADMINS},
    "api-keys/<uuid:key_id>/rotate/": {"POST": ADMINS},
    "quotas/": {"GET": EVERYONE, "PUT": ADMINS},
    "quotas/requests/": {"POST": ASKS},
    "quotas/simulation/": {"GET": ADMINS},
    "approvals/": {"GET": EVERYONE},
    "approvals/<uuid:approval_id>/approve/": {"POST": MONEY},
    "approvals/<uuid:approval_id>/decline/": {"POST": MONEY},
    "budgets/<uuid:budget_id>/requests/": {"POST": ASKS},
    "roles/": {"GET": EVERYONE, "POST": ADMINS},
    "roles/<uuid:role_id>/": {"PATCH": ADMINS, "DELETE": ADMINS},
    "groups/": {"GET": EVERYONE, "POST": ADMINS},
    "groups/<uuid:group_id>/": {"DELETE": ADMINS},
    "groups/<uuid:group_id>/members/": {"POST": ADMINS},
    "groups/<uuid:group_id>/members/<uuid:user_id>/": {"DELETE": ADMINS},
    "service-accounts/": {"GET": READS_KEYS, "POST": ADMINS},
    "service-accounts/<uuid:account_id>/": {"DELETE": ADMINS},
    "grants/": {"GET": EVERYONE, "POST": ADMINS},
    "grants/<uuid:grant_id>/": {"DELETE": ADMINS},
    "access/": {"GET": EVERYONE},
    "webhooks/": {"GET": ADMINS, "POST": ADMINS},
    "webhooks/types/": {"GET": ADMINS},
    "webhooks/<uuid:webhook_id>/": {"GET": ADMINS, "PATCH": ADMINS, "DELETE": ADMINS},
    "webhooks/<uuid:webhook_id>/address/": {"POST": ADMINS},
    "webhooks/<uuid:webhook_id>/secret/": {"POST": ADMINS},
    "webhooks/<uuid:webhook_id>/test/": {"POST": ADMINS},
    "webhooks/<uuid:webhook_id>/deliveries/": {"GET": ADMINS},
    "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": {"POST": ADMINS},
    "access/requests/": {"POST": EVERYONE},
    "identity-provider/": {"GET": READS_KEYS, "PUT": OWNER, "DELETE": OWNER},
    "identity-provider/required/": {"PUT": OWNER},
    "identity-provider/leavers/": {"PUT": OWNER},
    "identity-provider/domains/": {"GET": READS_KEYS, "POST": OWNER},
    "identity-provider/domains/<uuid:domain_id>/": {"DELETE": OWNER},
    "identity-provider/domains/<uuid:domain_id>/verify/": {"POST": OWNER},
    "identity-provider/scim-tokens/": {"GET": READS_KEYS, "POST": OWNER},
    "identity-provider/scim-tokens/<uuid:token_id>/": {"DELETE": OWNER},
    "identity-provider/groups/": {"GET": READS_KEYS, "POST": OWNER},
    "identity-provider/groups/<uuid:mapping_id>/": {"DELETE": OWNER},
    "identity-provider/people/": {"GET": READS_KEYS},
    "identity-provider/people/<uuid:identity_id>/": {"DELETE": OWNER},
    "notifications/choices/": {"GET": EVERYONE, "PUT": EVERYONE},
    "sessions/": {"GET": EVERYONE, "DELETE": EVERYONE},
    "sessions/<str:session_id>/": {"DELETE": EVERYONE},
    "audit/": {"GET": READS_MONEY},
    "audit/verify/": {"GET": READS_MONEY},
    "audit/keys/": {"GET": READS_MONEY},
    "audit/export/": {"GET": READS_MONEY},
    "events": {"POST": LAUNCH},
    "events/": {"POST": LAUNCH},
    "meters/": {"GET": EVERYONE, "POST": MONEY},
    "meters/<uuid:meter_id>/": {"PATCH": MONEY},
    "usage/": {"GET": EVERYONE},
    "usage/batches/": {"GET": READS_MONEY},
    "usage/batches/<uuid:batch_id>/": {"GET": READS_MONEY},
    "usage/batches/<uuid:batch_id>/void/": {"POST": MONEY},
    "usage/void/": {"POST": MONEY},
    "usage/held/": {"GET": READS_MONEY},
    "usage/held/decide/": {"POST": MONEY},
    "usage/limits/": {"GET": READS_MONEY, "PUT": MONEY},
    "spend/": {"GET": EVERYONE},
    "price-books/": {"GET": READS_MONEY},
    "contract/": {"GET": READS_MONEY},
    "showback/": {"GET": READS_MONEY},
    "showback/prices/": {"GET": READS_MONEY, "PUT": MONEY},
    # Operators publish prices; the response says so to everybody.
    "price-books/<uuid:book_id>/versions/": {"POST": frozenset()},
    "budgets/": {"GET": EVERYONE, "POST": MONEY},
    "budgets/<uuid:budget_id>/": {"GET": EVERYONE, "PATCH": MONEY, "DELETE": MONEY},
    "budgets/<uuid:budget_id>/alerts/": {"GET": EVERYONE},
    "chargeback/": {"GET": READS_MONEY},
    "chargeback/shared/": {"GET": READS_MONEY},
    "chargeback/shared/rules/": {"GET": READS_MONEY, "PUT": MONEY},
    "tags/required/": {"GET": EVERYONE, "PUT": MONEY},
    "exports/focus/": {"GET": READS_MONEY},
    "holds/": {"GET": LAUNCH, "POST": LAUNCH},
    "holds/<uuid:hold_id>/": {"GET": LAUNCH},
    "holds/<uuid:hold_id>/extend/": {"POST": LAUNCH},
    "holds/<uuid:hold_id>/release/": {"POST": LAUNCH},
    "wallet/": {"GET": READS_MONEY},
    "wallet/movements/": {"GET": READS_MONEY},
    "wallet/top-ups/": {"GET": READS_MONEY, "POST": MONEY},
    "wallet/automatic-top-up/": {"PUT": MONEY, "DELETE": MONEY},
    "commitments/": {"GET": READS_MONEY},
    "payment-methods/": {"GET": READS_MONEY, "POST": MONEY},
    "payment-methods/default/": {"PUT": MONEY},
    "payment-methods/remove/": {"POST": MONEY},
    "payment-methods/automatic-charges/": {"PUT": MONEY, "DELETE": MONEY},
    "statement/": {"GET": READS_MONEY},
    "statement/pdf/": {"GET": READS_MONEY},
    "what-if/": {"POST": READS_MONEY},
    "invoices/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/credit-notes/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/credit-notes/<uuid:note_id>/pdf/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/pdf/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/csv/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/pay/": {"POST": MONEY},
    "invoices/<uuid:invoice_id>/payments/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/dispute/": {"POST": MONEY},
    "disputes/": {"GET": READS_MONEY},
    "disputes/<uuid:dispute_id>/": {"GET": READS_MONEY},
    "disputes/<uuid:dispute_id>/messages/": {"POST": MONEY},
    "disputes/<uuid:dispute_id>/withdraw/": {"POST": MONEY},
    "invoices/<uuid:invoice_id>/lines/": {"GET": READS_MONEY},
    "invoices/<uuid:invoice_id>/lines/<int:n>/explain/": {"GET": READS_MONEY},
    "quotes/": {"POST": LAUNCH},
    "jobs/": {"GET": EVERYONE, "POST": LAUNCH},
    "job-sets/": {"GET": EVERYONE, "POST": LAUNCH},
    "job-sets/<uuid:job_set_id>/": {"GET": EVERYONE},
    "job-sets/<uuid:job_set_id>/jobs/": {"GET": EVERYONE},
    "job-sets/<uuid:job_set_id>/cancel/": {"POST": LAUNCH},
    "job-sets/<uuid:job_set_id>/retry-failed/": {"POST": LAUNCH},
    "jobs/<uuid:job_id>/": {"GET": EVERYONE},
    "jobs/<uuid:job_id>/cancel/": {"POST": LAUNCH},
    "jobs/<uuid:job_id>/pause/": {"POST": LAUNCH},
    "jobs/<uuid:job_id>/use/": {"GET": EVERYONE},
    "jobs/<uuid:job_id>/snooze/": {"POST": LAUNCH},
    "jobs/<uuid:job_id>/resume/": {"POST": LAUNCH},
    "jobs/<uuid:job_id>/clone/": {"POST": LAUNCH},
    "jobs/<uuid:job_id>/logs/": {"GET": EVERYONE},
    "jobs/<uuid:job_id>/metrics/": {"GET": EVERYONE},
    "jobs/<uuid:job_id>/result/": {"GET": EVERYONE},
    "jobs/<uuid:job_id>/result/<slug:form>/": {"GET": EVERYONE},
    "idle/": {"GET": EVERYONE},
    "idle/rule/": {"GET": EVERYONE, "PUT": ADMINS, "DELETE": ADMINS},
    "devices/": {"GET": EVERYONE},
    "utilisation/": {"GET": EVERYONE},
    "datasets/": {"GET": EVERYONE, "POST": LAUNCH},
    "datasets/<uuid:dataset_id>/": {"GET": EVERYONE, "PATCH": LAUNCH, "DELETE": LAUNCH},
    "datasets/<uuid:dataset_id>/shares/": {"GET": LAUNCH, "POST": LAUNCH},
    "datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/": {"GET": EVERYONE, "DELETE": LAUNCH},
    "datasets/<uuid:dataset_id>/shares/<uuid:holder_id>/": {"DELETE": LAUNCH},
    "models/<uuid:model_id>/shares/": {"GET": LAUNCH, "POST": LAUNCH},
    "models/<uuid:model_id>/shares/<uuid:holder_id>/": {"DELETE": LAUNCH},
    "endpoints/<uuid:endpoint_id>/shares/": {"GET": LAUNCH, "POST": LAUNCH},
    "endpoints/<uuid:endpoint_id>/shares/<uuid:holder_id>/": {"DELETE": LAUNCH},
    "jobs/<uuid:job_id>/shares/": {"GET": LAUNCH, "POST": LAUNCH},
    "jobs/<uuid:job_id>/shares/<uuid:holder_id>/": {"DELETE": LAUNCH},
    "datasets/<uuid:dataset_id>/profile/": {"GET": EVERYONE},
    "datasets/<uuid:dataset_id>/hangs/": {"GET": EVERYONE},
    "datasets/<uuid:dataset_id>/columns/": {"GET": EVERYONE, "PATCH": LAUNCH},
    "recipes/": {"GET": EVERYONE},
    "models/": {"GET": EVERYONE},
    "models/<uuid:model_id>/versions/": {"GET": EVERYONE},
    "endpoints/": {"GET": EVERYONE, "POST": LAUNCH},
    "endpoints/<uuid:endpoint_id>/": {"GET": EVERYONE, "DELETE": LAUNCH},
    "endpoints/<uuid:endpoint_id>/keys/": {"GET": EVERYONE, "POST": LAUNCH},
    "endpoints/<uuid:endpoint_id>/keys/<uuid:endpoint_key_id>/": {"DELETE": LAUNCH},
    "endpoints/<uuid:endpoint_id>/traffic/": {"GET": EVERYONE},
    "endpoints/<uuid:endpoint_id>/health/": {"GET": EVERYONE},
    "endpoints/<uuid:endpoint_id>/feedback/": {"POST": LAUNCH},
    "versions/<uuid:version_id>/lineage/": {"GET": EVERYONE},
    "versions/<uuid:version_id>/download/": {"GET": EVERYONE},
    "versions/<uuid:version_id>/weights/": {"GET": EVERYONE},
    "versions/<uuid:version_id>/promote/": {"POST": LAUNCH},
    "versions/<uuid:version_id>/approve/": {"POST": ADMINS},
    "versions/<uuid:version_id>/decline/": {"POST": ADMINS},
    "pipelines/": {"GET": EVERYONE, "POST": LAUNCH},
    "pipelines/<uuid:pipeline_id>/": {"GET": EVERYONE, "PATCH": LAUNCH, "DELETE": LAUNCH},
    "pipelines/<uuid:pipeline_id>/runs/": {"GET": EVERYONE, "POST": LAUNCH},
    "pipeline-runs/": {"GET": EVERYONE},
    "pipeline-runs/<uuid:run_id>/": {"GET": EVERYONE},
    "pipeline-runs/<uuid:run_id>/cancel/": {"POST": LAUNCH},
    "pipeline-runs/<uuid:run_id>/retry/": {"POST": LAUNCH},
    "presets/": {"GET": EVERYONE, "POST": LAUNCH},
    "presets/<uuid:preset_id>/": {"GET": EVERYONE, "PATCH": LAUNCH, "DELETE": LAUNCH},
    "presets/<uuid:preset_id>/launch/": {"POST": LAUNCH},
    "schedules/": {"GET": EVERYONE, "POST": LAUNCH},
    "schedules/<uuid:schedule_id>/": {"GET": EVERYONE, "PATCH": LAUNCH, "DELETE": LAUNCH},
    "schedules/<uuid:schedule_id>/pause/": {"POST": LAUNCH},
    "schedules/<uuid:schedule_id>/resume/": {"POST": LAUNCH},
    "schedules/<uuid:schedule_id>/run/": {"POST": LAUNCH},
    "schedules/<uuid:schedule_id>/runs/": {"GET": EVERYONE},
}
#: Tenant pages: the roles that see them. Each supports GET or POST; the other is 405.
PAGES: dict[str, frozenset[str]] = {
    "": EVERYONE,
    "find/": EVERYONE,
    "audit/": READS_MONEY,
    "audit/review/": READS_KEYS,
    "audit/verified/": READS_MONEY,
    "audit/export/": READS_MONEY,
    "settings/": EVERYONE,
    "settings/sign-out/": EVERYONE,
    "settings/organisation/": OWNER,
    "exports/": OWNER,
    "exports/order/": OWNER,
    "exports/<uuid:export_id>/file/": OWNER,
    "identity-provider/": READS_KEYS,
    "identity-provider/save/": OWNER,
    "identity-provider/remove/": OWNER,
    "identity-provider/require/": OWNER,
    "identity-provider/leavers/": OWNER,
    "identity-provider/test/": OWNER,
    "identity-provider/domains/": OWNER,
    "identity-provider/domains/<uuid:domain_id>/verify/": OWNER,
    "identity-provider/domains/<uuid:domain_id>/remove/": OWNER,
    "identity-provider/tokens/": OWNER,
    "identity-provider/tokens/<uuid:token_id>/revoke/": OWNER,
    "identity-provider/groups/": OWNER,
    "identity-provider/groups/<uuid:mapping_id>/unmap/": OWNER,
    "identity-provider/people/<uuid:identity_id>/unlink/": OWNER,
    "members/": EVERYONE,
    "members/invite/": ADMINS,
    "members/<uuid:user_id>/role/": ADMINS,
    "members/<uuid:user_id>/remove/": ADMINS,
    "members/invitations/<uuid:invitation_id>/revoke/": ADMINS,
    "webhooks/": ADMINS,
    "webhooks/new/": ADMINS,
    "webhooks/<uuid:webhook_id>/": ADMINS,
    "webhooks/<uuid:webhook_id>/change/": ADMINS,
    "webhooks/<uuid:webhook_id>/address/": ADMINS,
    "webhooks/<uuid:webhook_id>/secret/": ADMINS,
    "webhooks/<uuid:webhook_id>/test/": ADMINS,
    "webhooks/<uuid:webhook_id>/delete/": ADMINS,
    "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/": ADMINS,
    "access/": EVERYONE,
    "access/grants/new/": ADMINS,
    "access/grants/<uuid:grant_id>/withdraw/": ADMINS,
    "access/roles/": EVERYONE,
    "access/roles/new/": ADMINS,
    "access/roles/<uuid:role_id>/": ADMINS,
    "access/roles/<uuid:role_id>/delete/": ADMINS,
    "access/groups/": EVERYONE,
    "access/groups/new/": ADMINS,
    "access/groups/<uuid:group_id>/": EVERYONE,
    "access/groups/<uuid:group_id>/people/": ADMINS,
    "access/groups/<uuid:group_id>/people/<uuid:user_id>/remove/": ADMINS,
    "access/groups/<uuid:group_id>/delete/": ADMINS,
    "access/service-accounts/": READS_KEYS,
    "access/service-accounts/new/": ADMINS,
    "access/service-accounts/<uuid:account_id>/disable/": ADMINS,
    "projects/": EVERYONE,
    "projects/new/": ADMINS,
    "projects/<uuid:project_id>/": EVERYONE,
    "projects/<uuid:project_id>/change/": ADMINS,
    "projects/<uuid:project_id>/archive/": ADMINS,
    "quotas/": EVERYONE,
    "quotas/change/": ADMINS,
    "quotas/simulation/": ADMINS,
    "approvals/": EVERYONE,
    "approvals/quota/": ASKS,
    "approvals/access/": EVERYONE,
    "approvals/<uuid:approval_id>/answer/": MONEY,
    "api-keys/": READS_KEYS,
    "api-keys/new/": ADMINS,
    "api-keys/<uuid:key_id>/revoke/": ADMINS,
    "api-keys/<uuid:key_id>/rotate/": ADMINS,
    "notifications/": EVERYONE,
    "notifications/choices/": EVERYONE,
    "notifications/read/": EVERYONE,
    "notifications/<uuid:notification_id>/": EVERYONE,
    "budgets/": EVERYONE,
    "budgets/new/": MONEY,
    "budgets/<uuid:budget_id>/": MONEY,
    "budgets/<uuid:budget_id>/request/": ASKS,
    "budgets/<uuid:budget_id>/close/": MONEY,
    "reported/": READS_MONEY,
    "reported/decide/": MONEY,
    "reported/limits/": MONEY,
    "reported/meters/": MONEY,
    "reported/<uuid:batch_id>/": READS_MONEY,
    "reported/<uuid:batch_id>/void/": MONEY,
    "statement/": READS_MONEY,
    "statement/statement.pdf": READS_MONEY,
    "payment-methods/": READS_MONEY,
    "payment-methods/change/": MONEY,
    "prices/": READS_MONEY,
    "showback/": READS_MONEY,
    "showback/prices/": MONEY,
    "chargeback/": READS_MONEY,
    "required-tags/": MONEY,
    "shared-costs/": MONEY,
    "cost-exports/": READS_MONEY,
    "cost-exports/file/": READS_MONEY,
    "wallet/": READS_MONEY,
    "wallet/top-up/": MONEY,
    "wallet/automatic/": MONEY,
    "commitments/": READS_MONEY,
    "commitments/what-if/": READS_MONEY,
    "invoice/": READS_MONEY,
    "invoices/<uuid:invoice_id>/": READS_MONEY,
    "invoices/<uuid:invoice_id>/invoice.pdf": READS_MONEY,
    "invoices/<uuid:invoice_id>/dispute/": MONEY,
    "disputes/<uuid:dispute_id>/": READS_MONEY,
    "disputes/<uuid:dispute_id>/withdraw/": MONEY,
    "invoices/<uuid:invoice_id>/credit-notes/<uuid:note_id>.pdf": READS_MONEY,
    "invoices/<uuid:invoice_id>/lines/<int:n>/": READS_MONEY,
    "invoices/reconciled/": READS_MONEY,
    "jobs/": EVERYONE,
    "job-sets/": EVERYONE,
    "job-sets/<uuid:job_set_id>/": EVERYONE,
    "job-sets/<uuid:job_set_id>/cancel/": LAUNCH,
    "job-sets/<uuid:job_set_id>/retry-failed/": LAUNCH,
    "jobs/<uuid:job_id>/": EVERYONE,
    "jobs/<uuid:job_id>/row/": EVERYONE,
    "jobs/<uuid:job_id>/live/": EVERYONE,
    "jobs/<uuid:job_id>/logs/": EVERYONE,
    "jobs/<uuid:job_id>/logs.txt": EVERYONE,
    "jobs/<uuid:job_id>/cancel/": LAUNCH,
    "jobs/<uuid:job_id>/pause/": LAUNCH,
    "jobs/<uuid:job_id>/snooze/": LAUNCH,
    "jobs/<uuid:job_id>/resume/": LAUNCH,
    "idle/": EVERYONE,
    "idle/rule/": ADMINS,
    "jobs/new/": LAUNCH,
    "jobs/new/quote/": LAUNCH,
    "jobs/new/parameters/": LAUNCH,
    "jobs/new/batch/": LAUNCH,
    "jobs/new/batch/quote/": LAUNCH,
    "jobs/<uuid:job_id>/result/": EVERYONE,
    "datasets/": EVERYONE,
    "datasets/upload/": LAUNCH,
    "datasets/<uuid:dataset_id>/": EVERYONE,
    "datasets/<uuid:dataset_id>/remove/": LAUNCH,
    "datasets/<uuid:dataset_id>/remove-all/": LAUNCH,
    "datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/remove/": LAUNCH,
    "datasets/<uuid:dataset_id>/versions/<uuid:data_version_id>/columns/": LAUNCH,
    "datasets/<uuid:dataset_id>/restrict/": LAUNCH,
    "datasets/<uuid:dataset_id>/move/": LAUNCH,
    # Who may share an object depends on its kind: nobody else reaches more than a 403.
    "shares/<slug:kind>/<uuid:object_id>/": EVERYONE,
    "shares/<slug:kind>/<uuid:object_id>/<uuid:holder_id>/end/": EVERYONE,
    "datasets/<uuid:dataset_id>/row/": EVERYONE,
    "datasets/<uuid:dataset_id>/status/": EVERYONE,
    "endpoints/": EVERYONE,
    "endpoints/new/": LAUNCH,
    "endpoints/<uuid:endpoint_id>/": EVERYONE,
    "endpoints/<uuid:endpoint_id>/live/": EVERYONE,
    "endpoints/<uuid:endpoint_id>/traffic/": EVERYONE,
    "endpoints/<uuid:endpoint_id>/try/": LAUNCH,
    "endpoints/<uuid:endpoint_id>/undeploy/": LAUNCH,
    "endpoints/<uuid:endpoint_id>/keys/": LAUNCH,
    "endpoints/<uuid:endpoint_id>/keys/<uuid:endpoint_key_id>/revoke/": LAUNCH,
    "models/": EVERYONE,
    "models/compare/": EVERYONE,
    "models/<uuid:model_id>/": EVERYONE,
    "models/versions/<uuid:version_id>/": EVERYONE,
    "models/versions/<uuid:version_id>/weights/": EVERYONE,
    "models/versions/<uuid:version_id>/promote/": LAUNCH,
    "models/versions/<uuid:version_id>/approve/": ADMINS,
    "models/versions/<uuid:version_id>/decline/": ADMINS,
    "pipelines/": EVERYONE,
    "pipelines/new/": LAUNCH,
    "pipelines/<uuid:pipeline_id>/": EVERYONE,
    "pipelines/<uuid:pipeline_id>/change/": LAUNCH,
    "pipelines/<uuid:pipeline_id>/launch/": LAUNCH,
    "pipelines/<uuid:pipeline_id>/remove/": LAUNCH,
    "pipelines/runs/<uuid:run_id>/": EVERYONE,
    "pipelines/runs/<uuid:run_id>/live/": EVERYONE,
    "pipelines/runs/<uuid:run_id>/cancel/": LAUNCH,
    "pipelines/runs/<uuid:run_id>/retry/": LAUNCH,
    "presets/": EVERYONE,
    "presets/<uuid:preset_id>/": LAUNCH,
    "presets/<uuid:preset_id>/remove/": LAUNCH,
    "schedules/": EVERYONE,
    "schedules/new/": LAUNCH,
    "schedules/preview/": LAUNCH,
    "schedules/<uuid:schedule_id>/": EVERYONE,
    **{f"schedules/<uuid:schedule_id>/{act}/": LAUNCH for act in ("change", "pause", "resume", "run", "remove")},
    "dash/<slug:slug>/": EVERYONE,
    "dash/<slug:slug>/<path:path>": EVERYONE,
    "spend/export/<slug:table>.csv": EVERYONE,
    "health/export/<slug:table>.csv": EVERYONE,
}
FILLED = {
    "kind": "dataset",
    "session_id": "0" * 32,
    "n": "1",
    "slug": "spend",
    "path": "_dash-layout",
    "table": "jobs",
    "form": "csv",
}
#: Valid bodies, so that a response depends on the object and not on the body.
BODIES: dict[str, dict[str, Any]] = {
    "members/<uuid:user_id>/": {"role": "viewer"},
    "groups/<uuid:group_id>/members/": {"user_id": "00000000-0000-0000-0000-000000000000"},
    "roles/<uuid:role_id>/": {"description": "another one"},
    "budgets/<uuid:budget_id>/": {"amount": "10"},
    "budgets/<uuid:budget_id>/requests/": {"amount": "5000", "reason": "a larger model"},
    "holds/<uuid:hold_id>/extend/": {"quantity": "5"},
    "meters/<uuid:meter_id>/": {"aggregation": "latest"},
    "invoices/<uuid:invoice_id>/dispute/": {
        "line": "00000000-0000-0000-0000-000000000000",
        "reason": "twice the hours",
    },
    "disputes/<uuid:dispute_id>/messages/": {"text": "please look again"},
    "usage/batches/<uuid:batch_id>/void/": {"reason": "a reason"},
    "datasets/<uuid:dataset_id>/": {"restricted": True},
    "datasets/<uuid:dataset_id>/columns/": {"columns": {"a": {"type": "text"}}},
    "endpoints/<uuid:endpoint_id>/keys/": {"name": "a key"},
    "endpoints/<uuid:endpoint_id>/feedback/": {"items": [{"prediction_id": "x", "label": "y"}]},
    "jobs/<uuid:job_id>/snooze/": {"hours": 2, "reason": "a debugger is open"},
    "versions/<uuid:version_id>/promote/": {"stage": "staging"},
    "pipelines/<uuid:pipeline_id>/": {"name": "another name"},
    "presets/<uuid:preset_id>/": {"name": "another name"},
    "schedules/<uuid:schedule_id>/": {"name": "another name"},
    **{
        f"{kind}s/<uuid:{kind}_id>/shares/": {"user": "00000000-0000-0000-0000-000000000000"}
        for kind in ("dataset", "model", "endpoint", "job")
    },
}
#: Routes that use S3 return 503 here, where no store runs: access was granted.
REFUSED = {401, 403}


def found_routes(prefix: str) -> Iterator[tuple[str, Any]]:
    for route, pattern in routes():
        if route.startswith(prefix):
            yield route.removeprefix(prefix), pattern


def path_of(prefix: str, route: str, ids: dict[str, UUID]) -> str:
    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        return str(ids[name]) if name in ids else FILLED[name]

    return prefix + re.sub(r"<\w+:(\w+)>", fill, route)


def client_for(tenant: Tenant, role: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(factories.make_member(tenant, role))
    client.get("/api/v1/me/")
    return client


def call(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    return client.generic(
        method, path, json.dumps(body or {}) if method != "GET" else b"", content_type="application/json"
    )


def has_ids(route: str) -> bool:
    return "<uuid:" in route


def plain(response: Any) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body without the request's id, its nonce and its tokens."""

    def scrubbed(text: str) -> str:
        text = text.replace(response.headers.get("X-Request-Id", "-"), "")
        text = re.sub(r'csrf\w*"?[:=] ?"[^"]+"|value="\w{64}"', "", text, flags=re.IGNORECASE)
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", re.sub(r'nonce(=|-)"?[\w+/=-]+', "", text))

    body = scrubbed(response.content.decode(errors="replace"))
    headers = {name: scrubbed(value) for name, value in response.headers.items()} | {"Content-Length": str(len(body))}
    return response.status_code, headers | {"Set-Cookie": " ".join(sorted(response.cookies))}, body


def test_the_tables_name_every_route_and_nothing_else() -> None:
    found = {
        route: {method.upper() for method in METHODS if hasattr(pattern.callback.cls, method)}
        for route, pattern in found_routes("api/v1/")
    }
    assert {route: set(methods) for route, methods in API.items()} == found
    own = {route for route, pattern in found_routes("t/<slug:tenant>/") if pattern.name not in STRANGERS}
    assert own == set(PAGES)


def test_anonymous_requests_are_turned_away_everywhere() -> None:
    tenant, ids = factories.make_tenant(), missing()
    client = Client()
    for route, methods in API.items():
        for method in methods:
            assert call(client, method, path_of("/api/v1/", route, ids)).status_code == 401, (route, method)
    for route in PAGES:
        answer = client.get(path_of(f"/t/{tenant.slug}/", route, ids))
        assert answer.status_code == 302, route
        assert answer["Location"].startswith("/accounts/login/"), route


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_exactly_what_the_table_says(role: str) -> None:
    tenant = factories.make_tenant()
    ids = missing()
    client = client_for(tenant, role)
    faults = []
    for route, methods in API.items():
        for method, roles in methods.items():
            status = call(client, method, path_of("/api/v1/", route, ids)).status_code
            if (status in REFUSED) != (role not in roles) or status in (500, 405):
                faults.append((method, route, status))
    for route, roles in PAGES.items():
        statuses = [
            call(client, method, path_of(f"/t/{tenant.slug}/", route, ids)).status_code for method in ("GET", "POST")
        ]
        if role in roles and (all(status in (*REFUSED, 405) for status in statuses) or 500 in statuses):
            faults.append(("page", route, statuses))
        if role not in roles and not all(status in (403, 405) for status in statuses):
            faults.append(("page", route, statuses))
    assert faults == []


def test_a_foreign_object_is_answered_exactly_like_a_missing_one() -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    own, foreign, nowhere = one_of_everything(ours), one_of_everything(theirs), missing()
    client = client_for(ours, "owner")
    client.get("/t/ours/")  # from the first page on the session keeps the organisation, with a cookie
    faults, compared, own_reached = [], 0, 0
    calls = [(method, "/api/v1/", route) for route, methods in API.items() for method in methods]
    calls += [(method, "/t/ours/", route) for route in PAGES for method in ("GET", "POST")]
    for method, prefix, route in calls:
        if not has_ids(route):
            continue
        answers = [
            plain(call(client, method, path_of(prefix, route, ids), BODIES.get(route))) for ids in (foreign, nowhere)
        ]
        compared += 1
        closed = (403,) if prefix == "/api/v1/" and not API[route][method] else ()  # to everybody, whatever the id
        if answers[0] != answers[1] or answers[0][0] not in (404, 405, *closed):
            faults.append((method, prefix + route, answers[0][0], answers[1][0]))
        if method == "GET":
            own_reached += call(client, method, path_of(prefix, route, own)).status_code in (200, 302, 503)
    assert faults == []
    assert compared >= 30
    assert own_reached >= 15


def test_every_page_of_another_tenant_is_the_same_404_as_of_no_tenant() -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    foreign = one_of_everything(theirs)
    client = client_for(ours, "owner")
    for route in PAGES:
        answers = [
            plain(client.get(path_of(f"/t/{slug}/", route, foreign)))[:2] for slug in ("theirs", "no-such-tenant")
        ]
        assert answers[0] == answers[1], route
        assert answers[0][0] == 404, route


def test_an_id_of_another_tenant_in_a_body_creates_nothing() -> None:
    ours, theirs = factories.make_tenant("ours"), factories.make_tenant("theirs")
    one_of_everything(ours)
    foreign = one_of_everything(theirs)
    project = factories.default_project_id(theirs)
    client = client_for(ours, "owner")
    order = {
        "name": "x",
        "kind": "train",
        "project": str(project),
        "recipe": "tabular.classifier",
        "dataset": str(foreign["dataset_id"]),
        "params": {},
        "device_class": "cpu",
        "max_seconds": 60,
    }
    for path, body in (
        ("/api/v1/jobs/", order),
        ("/api/v1/jobs/", {**order, "project": "default"}),
        ("/api/v1/quotes/", {**order, "project": "default"}),
        ("/api/v1/budgets/", {"scope": str(project), "amount": "5", "at_limit": "notify"}),
        ("/api/v1/budgets/", {"project": str(project), "amount": "5", "at_limit": "notify"}),
    ):
        status = client.post(path, body, content_type="application/json").status_code
        assert status in (400, 404), (path, body, status)
    for query in (f"jobs/?project={project}", f"spend/?project={project}", f"usage/?project={project}"):
        answer = client.get(f"/api/v1/{query}")
        assert answer.status_code in (200, 400, 404)
        assert str(foreign["job_id"]) not in answer.content.decode()
