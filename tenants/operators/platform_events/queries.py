"""Reads of platform webhooks and their deliveries."""

from tenants.models import PlatformDelivery, PlatformWebhook
from tenants.webhooks.queries import Reads

PLATFORM = Reads(PlatformWebhook, PlatformDelivery)
