"""One organisation's figures on a running installation: draft invoice, holds, spool."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.scenarios.stack import Stack


def lines_of(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the draft's lines by meter, their quantities as numbers."""
    (invoice,) = stack.get("invoices/")["results"]
    lines = stack.get(f"invoices/{invoice['id']}/lines/")["results"]
    return {line["meter"]: line | {"quantity": Decimal(line["quantity"])} for line in lines}


def explanation(stack: Stack, invoice: str, n: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a line's shares and all its segments."""
    path, cursor, pieces = f"invoices/{invoice}/lines/{n}/explain/", None, []
    while True:
        page = stack.get(path, params={"limit": 200} | ({"cursor": cursor} if cursor else {}))
        pieces += page["results"]
        cursor = page["next"]
        if not cursor:
            return page["shares"], pieces


def held(stack: Stack) -> Decimal:
    """Return the money held now."""
    (budget,) = stack.get("budgets/")["results"]
    return Decimal(budget["held"]["amount"])


def in_use(stack: Stack) -> int:
    """Return the number of slots of the organisation's endpoints."""
    return sum(row["in_use"] for row in stack.get("quotas/")["results"] if row["resource"] == "devices:serving")


def node_of(stack: Stack) -> str:
    """Return the address of the serving node."""
    return f"127.0.0.1:{stack.variables['EXCHEQUER_SERVING_PORT']}"


def spooled(stack: Stack, endpoint: str) -> dict[str, list[tuple[datetime, Decimal]]]:
    """Return the start and counts of each batch of an endpoint, by meter, from the serving node's spool."""
    files = sorted((stack.home / "serving").glob("*/spool/*.[0-9]*"))
    records = [
        json.loads(line[9:]) for file in files for line in file.read_text().splitlines()
    ]  # a checksum before each
    own = [record for record in records if record["endpoint"] == endpoint]
    return {
        meter: sorted((datetime.fromisoformat(record["at"]), Decimal(record[word])) for record in own)
        for meter, word in (("inference_requests", "requests"), ("inference_ms", "ms"))
    }
