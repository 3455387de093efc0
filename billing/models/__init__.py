"""Tables of billing. Writes go through operations, reads through `queries`."""

from billing.models.alerts import BudgetAlert
from billing.models.budgets import Budget, BudgetPeriod
from billing.models.collecting import Collection, GatewayEvent, PaymentAccount, PaymentCircuit
from billing.models.disputes import Dispute, DisputeMessage, InvoiceComment
from billing.models.holds import Hold, HoldShare, Quote
from billing.models.invoicing import Invoice, InvoiceLine, NumberSeries, Reconciliation, Seller
from billing.models.ledger import LedgerPosting, LedgerShare, LedgerTransaction
from billing.models.metering import Meter, RequiredTag, SharedCost, UsageEvent, UsageKey, UsageRollup, UsageSeries
from billing.models.outside import HeldEvent, MeterPiece, MeterReading, MeterSeries, ReportLimit, SenderDay, UsageBatch
from billing.models.periods import BillingPeriod
from billing.models.pricing import (
    ClusterRule,
    Contract,
    DeviceCost,
    DeviceCostWithdrawal,
    ExchangeRate,
    Price,
    PriceBook,
    PriceVersion,
    ShowbackPrice,
    TaxRate,
)
from billing.models.runs import PeriodRun, PreparedDraft, ReconciliationOrder
from billing.models.settling import CreditNote, CreditNoteLine, Payment, Reminder, StopDeferral
from billing.models.wallets import CreditBlock, CreditMovement, TopUp, Wallet

__all__ = [
    "BillingPeriod",
    "Budget",
    "BudgetAlert",
    "BudgetPeriod",
    "ClusterRule",
    "Collection",
    "Contract",
    "CreditBlock",
    "CreditMovement",
    "CreditNote",
    "CreditNoteLine",
    "DeviceCost",
    "DeviceCostWithdrawal",
    "Dispute",
    "DisputeMessage",
    "ExchangeRate",
    "GatewayEvent",
    "HeldEvent",
    "Hold",
    "HoldShare",
    "Invoice",
    "InvoiceComment",
    "InvoiceLine",
    "LedgerPosting",
    "LedgerShare",
    "LedgerTransaction",
    "Meter",
    "MeterPiece",
    "MeterReading",
    "MeterSeries",
    "NumberSeries",
    "Payment",
    "PaymentAccount",
    "PaymentCircuit",
    "PeriodRun",
    "PreparedDraft",
    "Price",
    "PriceBook",
    "PriceVersion",
    "Quote",
    "Reconciliation",
    "ReconciliationOrder",
    "Reminder",
    "ReportLimit",
    "RequiredTag",
    "Seller",
    "SenderDay",
    "SharedCost",
    "ShowbackPrice",
    "StopDeferral",
    "TaxRate",
    "TopUp",
    "UsageBatch",
    "UsageEvent",
    "UsageKey",
    "UsageRollup",
    "UsageSeries",
    "Wallet",
]
