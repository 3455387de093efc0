"""Reads of billing: sums in the database over roll-ups, keyset pages, frozen dataclasses out."""

from billing.defaults import DEVICE_TIME
from billing.naming import resource_names
from billing.queries.billed import Billed, billed, billed_attempts
from billing.queries.budgets import AlertRow, BudgetStatus, alerts, budget, budgets, room
from billing.queries.calendar import Today, tenant_today, today
from billing.queries.explain import Explanation, IntervalView, Place, Share, explain
from billing.queries.invoices import (
    InvoiceLine,
    InvoiceView,
    draft_invoice,
    invoice,
    invoice_line,
    invoice_lines,
    invoices,
)
from billing.queries.prices import (
    MeterView,
    PriceBookView,
    PriceView,
    VersionView,
    meters,
    price_books,
    price_version,
    prices_in_force,
)
from billing.queries.spend import (
    MOST_ROWS,
    Filters,
    MonthToDate,
    Span,
    SpendRow,
    cost_by_day_and_project,
    costliest_jobs,
    month_to_date,
    span,
    spend,
)

__all__ = [
    "DEVICE_TIME",
    "MOST_ROWS",
    "AlertRow",
    "Billed",
    "BudgetStatus",
    "Explanation",
    "Filters",
    "IntervalView",
    "InvoiceLine",
    "InvoiceView",
    "MeterView",
    "MonthToDate",
    "Place",
    "PriceBookView",
    "PriceView",
    "Share",
    "Span",
    "SpendRow",
    "Today",
    "VersionView",
    "alerts",
    "billed",
    "billed_attempts",
    "budget",
    "budgets",
    "cost_by_day_and_project",
    "costliest_jobs",
    "draft_invoice",
    "explain",
    "invoice",
    "invoice_line",
    "invoice_lines",
    "invoices",
    "meters",
    "month_to_date",
    "price_books",
    "price_version",
    "prices_in_force",
    "resource_names",
    "room",
    "span",
    "spend",
    "tenant_today",
    "today",
]
