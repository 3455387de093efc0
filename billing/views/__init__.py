"""Pages of billing: the draft invoice, and why each of its lines costs what it costs."""

from django.urls import URLPattern, path

from billing.views.invoices import invoice, invoice_of, invoice_reconciled, line

urlpatterns: list[URLPattern] = [
    path("invoice/", invoice, name="invoice"),
    path("invoices/<uuid:invoice_id>/", invoice_of, name="invoice-of"),
    path("invoices/<uuid:invoice_id>/lines/<int:n>/", line, name="invoice-line"),
    path("invoices/reconciled/", invoice_reconciled, name="invoice-reconciled"),
]
