"""Formatting of columns of money, durations and figures for people: for pages, tables and charts. Pure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tenants.currencies import minor_decimals, money_text

STATES = {
    "queued": ("wait", "Queued"),
    "ingesting": ("busy", "Ingesting"),
    "uploading": ("busy", "Uploading"),
    "running": ("busy", "Running"),
    "pausing": ("busy", "Pausing"),
    "paused": ("wait", "Paused"),
    "succeeded": ("good", "Succeeded"),
    "ready": ("good", "Ready"),
    "active": ("good", "Active"),
    "ok": ("good", "OK"),
    "alert": ("wait", "Alert"),
    "exhausted": ("bad", "No room"),
    "in_force": ("good", "In force"),
    "coming": ("wait", "Coming"),
    "past": ("idle", "Past"),
    "failed": ("bad", "Failed"),
    "stopped": ("wait", "Stopped"),
    "cancelled": ("idle", "Cancelled"),
    "waiting": ("wait", "Waiting"),
    "done": ("good", "Done"),
    "declined": ("bad", "Declined"),
    "draft": ("wait", "Draft"),
    "over": ("idle", "Month over"),
    "in_review": ("wait", "In review"),
    "finalised": ("good", "Finalised"),
    "paid": ("good", "Paid"),
    "void": ("idle", "Void"),
    "assigned": ("wait", "Assigned"),
    "lost": ("bad", "Lost"),
    "preempted": ("wait", "Gave way"),
    "reclaimed": ("wait", "Reclaimed"),
    "idle": ("wait", "Idle"),
    "expired": ("bad", "Expired"),
    "alive": ("good", "Alive"),
    "leaving": ("wait", "Leaving"),
    "draining": ("wait", "Draining"),
    "silent": ("bad", "Silent"),
    "cordoned": ("wait", "Cordoned"),
    "gone": ("idle", "Gone"),
    "open": ("wait", "Open"),
    "past_due": ("bad", "Past due"),
    "agreed": ("good", "Agreed"),
    "withdrawn": ("idle", "Withdrawn"),
    "accepted": ("good", "Accepted"),
    "revoked": ("idle", "Revoked"),
    "pending": ("wait", "Waiting"),
    "delivered": ("good", "Delivered"),
    "failing": ("bad", "Failing"),
    "disabled": ("idle", "Disabled"),
    "busy": ("busy", "In use"),
    "unread": ("busy", "Unread"),
    "verified": ("good", "Verified"),
    "record missing": ("bad", "Record missing"),
    "unverified": ("wait", "Not verified"),
    "on": ("good", "On"),
    "off": ("idle", "Off"),
    "launched": ("good", "Launched"),
    "missed": ("wait", "Missed"),
    "refused": ("bad", "Refused"),
}

MOST_PERCENT = 999
UNITS = {"second": "s", "millisecond": "ms"}
NAMES = {"api": "API", "auc": "AUC", "cpu": "CPU", "gpu": "GPU", "mae": "MAE", "r2": "R²", "rmse": "RMSE", "roc": "ROC"}
#: Audit log names of tables.
NAMES |= {
    "allocation": "serving slot",
    "apikey": "API key",
    "datasetversion": "dataset version",
    "endpointkey": "endpoint key",
}
NAMES |= {"modelversion": "model version", "pricebook": "price book", "priceversion": "price version"}
NAMES |= {"reportlimit": "limit of reported usage", "usagebatch": "reported usage"}


def worded(code: Any) -> str:
    """Turn a code such as `time_limit` or `test_rmse` into words; short names keep their capitals."""
    spaced = str(code or "").replace("_", " ").replace(".", " \u203a ")
    said = " ".join(NAMES.get(part, part) for part in spaced.split(" "))
    return said[:1].upper() + said[1:]


#: What a page shows in place of an amount to those who see none.
NOT_SHOWN = "not shown"


def money_parts(value: Any) -> tuple[Decimal, str] | None:
    """Return an amount and its currency from `Money` or from the API's form of it; None for nothing."""
    if value in (None, ""):
        return None
    if isinstance(value, Mapping):
        return Decimal(str(value["amount"])), str(value["currency"])
    return Decimal(value.amount), str(value.currency)


