"""Reads of platform webhooks and their deliveries. The console cannot open an address: it shows the host."""

from __future__ import annotations

from tenants.models import PlatformDelivery, PlatformWebhook
from tenants.webhooks.queries import Reads, ReceiverRow, without_address


def _row(one: PlatformWebhook) -> ReceiverRow:
    return ReceiverRow(**without_address(one))


PLATFORM: Reads[ReceiverRow] = Reads(PlatformWebhook, PlatformDelivery, _row)
