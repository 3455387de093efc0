"""Usage for tests of billing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from billing.metering import Interval

DIMS = {"device_class": "cpu", "tier": "on_demand"}


def interval(project_id: UUID, start: datetime, seconds: int, key: str = "", **more: Any) -> Interval:
    """Return an interval of device seconds with a key of its own."""
    return Interval(
        **{
            "key": key or uuid4().hex,
            "meter": "device_seconds",
            "resource": "device:1",
            "project_id": project_id,
            "start": start,
            "end": start + timedelta(seconds=seconds),
            "dims": DIMS,
            **more,
        }
    )
