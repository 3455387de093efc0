"""Pages of billing: budgets, prices, the draft invoice, and the explanation of its lines."""

from django.urls import URLPattern, path

from billing.views.agreements.commitments import commitments_page
from billing.views.agreements.disputes import dispute, dispute_open, dispute_withdraw
from billing.views.agreements.what_if import own_what_if_page
from billing.views.budget_requests import budget_request
from billing.views.budgets import budget_change, budget_close, budget_create, budget_list
from billing.views.chargeback import chargeback_page
from billing.views.documents import credit_note_pdf, invoice_pdf
from billing.views.exports import cost_export, cost_exports
from billing.views.invoices import invoice, invoice_of, invoice_reconciled, line
from billing.views.payment_methods import payment_methods, payment_methods_change
from billing.views.prices import prices
from billing.views.reported import (
    reported,
    reported_batch,
    reported_decide,
    reported_limits,
    reported_meter,
    reported_void,
)
from billing.views.required_tags import required_tags_page
from billing.views.shared_costs import shared_costs_page
from billing.views.showback import showback_page, showback_prices
from billing.views.statements import statement_page, statement_pdf
from billing.views.wallets import wallet_page, wallet_rule, wallet_top_up

urlpatterns: list[URLPattern] = [
    path("budgets/", budget_list, name="budgets"),
    path("budgets/new/", budget_create, name="budget-create"),
    path("budgets/<uuid:budget_id>/", budget_change, name="budget-change"),
    path("budgets/<uuid:budget_id>/request/", budget_request, name="budget-request"),
    path("budgets/<uuid:budget_id>/close/", budget_close, name="budget-close"),
    path("payment-methods/", payment_methods, name="payment-methods"),
    path("payment-methods/change/", payment_methods_change, name="payment-methods-change"),
    path("prices/", prices, name="prices"),
    path("commitments/", commitments_page, name="commitments"),
    path("commitments/what-if/", own_what_if_page, name="what-if"),
    path("showback/", showback_page, name="showback"),
    path("showback/prices/", showback_prices, name="showback-prices"),
    path("chargeback/", chargeback_page, name="chargeback"),
    path("shared-costs/", shared_costs_page, name="shared-costs"),
    path("required-tags/", required_tags_page, name="required-tags"),
    path("cost-exports/", cost_exports, name="cost-exports"),
    path("cost-exports/file/", cost_export, name="cost-export"),
    path("statement/", statement_page, name="statement"),
    path("statement/statement.pdf", statement_pdf, name="statement-pdf"),
    path("reported/", reported, name="reported"),
    path("reported/decide/", reported_decide, name="reported-decide"),
    path("reported/meters/", reported_meter, name="reported-meter"),
    path("reported/limits/", reported_limits, name="reported-limits"),
    path("reported/<uuid:batch_id>/", reported_batch, name="reported-batch"),
    path("reported/<uuid:batch_id>/void/", reported_void, name="reported-void"),
    path("wallet/", wallet_page, name="wallet"),
    path("wallet/top-up/", wallet_top_up, name="wallet-top-up"),
    path("wallet/automatic/", wallet_rule, name="wallet-rule"),
    path("invoice/", invoice, name="invoice"),
    path("invoices/<uuid:invoice_id>/", invoice_of, name="invoice-of"),
    path("invoices/<uuid:invoice_id>/dispute/", dispute_open, name="dispute-open"),
    path("disputes/<uuid:dispute_id>/", dispute, name="dispute"),
    path("disputes/<uuid:dispute_id>/withdraw/", dispute_withdraw, name="dispute-withdraw"),
    path("invoices/<uuid:invoice_id>/invoice.pdf", invoice_pdf, name="invoice-pdf"),
    path("invoices/<uuid:invoice_id>/credit-notes/<uuid:note_id>.pdf", credit_note_pdf, name="credit-note-pdf"),
    path("invoices/<uuid:invoice_id>/lines/<int:n>/", line, name="invoice-line"),
    path("invoices/reconciled/", invoice_reconciled, name="invoice-reconciled"),
]
