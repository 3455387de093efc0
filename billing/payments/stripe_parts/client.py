"""A client of Stripe's library with nothing global, and its errors in our terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import stripe
from django.core.exceptions import ImproperlyConfigured

from billing.payments.errors import Declined, GatewayRefused, Later, OutcomeUnknown

T = TypeVar("T", bound=stripe.StripeObject)

#: Seconds to connect, and between two reads of a response; Stripe itself ends a request after 80.
TIMEOUT = (5, 30)
DEFAULT_WAIT_S = 2
LONGEST_WAIT_S = 3600
TOO_EARLY = 425
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Account:
    """The Stripe account of the installation.

    `webhook_secrets`: an event is accepted if any of them signed it. `connected`: the id of a connected account whose
    events are accepted; empty for events of the account itself.
    """

    api_key: str = field(repr=False)
    api_base: str = ""
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    connected: str = ""
    timeout: tuple[int, int] = TIMEOUT

    def __post_init__(self) -> None:
        """Raise `ImproperlyConfigured` for a key that cannot collect, or an address that would show it to the network."""
        if not self.api_key.startswith(("sk_", "rk_")):
            raise ImproperlyConfigured("STRIPE_API_KEY: use a secret key, sk_... or rk_...; others are for browsers.")
        parts = urlsplit(self.api_base)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if self.api_base and not local and not (parts.scheme == "https" and parts.hostname):
            raise ImproperlyConfigured("STRIPE_API_BASE: use an https address; http would show the key to the network.")

    @property
    def livemode(self) -> bool:
        """Whether the key moves real money."""
        return self.api_key.startswith(("sk_live_", "rk_live_"))


def new_client(account: Account) -> stripe.StripeClient:
    """Return a client for one account. It never retries: repetitions are ours, with the same key."""
    return stripe.StripeClient(
        account.api_key,
        base_addresses={"api": account.api_base.rstrip("/")} if account.api_base else {},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=account.timeout),
    )


@contextmanager
def outcomes() -> Iterator[None]:
    """Raise errors of the library as `OutcomeUnknown`, `Later`, `Declined` or `GatewayRefused`."""
    try:
        yield
    except stripe.CardError as error:
        raise Declined(_decline_code(error), error.user_message) from error
    except stripe.RateLimitError as error:
        raise Later(_wait(error.headers or {})) from error
    except stripe.APIConnectionError as error:
        raise OutcomeUnknown from error
    except stripe.APIError as error:
        if _answered_no(error.http_status):
            raise GatewayRefused(error.user_message, reason=error.code or "") from error
        raise OutcomeUnknown from error
    except stripe.StripeError as error:
        reason = error.code or _type(error)
        raise GatewayRefused(error.user_message, reason=reason) from error


def metadata(our_id: str, tenant_id: UUID | str, **more: str) -> dict[str, str]:
    """Return what each object at Stripe carries, so that it can be found and attributed."""
    return {"our_id": our_id, "tenant_id": str(tenant_id), **more}


def ours(objects: Iterable[T], our_id: str, **more: str) -> Iterator[T]:
    """Yield the objects of a list that carry our id."""
    for one in objects:
        if given(one).items() >= {"our_id": our_id, **more}.items():
            yield one


def given(one: stripe.StripeObject) -> dict[str, str]:
    """Return the metadata of an object; empty if it has none."""
    held = one.to_dict(recursive=False).get("metadata")
    return dict(held.to_dict()) if isinstance(held, stripe.StripeObject) else dict(held or {})


def id_of(reference: Any) -> str:
    """Return the id of a reference, expanded or not; empty for none."""
    return reference if isinstance(reference, str) else str(getattr(reference, "id", "") or "")


def _answered_no(status: int | None) -> bool:
    """Whether the status says that nothing happened. A conflict means that the same request is still running."""
    return status is not None and 400 <= status < 500 and status not in (408, 409, TOO_EARLY)


def _decline_code(error: stripe.CardError) -> str:
    details = error.error.to_dict() if error.error else {}
    return str(details.get("decline_code") or error.code or "declined")


def _type(error: stripe.StripeError) -> str:
    details = error.error.to_dict() if error.error else {}
    return str(details.get("type") or "")


def _wait(headers: Mapping[str, str]) -> int:
    """Return the seconds to wait that a response names, within an hour."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(max(int(text), 1), LONGEST_WAIT_S) if text.isascii() and text.isdigit() else DEFAULT_WAIT_S
