"""Tables of billing. Writes go through operations, reads through `queries`."""

from billing.models.alerts import BudgetAlert
from billing.models.budgets import Budget, BudgetPeriod
from billing.models.holds import Hold, HoldShare, Quote
from billing.models.invoicing import Invoice
from billing.models.ledger import LedgerPosting, LedgerTransaction
from billing.models.metering import Meter, UsageEvent, UsageKey, UsageRollup, UsageSeries
from billing.models.outside import HeldEvent, ReportLimit, SenderDay, UsageBatch
from billing.models.pricing import Contract, Price, PriceBook, PriceVersion, ShowbackPrice

__all__ = [
    "Budget",
    "BudgetAlert",
    "BudgetPeriod",
    "Contract",
    "HeldEvent",
    "Hold",
    "HoldShare",
    "Invoice",
    "LedgerPosting",
    "LedgerTransaction",
    "Meter",
    "Price",
    "PriceBook",
    "PriceVersion",
    "Quote",
    "ReportLimit",
    "SenderDay",
    "ShowbackPrice",
    "UsageBatch",
    "UsageEvent",
    "UsageKey",
    "UsageRollup",
    "UsageSeries",
]
