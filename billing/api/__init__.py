"""API operations of billing, and all their routes."""

from django.urls import URLPattern, path

from billing.api.account.payment_methods import AutomaticCharges, DefaultMethod, PaymentMethods, RemovedMethod
from billing.api.account.statements import StatementOfAccount, StatementPdf
from billing.api.account.what_if import OwnWhatIf
from billing.api.agreements.commitments import Commitments
from billing.api.agreements.endpoints import DisputeMessages, Disputes, DisputeWithdrawn, OneDispute, OpenDispute
from billing.api.allocation.chargeback import ChargebackEndpoint, RequiredTags
from billing.api.allocation.shared_costs import SharedCosts, SharedMonthEndpoint
from billing.api.billing import (
    ContractOf,
    CreditNotes,
    Explain,
    Invoice,
    Invoices,
    Lines,
    Payments,
    PriceBooks,
    PriceVersions,
    Spend,
    Usage,
)
from billing.api.budgets import Budget, BudgetAlerts, BudgetRequests, Budgets
from billing.api.documents import CreditNotePdf, InvoiceCsv, InvoicePdf
from billing.api.events import Events, Meters, OneMeter
from billing.api.exports import FocusExport
from billing.api.holds import Hold, HoldExtend, HoldRelease, Holds
from billing.api.paying import Pay
from billing.api.reported import (
    HeldUsage,
    HeldUsageDecision,
    UsageBatch,
    UsageBatches,
    UsageBatchVoid,
    UsageLimits,
    UsageVoid,
)
from billing.api.showback import Showback, ShowbackBook
from billing.api.wallet.endpoints import AutomaticTopUp, Movements, TopUps, Wallet

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("events", Events.as_view(schema=None), name="api-events-plain"),
    path("events/", Events.as_view(), name="api-events"),
    path("meters/", Meters.as_view(), name="api-meters"),
    path("meters/<uuid:meter_id>/", OneMeter.as_view(), name="api-meter"),
    path("usage/", Usage.as_view(), name="api-usage"),
    path("usage/batches/", UsageBatches.as_view(), name="api-usage-batches"),
    path("usage/batches/<uuid:batch_id>/", UsageBatch.as_view(), name="api-usage-batch"),
    path("usage/batches/<uuid:batch_id>/void/", UsageBatchVoid.as_view(), name="api-usage-batch-void"),
    path("usage/void/", UsageVoid.as_view(), name="api-usage-void"),
    path("usage/held/", HeldUsage.as_view(), name="api-usage-held"),
    path("usage/held/decide/", HeldUsageDecision.as_view(), name="api-usage-held-decide"),
    path("usage/limits/", UsageLimits.as_view(), name="api-usage-limits"),
    path("spend/", Spend.as_view(), name="api-spend"),
    path("commitments/", Commitments.as_view(), name="api-commitments"),
    path("contract/", ContractOf.as_view(), name="api-contract"),
    path("price-books/", PriceBooks.as_view(), name="api-price-books"),
    path("price-books/<uuid:book_id>/versions/", PriceVersions.as_view(), name="api-price-versions"),
    path("showback/", Showback.as_view(), name="api-showback"),
    path("showback/prices/", ShowbackBook.as_view(), name="api-showback-prices"),
    path("budgets/", Budgets.as_view(), name="api-budgets"),
    path("budgets/<uuid:budget_id>/", Budget.as_view(), name="api-budget"),
    path("budgets/<uuid:budget_id>/requests/", BudgetRequests.as_view(), name="api-budget-requests"),
    path("budgets/<uuid:budget_id>/alerts/", BudgetAlerts.as_view(), name="api-budget-alerts"),
    path("chargeback/", ChargebackEndpoint.as_view(), name="api-chargeback"),
    path("chargeback/shared/", SharedMonthEndpoint.as_view(), name="api-chargeback-shared"),
    path("chargeback/shared/rules/", SharedCosts.as_view(), name="api-shared-costs"),
    path("tags/required/", RequiredTags.as_view(), name="api-required-tags"),
    path("exports/focus/", FocusExport.as_view(), name="api-focus-export"),
    path("holds/", Holds.as_view(), name="api-holds"),
    path("holds/<uuid:hold_id>/", Hold.as_view(), name="api-hold"),
    path("holds/<uuid:hold_id>/extend/", HoldExtend.as_view(), name="api-hold-extend"),
    path("holds/<uuid:hold_id>/release/", HoldRelease.as_view(), name="api-hold-release"),
    path("wallet/", Wallet.as_view(), name="api-wallet"),
    path("wallet/movements/", Movements.as_view(), name="api-wallet-movements"),
    path("wallet/top-ups/", TopUps.as_view(), name="api-wallet-top-ups"),
    path("wallet/automatic-top-up/", AutomaticTopUp.as_view(), name="api-wallet-automatic"),
    path("payment-methods/", PaymentMethods.as_view(), name="api-payment-methods"),
    path("payment-methods/default/", DefaultMethod.as_view(), name="api-payment-method-default"),
    path("payment-methods/remove/", RemovedMethod.as_view(), name="api-payment-method-remove"),
    path("payment-methods/automatic-charges/", AutomaticCharges.as_view(), name="api-automatic-charges"),
    path("statement/", StatementOfAccount.as_view(), name="api-statement"),
    path("statement/pdf/", StatementPdf.as_view(), name="api-statement-pdf"),
    path("what-if/", OwnWhatIf.as_view(), name="api-what-if"),
    path("invoices/", Invoices.as_view(), name="api-invoices"),
    path("invoices/<uuid:invoice_id>/", Invoice.as_view(), name="api-invoice"),
    path("invoices/<uuid:invoice_id>/credit-notes/", CreditNotes.as_view(), name="api-invoice-credit-notes"),
    path(
        "invoices/<uuid:invoice_id>/credit-notes/<uuid:note_id>/pdf/",
        CreditNotePdf.as_view(),
        name="api-credit-note-pdf",
    ),
    path("invoices/<uuid:invoice_id>/pdf/", InvoicePdf.as_view(), name="api-invoice-pdf"),
    path("invoices/<uuid:invoice_id>/csv/", InvoiceCsv.as_view(), name="api-invoice-csv"),
    path("invoices/<uuid:invoice_id>/pay/", Pay.as_view(), name="api-invoice-pay"),
    path("invoices/<uuid:invoice_id>/dispute/", OpenDispute.as_view(), name="api-invoice-dispute"),
    path("disputes/", Disputes.as_view(), name="api-disputes"),
    path("disputes/<uuid:dispute_id>/", OneDispute.as_view(), name="api-dispute"),
    path("disputes/<uuid:dispute_id>/messages/", DisputeMessages.as_view(), name="api-dispute-messages"),
    path("disputes/<uuid:dispute_id>/withdraw/", DisputeWithdrawn.as_view(), name="api-dispute-withdraw"),
    path("invoices/<uuid:invoice_id>/payments/", Payments.as_view(), name="api-invoice-payments"),
    path("invoices/<uuid:invoice_id>/lines/", Lines.as_view(), name="api-invoice-lines"),
    path("invoices/<uuid:invoice_id>/lines/<int:n>/explain/", Explain.as_view(), name="api-invoice-explain"),
]
