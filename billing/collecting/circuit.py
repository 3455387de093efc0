"""The circuit breaker: after failures in a row nothing is sent to the payment provider for a while, then one step at a time."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F

from billing.models import PaymentCircuit
from tenants import clock

#: Failures in a row that open it; each further one doubles the pause, up to the longest.
FAILURES = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5, 60


def places(most: int) -> int:
    """Return how many steps may be taken now: none while it is open, one to try whether the provider answers again."""
    row = PaymentCircuit.objects.get()
    if row.open_until is not None and row.open_until > clock.now():
        return 0
    return 1 if row.failures >= FAILURES else most


def answered() -> None:
    """Close it: the provider answered."""
    PaymentCircuit.objects.exclude(failures=0).update(failures=0, open_until=None)


def failed() -> None:
    """Count a request with unknown outcome, and open it after FAILURES of them in a row."""
    PaymentCircuit.objects.update(failures=F("failures") + 1)
    row = PaymentCircuit.objects.get()
    if row.failures >= FAILURES:
        pause = min(FIRST_PAUSE_S * 2 ** min(row.failures - FAILURES, 10), LONGEST_PAUSE_S)
        PaymentCircuit.objects.update(open_until=clock.now() + timedelta(seconds=pause))
