"""The one list of pages, shared by accessibility tests, policy tests and screenshots.

So no screenshot shows an untested page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PageSpec:
    """A page: its name in reports and screenshots, its path, and words that it contains once complete.

    `fill` names the object whose id belongs in the path; a page without one is also checked in the empty tenant.
    `empty` are the words of its empty state.
    """

    name: str
    path: str
    shows: str
    fill: str = ""
    empty: str = ""
    pictured: bool = False

    def url(self, slug: str, ids: Mapping[str, Any]) -> str:
        """Return the path in one tenant; one that starts with a slash belongs to none."""
        return self.path.format(**ids) if self.path.startswith("/") else f"/t/{slug}/{self.path.format(**ids)}"


PAGES = (
    PageSpec("overview", "", "Daily spend by project", empty="Start here", pictured=True),
    PageSpec("jobs", "jobs/", "cancer-final", empty="No job yet", pictured=True),
    PageSpec("idle", "idle/", "No idle job", empty="No idle job"),
    PageSpec("idle-rule", "idle/rule/", "Save rule", empty="Save rule"),
    PageSpec("job-sets", "job-sets/", "No job set yet", empty="No job set yet"),
    PageSpec("job-running", "jobs/{running}/", "Training", fill="running", pictured=True),
    PageSpec("job-succeeded", "jobs/{succeeded}/", "Open cancer", fill="succeeded"),
    PageSpec("job-failed", "jobs/{failed}/", "Last lines of its log", fill="failed"),
    PageSpec("job-queued", "jobs/{queued}/", "Table regressor", fill="queued"),
    PageSpec("job-logs", "jobs/{succeeded}/?tab=logs", "training starts", fill="succeeded"),
    PageSpec("job-attempts", "jobs/{succeeded}/?tab=attempts", "Total", fill="succeeded"),
    PageSpec("job-events", "jobs/{succeeded}/?tab=events", "Job submitted", fill="succeeded"),
    PageSpec(
        "launch",
        "jobs/new/?dataset={dataset_version}",
        "of device time",
        fill="dataset_version",
        empty="No dataset is ready yet",
        pictured=True,
    ),
    PageSpec(
        "batch",
        "jobs/new/batch/?version={version}&dataset={dataset_version}",
        "of device time",
        fill="version",
        empty="No model to predict with",
        pictured=True,
    ),
    PageSpec("job-batch", "jobs/{batch}/", "Cost per 1,000", fill="batch", pictured=True),
    PageSpec("datasets", "datasets/", "breast-cancer", empty="No dataset yet"),
    PageSpec("upload", "datasets/upload/", "Choose a file, or drop it here", empty="Choose a file, or drop it here"),
    PageSpec("dataset", "datasets/{dataset}/", "Predictive power", fill="dataset", pictured=True),
    PageSpec("models", "models/", "Newest version", empty="No model yet"),
    PageSpec("model", "models/{model}/", "Versions", fill="model"),
    PageSpec("model-version", "models/versions/{version}/", "Waiting for approval", fill="version", pictured=True),
    PageSpec("model-compare", "models/compare/?v={version}&v={other_version}", "Metrics on test rows", fill="version"),
    PageSpec("endpoints", "endpoints/", "cancer-screening", empty="No endpoint yet", pictured=True),
    PageSpec("pipelines", "pipelines/", "weekly", empty="No pipeline yet"),
    PageSpec("pipeline-new", "pipelines/new/", "Cap of a run", empty="Cap of a run"),
    PageSpec("pipeline", "pipelines/{pipeline}/", "Runs", fill="pipeline"),
    PageSpec("pipeline-run", "pipelines/runs/{pipeline_run}/", "skipped", fill="pipeline_run", pictured=True),
    PageSpec("schedules", "schedules/", "weekly", empty="No schedule yet"),
    PageSpec("schedule-new", "schedules/new/", "The next times", empty="Nothing to launch yet"),
    PageSpec("schedule", "schedules/{schedule}/", "Times and rules", fill="schedule", pictured=True),
    PageSpec("presets", "presets/", "Saved launches", empty="No preset yet"),
    PageSpec("deploy", "endpoints/new/", "Endpoint name", empty="No version is in production"),
    PageSpec("endpoint", "endpoints/{endpoint}/", "It answers with", fill="endpoint", pictured=True),
    PageSpec("health", "dash/health/", "worst: mean_radius", empty="No endpoint yet", pictured=True),
    PageSpec("spend", "dash/spend/", "All device time held", empty="No usage in this range", pictured=True),
    PageSpec("budgets", "budgets/", "At this pace", empty="No budget: spend is not limited", pictured=True),
    PageSpec("budget", "budgets/{budget}/", "spent of", fill="budget"),
    PageSpec("budget-new", "budgets/new/", "How a budget works", empty="How a budget works"),
    PageSpec("showback", "showback/", "Cost by the contract", empty="No usage in this month"),
    PageSpec("chargeback", "chargeback/", "Share", empty="No usage in this month"),
    PageSpec("shared-costs", "shared-costs/", "Add a rule", empty="Nothing is shared"),
    PageSpec("required-tags", "required-tags/", "Allowed values", empty="Allowed values"),
    PageSpec("cost-exports", "cost-exports/", "Columns of FOCUS", empty="Columns of FOCUS"),
    PageSpec("showback prices", "showback/prices/", "More prices"),
    PageSpec("prices", "prices/", "Ten per cent off", empty="No price list yet", pictured=True),
    PageSpec("wallet", "wallet/", "Automatic top-up", empty="No credit yet"),
    PageSpec("commitments", "commitments/", "No commitment", empty="No commitment"),
    PageSpec("what-if", "commitments/what-if/", "What would be different", empty="What would be different"),
    PageSpec("invoice", "invoice/", "Reconciled", empty="Nothing to bill so far", pictured=True),
    PageSpec("statement", "statement/", "Closing balance", empty="Opening balance"),
    PageSpec("payment-methods", "payment-methods/", "Saved", empty="No payment provider"),
    PageSpec("invoice-line", "invoices/{invoice}/lines/1/", "Jobs and attempts", fill="invoice"),
    PageSpec(
        "invoice-line-serving", "invoices/{invoice}/lines/{serving_line}/", "Batches", fill="invoice", pictured=True
    ),
    PageSpec("audit", "audit/", "Chain verified", empty="Chain verified", pictured=True),
    PageSpec("members", "members/", "Invite someone", empty="No open invitation"),
    PageSpec("access", "access/", "Member of", empty="1 holder"),
    PageSpec("access-withdraw", "access/?withdraw={grant}", "emil@vision.example loses in Research"),
    PageSpec("roles", "access/roles/", "Launcher", empty="No role of your own yet"),
    PageSpec("role", "access/roles/{role}/", "Who holds it", fill="role"),
    PageSpec("role-new", "access/roles/new/", "In every role"),
    PageSpec("groups", "access/groups/", "Vision lab", empty="No group yet"),
    PageSpec("group", "access/groups/{group}/", "Grants", fill="group"),
    PageSpec("service-accounts", "access/service-accounts/", "nightly-scoring", empty="No service account yet"),
    PageSpec("projects", "projects/", "Research", empty="Default"),
    PageSpec("project", "projects/{project}/", "Roles in this project", fill="project"),
    PageSpec("quotas", "quotas/", "Changed by", empty="No limit is set"),
    PageSpec("budget-request", "budgets/{budget}/request/", "Send request", fill="budget"),
    PageSpec("approvals", "approvals/", "Requests", empty="Nothing waits"),
    PageSpec("quota-simulation", "quotas/simulation/?device_class=cpu&limit=1", "as changed"),
    PageSpec("quota-edit", "quotas/?edit=devices:cpu", "Cancel"),
    PageSpec("api-keys", "api-keys/", "ci-nightly", empty="No API key yet"),
    PageSpec("identity-provider", "identity-provider/", "labs.riverside.example", empty="No domain"),
    PageSpec("webhooks", "webhooks/", "pager", empty="No webhook yet"),
    PageSpec("webhook", "webhooks/{webhook}/", "Deliveries of the last 30 days", fill="webhook"),
    PageSpec("export", "exports/", "No export yet", empty="No export yet"),
    PageSpec("notifications", "notifications/", "Mark all as read", empty="No notification yet"),
    PageSpec("notification-choices", "notifications/choices/", "In the bell", empty="In the bell"),
    PageSpec("settings", "settings/", "Save organisation", empty="Save organisation"),
)
CONSOLE_PAGES = (
    PageSpec("console-home", "/", "Needs attention"),
    PageSpec("console-tenants", "/tenants/", "Refreshed"),
    PageSpec("console-tenant", "/tenants/{vision}/", "What operators did", fill="vision"),
    PageSpec("console-tenant-new", "/tenants/new/", "Create and invite"),
    PageSpec("console-look-new", "/tenants/{vision}/look-inside/", "Ask to look inside", fill="vision"),
    PageSpec("console-looks", "/looks/", "Nobody has looked inside"),
    PageSpec("console-approvals", "/approvals/", "Nothing waits"),
    PageSpec("console-keys", "/keys/", "Create key"),
    PageSpec("console-books", "/price-books/", "for new organisations"),
    PageSpec("console-book-new", "/price-books/new/", "Create price book"),
    PageSpec("console-book", "/price-books/{book}/", "Organisations under this book", fill="book"),
    PageSpec("console-publish", "/price-books/{book}/versions/new/", "Preview what changes", fill="book"),
    PageSpec("console-exchange-rates", "/price-books/exchange-rates/", "Enter rate"),
    PageSpec("console-contracts", "/contracts/", "Days to pay"),
    PageSpec("console-contract", "/contracts/{vision}/", "Agree on this contract", fill="vision"),
    PageSpec("console-wallet", "/wallets/{vision}/", "Grant credit", fill="vision"),
    PageSpec("console-what-if", "/contracts/{vision}/what-if/", "What would be different", fill="vision"),
    PageSpec("console-invoices", "/invoices/", "No number yet"),
    PageSpec("console-invoices-empty", "/invoices/?status=void", "Nothing matches"),
    PageSpec("console-invoice", "/invoices/{invoice}/", "What happened", fill="invoice"),
    PageSpec("console-credit-note", "/invoices/{invoice}/credit-notes/new/", "Nothing to credit", fill="invoice"),
    PageSpec("console-month", "/invoices/months/2026-11/", "Run the month"),
    PageSpec("console-tax-rates", "/invoices/tax-rates/", "Enter rate"),
    PageSpec("console-statement", "/invoices/statements/{vision}/", "Closing balance", fill="vision"),
    PageSpec("console-reconciliation", "/invoices/reconciliation/", "All figures agree"),
    PageSpec("console-overdue", "/invoices/overdue/", "Nothing is overdue"),
    PageSpec("console-disputes", "/disputes/", "No dispute"),
    PageSpec("console-seller", "/invoices/seller/", "Save seller"),
    PageSpec("console-fleet", "/fleet/", "Hosts alive"),
    PageSpec("console-cluster", "/fleet/bill/", "Enter cost"),
    PageSpec("console-idle", "/fleet/idle/", "Set rule"),
    PageSpec("console-operators", "/operators/", "platform_finance"),
    PageSpec("console-webhooks", "/webhooks/", "Create webhook"),
    PageSpec(
        "console-webhook", "/webhooks/{platform_webhook}/", "Deliveries of the last 30 days", fill="platform_webhook"
    ),
    PageSpec("console-emails", "/notifications/", "By email"),
    PageSpec("console-log", "/log/", "Device cordoned"),
    PageSpec("console-mail", "/mail/", "Mail"),
)
THEMES = ("light", "dark")
