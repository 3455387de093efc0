"""The console's API of prices: price books with their versions, and contracts."""

from django.urls import URLPattern, path

from billing.api.console import documents, invoices
from billing.api.console.books import Books, OneBook, Preview, Versions
from billing.api.console.contracts import (
    BillingDetailsChanged,
    Contracts,
    ContractWithdrawn,
    CurrencyPreview,
    TenantContracts,
)
from billing.api.console.deferrals import Deferrals
from billing.api.console.disputes import Comments, DisputeAnswer, DisputeMessages, Disputes, OneDispute
from billing.api.console.exchange import ExchangeRates
from billing.api.console.exports import FocusExport
from billing.api.console.payments import Paid, Reversed
from billing.api.console.periods import OnePeriod, Run
from billing.api.console.reconciliation import Reconciliations
from billing.api.console.seller import Seller
from billing.api.console.taxes import TaxRateEnd, TaxRates
from billing.api.console.wallets import Credits, CreditWithdrawn
from billing.api.console.what_if import WhatIf

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("price-books/", Books.as_view(), name="operator-api-books"),
    path("price-books/<uuid:book_id>/", OneBook.as_view(), name="operator-api-book"),
    path("price-books/<uuid:book_id>/versions/", Versions.as_view(), name="operator-api-versions"),
    path("price-books/<uuid:book_id>/preview/", Preview.as_view(), name="operator-api-preview"),
    path("exports/focus/", FocusExport.as_view(), name="operator-api-focus-export"),
    path("invoices/", invoices.Invoices.as_view(), name="operator-api-invoices"),
    path("invoices/<uuid:invoice_id>/", invoices.OneInvoice.as_view(), name="operator-api-invoice"),
    path("invoices/<uuid:invoice_id>/lines/", invoices.InvoiceLines.as_view(), name="operator-api-invoice-lines"),
    path("invoices/<uuid:invoice_id>/pdf/", documents.InvoicePdf.as_view(), name="operator-api-invoice-pdf"),
    path("invoices/<uuid:invoice_id>/csv/", documents.InvoiceCsv.as_view(), name="operator-api-invoice-csv"),
    path("invoices/<uuid:invoice_id>/review/", invoices.Review.as_view(), name="operator-api-invoice-review"),
    path("invoices/<uuid:invoice_id>/finalise/", invoices.Finalised.as_view(), name="operator-api-invoice-finalise"),
    path("invoices/<uuid:invoice_id>/void/", invoices.Voided.as_view(), name="operator-api-invoice-void"),
    path("invoices/<uuid:invoice_id>/collect/", invoices.Collected.as_view(), name="operator-api-invoice-collect"),
    path("invoices/<uuid:invoice_id>/credit-notes/", invoices.CreditNotes.as_view(), name="operator-api-credit-notes"),
    path(
        "invoices/<uuid:invoice_id>/credit-notes/<uuid:note_id>/pdf/",
        documents.CreditNotePdf.as_view(),
        name="operator-api-credit-note-pdf",
    ),
    path("invoices/<uuid:invoice_id>/send/", invoices.Sent.as_view(), name="operator-api-invoice-send"),
    path("invoices/<uuid:invoice_id>/deferrals/", Deferrals.as_view(), name="operator-api-invoice-deferrals"),
    path("invoices/<uuid:invoice_id>/mark-paid/", Paid.as_view(), name="operator-api-invoice-paid"),
    path(
        "invoices/<uuid:invoice_id>/payments/<uuid:payment_id>/reverse/",
        Reversed.as_view(),
        name="operator-api-payment-reverse",
    ),
    path("invoices/<uuid:invoice_id>/comments/", Comments.as_view(), name="operator-api-invoice-comments"),
    path("disputes/", Disputes.as_view(), name="operator-api-disputes"),
    path("disputes/<uuid:dispute_id>/", OneDispute.as_view(), name="operator-api-dispute"),
    path("disputes/<uuid:dispute_id>/messages/", DisputeMessages.as_view(), name="operator-api-dispute-messages"),
    path("disputes/<uuid:dispute_id>/answer/", DisputeAnswer.as_view(), name="operator-api-dispute-answer"),
    path("periods/<str:period>/", OnePeriod.as_view(), name="operator-api-period"),
    path("periods/<str:period>/run/", Run.as_view(), name="operator-api-period-run"),
    path("reconciliation/", Reconciliations.as_view(), name="operator-api-reconciliation"),
    path("seller/", Seller.as_view(), name="operator-api-seller"),
    path("exchange-rates/", ExchangeRates.as_view(), name="operator-api-exchange-rates"),
    path("tax-rates/", TaxRates.as_view(), name="operator-api-tax-rates"),
    path("tax-rates/<uuid:rate_id>/end/", TaxRateEnd.as_view(), name="operator-api-tax-rate-end"),
    path("tenants/<uuid:tenant_id>/credits/", Credits.as_view(), name="operator-api-credits"),
    path(
        "tenants/<uuid:tenant_id>/credits/<uuid:block_id>/withdraw/",
        CreditWithdrawn.as_view(),
        name="operator-api-credit-withdraw",
    ),
    path("what-if/", WhatIf.as_view(), name="operator-api-what-if"),
    path("contracts/", Contracts.as_view(), name="operator-api-contracts"),
    path("tenants/<uuid:tenant_id>/contracts/", TenantContracts.as_view(), name="operator-api-tenant-contracts"),
    path("tenants/<uuid:tenant_id>/contracts/currency/", CurrencyPreview.as_view(), name="operator-api-currency"),
    path(
        "tenants/<uuid:tenant_id>/billing-details/",
        BillingDetailsChanged.as_view(),
        name="operator-api-billing-details",
    ),
    path("tenants/<uuid:tenant_id>/contracts/withdraw/", ContractWithdrawn.as_view(), name="operator-api-withdraw"),
]
