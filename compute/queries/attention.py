"""What of the fleet needs an operator's attention."""

from compute.models import Node
from compute.queries.capacity import seen_since
from tenants.operators.attention import Matter


def silent() -> list[Matter]:
    """Return how many hosts are silent, for the console's home page: one statement."""
    number = Node.objects.filter(last_seen_at__lte=seen_since()).count()
    return [Matter(text="Hosts without a heartbeat", number=number, page="operator-fleet", level="bad")]