def money_column(amounts: Sequence[Decimal], currency: str) -> list[str]:
    """Format the amounts of a column with the same decimals: minor units if those hold them all."""
    minor = minor_decimals(currency)
    fine = any(0 < abs(amount) < 1 and amount != round(amount, minor) for amount in amounts)
    return [money_text(amount, currency, short=not fine, column=fine) for amount in amounts]


def duration_text(value: Any) -> str:
    """Format seconds for people: 4.2 s, 3 min 05 s, 2 h 14 min, 3 d 4 h."""
    seconds = Decimal(str(value))
    if seconds < Decimal("0.05"):
        return "0\u00a0s"
    if seconds < 60:
        return f"{seconds:.1f}\u00a0s" if seconds % 1 else f"{seconds:.0f}\u00a0s"
    if seconds < 3600:
        return f"{int(seconds // 60)}\u00a0min {int(seconds % 60):02d}\u00a0s"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)}\u00a0h {int(seconds % 3600 // 60):02d}\u00a0min"
    return f"{int(seconds // 86400)}\u00a0d {int(seconds % 86400 // 3600)}\u00a0h"


def number(value: Any, places: int = 0) -> str:
    """Format a number with thousands separators and at most `places` decimals."""
    if value in (None, ""):
        return "\u2013"
    text = f"{Decimal(str(value)):,.{places}f}"
    return text.rstrip("0").rstrip(".") if places and "." in text else text


def percent_text(percent: int | Decimal) -> str:
    """Format a whole percentage; beyond 999 it is capped, since a larger number would only break the line."""
    return f"{percent:.0f}\u00a0%" if percent <= MOST_PERCENT else f"> {MOST_PERCENT}\u00a0%"


def limit_tone(percent: float | Decimal) -> str:
    """Return the colour of a share of a limit, the same on every page: amber from 75 percent, red from 90."""
    return "bad" if percent >= 90 else "wait" if percent >= 75 else ""


def shares(amounts: Sequence[Decimal], total: Decimal | None = None) -> list[int]:
    """Return whole percentages of a total (by default the sum) that add up exactly: largest remainders."""
    whole = sum(amounts, Decimal(0)) if total is None else total
    if whole <= 0:
        return [0 for _ in amounts]
    exact = [amount * 100 / whole for amount in amounts]
    cut = [int(share) for share in exact]
    missing = int((sum(exact, Decimal(0))).to_integral_value(ROUND_HALF_EVEN)) - sum(cut)
    for place in sorted(range(len(exact)), key=lambda n: (cut[n] - exact[n], n))[: max(missing, 0)]:
        cut[place] += 1
    return cut


def unit_text(unit: str, count: Any = 2) -> str:
    """Format a meter's unit beside a number: s, ms, request or requests; other units stay unchanged."""
    if unit in UNITS:
        return UNITS[unit]
    plain = unit.isascii() and unit.isalpha() and unit.islower() and len(unit) > 2 and not unit.endswith("s")
    return f"{unit}s" if plain and count != 1 else unit


def quantity_text(value: Any, unit: str) -> str:
    """Format a quantity with its unit: 12.5 s, 8,500 ms, 1 request; a dash for a sum over several units.

    A small one keeps the six decimals of usage: what has a cost is never shown as 0.
    """
    if value is None or not unit:
        return "\u2013"
    count = Decimal(str(value))
    return f"{number(count, 6 if abs(count) < 1 else 2)}\u00a0{unit_text(unit, count)}"


def took_text(span: timedelta) -> str:
    """Format a duration, down to the millisecond."""
    if span <= timedelta(microseconds=1):  # a moment: its duration is unknown
        return "\u2013"
    ms = span / timedelta(milliseconds=1)
    return f"{ms:.0f}\u00a0ms" if 1 <= ms < 1000 else f"{ms:.3g}\u00a0ms" if ms < 1 else duration_text(ms / 1000)


def milliseconds_text(value: Any) -> str:
    """Format a latency in milliseconds with at most one decimal; a dash if it was not measured."""
    return "\u2013" if value is None else f"{number(value, 1)} ms"


def figure(value: Any) -> str:
    """Format a measured figure with four significant digits; shares with four decimals, so that they align."""
    if value is None or value == "":
        return "\u2013"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:.4f}" if 0.001 <= abs(float(value)) < 1 else f"{value:.4g}"
