"""A spooled record as usage, the basis of billing. Imports no torch, so that accounting may import it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.metering.metering import Interval
from billing.rating.tags import as_dims
from models_app.endpoints.reservations import COMPUTE_MS, REQUESTS

SOURCE = "serving"
NO_TAGS: Mapping[str, str] = {}


def intervals_of(record: Mapping[str, Any], boot: UUID, tags: Mapping[str, str] = NO_TAGS) -> list[Interval]:
    """Return a record as usage: the requests of a batch and its milliseconds, with the tags of its endpoint."""
    start = datetime.fromisoformat(record["at"])
    key = f"endpoint:{record['endpoint']}:{boot}:{record['n']}"
    return [
        Interval(
            key=key + suffix,
            meter=meter,
            resource=f"endpoint:{record['endpoint']}",
            project_id=UUID(record["project"]),
            start=start,
            end=start + timedelta(microseconds=record["us"]),
            dims={"endpoint": record["name"], **as_dims(tags)},
            source=SOURCE,
            quantity=Decimal(record[name]),
        )
        for suffix, meter, name in (("", REQUESTS, "requests"), (":ms", COMPUTE_MS, "ms"))
    ]
