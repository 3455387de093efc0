"""Platform events of this app: figures of an organisation that do not agree."""

from tenants.operators.platform_events.catalogue import PlatformEventType, register

DIFFERENCE = "reconciliation.difference"

register(
    PlatformEventType(
        name=DIFFERENCE,
        title="The figures of an organisation do not agree",
        reads="invoices.view",
        acts="invoices.manage",
    )
)
