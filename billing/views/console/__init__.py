"""Pages of the operators' console: price books with their versions, contracts, invoices and who issues them."""

from django.urls import URLPattern, path

from billing.views.console.books import book_page, books_page, new_book, publish_page
from billing.views.console.contracts import billing_details, contract_page, contract_withdraw, contracts_page
from billing.views.console.deferrals import invoice_defer
from billing.views.console.disputes import dispute_page, disputes_page, invoice_comment
from billing.views.console.exchange import exchange_rates_page
from billing.views.console.invoice import (
    invoice_collect,
    invoice_credit,
    invoice_finalise,
    invoice_page,
    invoice_payment,
    invoice_review,
    invoice_send,
    invoice_void,
)
from billing.views.console.invoices import invoices_page, overdue_page, seller_page
from billing.views.console.months import month_page
from billing.views.console.payments import payment_reverse
from billing.views.console.reconciliation import reconciliation_page
from billing.views.console.statements import statement_page, statement_pdf
from billing.views.console.taxes import tax_rate_end, tax_rates_page
from billing.views.console.wallets import credit_withdraw, wallet_page
from billing.views.console.what_if import what_if_page

urlpatterns: list[URLPattern] = [
    path("price-books/", books_page, name="operator-books"),
    path("price-books/new/", new_book, name="operator-book-new"),
    path("price-books/<uuid:book_id>/", book_page, name="operator-book"),
    path("price-books/<uuid:book_id>/versions/new/", publish_page, name="operator-publish"),
    path("price-books/exchange-rates/", exchange_rates_page, name="operator-exchange-rates"),
    path("contracts/", contracts_page, name="operator-contracts"),
    path("contracts/<uuid:tenant_id>/", contract_page, name="operator-contract"),
    path("contracts/<uuid:tenant_id>/billing-details/", billing_details, name="operator-billing-details"),
    path("contracts/<uuid:tenant_id>/withdraw/", contract_withdraw, name="operator-contract-withdraw"),
    path("wallets/<uuid:tenant_id>/", wallet_page, name="operator-wallet"),
    path("wallets/<uuid:tenant_id>/<uuid:block_id>/withdraw/", credit_withdraw, name="operator-credit-withdraw"),
    path("contracts/<uuid:tenant_id>/what-if/", what_if_page, name="operator-what-if"),
    path("invoices/", invoices_page, name="operator-invoices"),
    path("invoices/statements/<uuid:tenant_id>/", statement_page, name="operator-statement"),
    path("invoices/statements/<uuid:tenant_id>/statement.pdf", statement_pdf, name="operator-statement-pdf"),
    path("invoices/overdue/", overdue_page, name="operator-overdue"),
    path("invoices/reconciliation/", reconciliation_page, name="operator-reconciliation"),
    path("invoices/seller/", seller_page, name="operator-seller"),
    path("disputes/", disputes_page, name="operator-disputes"),
    path("disputes/<uuid:dispute_id>/", dispute_page, name="operator-dispute"),
    path("invoices/<uuid:invoice_id>/comments/", invoice_comment, name="operator-invoice-comment"),
    path("invoices/tax-rates/", tax_rates_page, name="operator-tax-rates"),
    path("invoices/tax-rates/<uuid:rate_id>/end/", tax_rate_end, name="operator-tax-rate-end"),
    path("invoices/months/<str:month>/", month_page, name="operator-month"),
    path("invoices/<uuid:invoice_id>/", invoice_page, name="operator-invoice"),
    path("invoices/<uuid:invoice_id>/review/", invoice_review, name="operator-invoice-review"),
    path("invoices/<uuid:invoice_id>/finalise/", invoice_finalise, name="operator-invoice-finalise"),
    path("invoices/<uuid:invoice_id>/void/", invoice_void, name="operator-invoice-void"),
    path("invoices/<uuid:invoice_id>/collect/", invoice_collect, name="operator-invoice-collect"),
    path("invoices/<uuid:invoice_id>/deferral/", invoice_defer, name="operator-invoice-defer"),
    path("invoices/<uuid:invoice_id>/send/", invoice_send, name="operator-invoice-send"),
    path("invoices/<uuid:invoice_id>/payments/", invoice_payment, name="operator-invoice-payment"),
    path(
        "invoices/<uuid:invoice_id>/payments/<uuid:payment_id>/reverse/",
        payment_reverse,
        name="operator-payment-reverse",
    ),
    path("invoices/<uuid:invoice_id>/credit-notes/new/", invoice_credit, name="operator-invoice-credit"),
]
