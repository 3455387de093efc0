"""FOCUS 1.2 as a table of our own: what a row of a Cost and Usage file must hold. It shares no code with the export.

Written from the rules of the official model 1.2.0.1; the official validator itself needs Python >= 3.12 (`make test-focus`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

Row = Mapping[str, str]
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}
MANDATORY = NULLABLE | {
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
}  # fmt: skip
COMMITTED = {f"CommitmentDiscount{name}" for name in ("Category", "Id", "Name", "Quantity", "Status", "Type", "Unit")}
CONDITIONAL = COMMITTED | {
    "ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "InvoiceId", "ListUnitPrice", "PricingCategory",
    "PricingCurrency", "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
    "ResourceId", "ResourceName", "ResourceType", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
    "SubAccountId", "SubAccountName", "SubAccountType", "Tags",
}  # fmt: skip
VALUES = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "CommitmentDiscountCategory": {"", "Spend", "Usage"},
    "CommitmentDiscountStatus": {"", "Used", "Unused"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {
        "AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing",
        "Other (AI and Machine Learning)",
    },
}  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NUMBER = re.compile(r"-?\d+\.\d+")
UNIT = re.compile(r"[A-Za-z][A-Za-z0-9]*( [A-Za-z][A-Za-z0-9]*)*")
COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingCurrencyEffectiveCost")
QUANTITIES = (
    "ConsumedQuantity", "PricingQuantity", "ContractedUnitPrice", "ListUnitPrice", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyListUnitPrice",
)  # fmt: skip
PRICED = ("SkuId", "SkuPriceId", "PricingQuantity", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory")
NEVER_TAXED = ("SkuId", "SkuPriceId", "PricingQuantity", "PricingCategory", "ContractedUnitPrice", "ListUnitPrice")
#: Each pair is filled together or not at all.
PAIRS = (
    ("CommitmentDiscountId", "CommitmentDiscountCategory"), ("CommitmentDiscountId", "CommitmentDiscountType"),
    ("CommitmentDiscountId", "CommitmentDiscountName"), ("CommitmentDiscountQuantity", "CommitmentDiscountUnit"),
    ("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit"), ("ResourceId", "ResourceType"),
    ("SkuId", "SkuMeter"), ("SubAccountId", "SubAccountName"), ("SubAccountId", "SubAccountType"),
)  # fmt: skip


def _correction(row: Row) -> bool:
    return row["ChargeClass"] == "Correction"


def _product(row: Row, price: str, cost: str) -> bool:
    if _correction(row) or not row[price] or not row["PricingQuantity"]:
        return True
    exact = Decimal(row[price]) * Decimal(row["PricingQuantity"])
    return abs(exact - Decimal(row[cost])) <= max(abs(exact), abs(Decimal(row[cost]))) * Decimal("1e-9")


RULES: dict[str, Callable[[Row], bool]] = {
    "a mandatory column without nulls is filled": lambda r: all(r[name] for name in MANDATORY - NULLABLE),
    "recommended columns without nulls are filled": lambda r: bool(r["ChargeFrequency"] and r["ServiceSubcategory"]),
    "values are allowed ones": lambda r: all(r[name] in values for name, values in VALUES.items()),
    "times are UTC to the second": lambda r: all(
        TIME.fullmatch(r[f"{name}Period{end}"]) for name in ("Billing", "Charge") for end in ("Start", "End")
    ),
    "periods end after their start": lambda r: all(
        r[f"{name}PeriodStart"] < r[f"{name}PeriodEnd"] for name in ("Billing", "Charge")
    ),
    "costs are decimals": lambda r: all(NUMBER.fullmatch(r[name]) for name in COSTS),
    "quantities and prices are decimals": lambda r: all(not r[name] or NUMBER.fullmatch(r[name]) for name in QUANTITIES),
    "prices are not negative": lambda r: all(not r[f"{n}UnitPrice"].startswith("-") for n in ("List", "Contracted")),
    "a currency has three capitals": lambda r: all(
        re.fullmatch("[A-Z]{3}", r[f"{name}Currency"]) is not None for name in ("Billing", "Pricing")
    ),
    "what is priced in the billing currency has one price": lambda r: r["BillingCurrency"] != r["PricingCurrency"]
    or all(r[f"PricingCurrency{name}"] == r[name] for name in ("ContractedUnitPrice", "EffectiveCost", "ListUnitPrice")),
    "the price in its own currency times the quantity is the cost in it": lambda r: r["BillingCurrency"] == r["PricingCurrency"]
    or _product(r, "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost"),
    "units have FOCUS's form": lambda r: all(
        not r[name] or UNIT.fullmatch(r[name]) is not None for name in ("ConsumedUnit", "PricingUnit")
    ),
    "pairs are filled together": lambda r: all(bool(r[one]) == bool(r[other]) for one, other in PAIRS),
    "details have a price": lambda r: not r["SkuPriceDetails"] or bool(r["SkuPriceId"]),
    "usage and purchases are priced": lambda r: r["ChargeCategory"] not in ("Usage", "Purchase")
    or _correction(r)
    or all(r[name] for name in PRICED),
    "tax has no price": lambda r: r["ChargeCategory"] != "Tax" or not any(r[name] for name in NEVER_TAXED),
    "only usage is consumed": lambda r: r["ChargeCategory"] == "Usage" or not r["ConsumedQuantity"],
    "usage is consumed": lambda r: r["ChargeCategory"] != "Usage" or _correction(r) or bool(r["ConsumedQuantity"]),
    "the contracted price times the quantity is the cost": lambda r: _product(r, "ContractedUnitPrice", "ContractedCost"),
    "the list price times the quantity is the list cost": lambda r: _product(r, "ListUnitPrice", "ListCost"),
    "a purchase has no effective cost": lambda r: r["ChargeCategory"] != "Purchase" or not Decimal(r["EffectiveCost"]),
    "a purchase is not usage-based": lambda r: r["ChargeCategory"] != "Purchase" or r["ChargeFrequency"] != "Usage-Based",
    "who sells issues the invoice": lambda r: r["ProviderName"] == r["InvoiceIssuerName"] or not Decimal(r["BilledCost"]),
    "what belongs to no commitment has no status and quantity": lambda r: bool(r["CommitmentDiscountId"])
    or not (r["CommitmentDiscountStatus"] or r["CommitmentDiscountQuantity"]),
    "usage of a commitment has a status": lambda r: not r["CommitmentDiscountId"]
    or r["ChargeCategory"] != "Usage"
    or bool(r["CommitmentDiscountStatus"]),
    "purchases and usage of a commitment alone have its quantity": lambda r: bool(r["CommitmentDiscountQuantity"])
    == bool(r["CommitmentDiscountId"] and r["ChargeCategory"] in ("Usage", "Purchase"))
    or _correction(r),
    "key-values are objects of texts": lambda r: all(
        not r[name] or all(isinstance(value, str) for value in json.loads(r[name]).values()) for name in ("Tags", "SkuPriceDetails")
    ),
}  # fmt: skip


def faults(text: str) -> list[str]:
    """Return every fault of a file: `row N: rule`, and those of its columns and of all its rows together."""
    reader = csv.DictReader(io.StringIO(text))
    names = list(reader.fieldnames or ())
    found = [f"no column {name}" for name in sorted(MANDATORY - set(names))]
    own = [name for name in names if name not in MANDATORY | CONDITIONAL]
    found += [f"an own column without x_: {name}" for name in own if not name.startswith("x_")]
    found += ["own columns stand among those of FOCUS"] if own != names[len(names) - len(own) :] else []
    if found:
        return found
    parents: dict[str, set[str]] = {}
    for n, row in enumerate(reader, start=1):
        found += [f"row {n}: {rule}" for rule, holds in RULES.items() if not holds(row)]
        parents.setdefault(row["SkuPriceId"], set()).add(row["SkuId"])
    found += [f"the price {price} has several SKUs" for price, skus in parents.items() if price and len(skus) > 1]
    return found
