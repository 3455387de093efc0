"""The values of a webhook, checked: its name, address, types and format."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenants.errors import Invalid
from tenants.models import WebhookFormat
from tenants.operations import check_text
from tenants.outbound import client, guard
from tenants.outbound.allowed import Anywhere


@dataclass(frozen=True)
class Known:
    """The types that a webhook can choose, and where a program finds them."""

    types: Sequence[str]
    where: str


def checked(
    wanted: dict[str, Any], known: Known, seal: Callable[[str], bytes], tenant_id: UUID | None
) -> dict[str, Any]:
    """Return the columns for these values; raise `Invalid` naming each wrong one."""
    given: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    if "name" in wanted:
        try:
            given["name"] = check_text(wanted["name"], "name", 60)
        except Invalid as wrong:
            faults |= wrong.fields
    if "url" in wanted:
        try:
            given["host"] = check_url(wanted["url"], tenant_id)
            given["url"] = seal(wanted["url"])
        except Invalid as wrong:
            faults |= wrong.fields
    if "types" in wanted:
        given["types"] = sorted(set(wanted["types"]))
        unknown = [one for one in given["types"] if one not in known.types]
        if unknown:
            faults["types"] = [f"There is no event type {unknown[0]}. {known.where} lists them."]
        elif not given["types"]:
            faults["types"] = ["Choose at least one type of event."]
    if "format" in wanted:
        given["format"] = wanted["format"]
        if wanted["format"] not in WebhookFormat.values:
            faults["format"] = [f"Choose one of {', '.join(WebhookFormat.values)}."]
    if faults:
        raise Invalid(fields=faults)
    return given


def check_url(url: str, tenant_id: UUID | None) -> str:
    """Return the host of a URL that webhooks may have; raise `Invalid` with the guard's reason otherwise.

    Only the URL is checked here: where its host leads is checked with each request.
    """
    try:
        destination = guard.parse(url, Anywhere())
        literal = destination.is_address and not guard.public(ipaddress.ip_address(destination.host))
        client.check(url, tenant_id=tenant_id, look_up=False)
    except guard.Refused as refused:
        reason = str(refused)
        raise Invalid(fields={"url": [f"{reason[:1].upper()}{reason[1:]}."]}) from None
    except client.AddressRefused as refused:
        raise Invalid(fields={"url": [refused.message]}) from None
    except client.FetcherUnavailable:
        if literal:
            raise  # only the fetcher knows whether this installation allows such an address
        # Of another one the first delivery shows it.
    return destination.authority
