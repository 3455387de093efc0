"""How a call to a payment provider can fail, by what the caller does next."""

from __future__ import annotations

from typing import Any

from tenants.errors import ExchequerError


class OutcomeUnknown(ExchequerError):
    """The payment provider did not answer: the request may or may not have taken effect. It is repeated automatically."""

    code = "payment_outcome_unknown"
    status = 503


class Later(ExchequerError):
    """The payment provider accepts this request later. It is repeated automatically."""

    code = "payment_later"
    status = 503

    def __init__(self, after_s: int) -> None:
        super().__init__(after_s=after_s)
        self.after_s = after_s


class Declined(ExchequerError):
    """The payment was declined. Try another payment method, or contact the bank that issued this one."""

    code = "payment_declined"
    status = 402

    def __init__(self, decline_code: str, message: str | None = None) -> None:
        super().__init__(message, decline_code=decline_code)
        self.decline_code = decline_code


class GatewayRefused(ExchequerError):
    """The payment provider refused the request. Repeating it does not help."""

    code = "payment_refused"
    status = 502

    def __init__(self, message: str | None = None, *, reason: str = "") -> None:
        super().__init__(message, reason=reason)
        self.reason = reason


class WebhookRefused(ExchequerError):
    """This is no current, signed event of the payment provider."""

    code = "webhook_refused"
    status = 400

    def __init__(self, reason: str, **extra: Any) -> None:
        super().__init__(reason=reason, **extra)
        self.reason = reason


class TransactionOpen(RuntimeError):
    """A payment provider was called inside a database transaction, which would hold its locks while the provider stalls."""
