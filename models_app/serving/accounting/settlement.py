"""Settle records with billing so that a rejected record is quarantined and the rest is accounted for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog

from models_app.serving.backend import Backend, BackendUnavailable, RecordsRefused

log = structlog.get_logger(__name__)

Record = Mapping[str, Any]
REFUSED_SUFFIX = ".refused"
TAKEN = ".replay"


@dataclass(slots=True)
class SettlementOutcome:
    """`ended`: holds that pay for nothing more. `refused`: rejected records, with the reason."""

    ended: set[str] = field(default_factory=set)
    refused: list[tuple[Record, str]] = field(default_factory=list)


def settle(backend: Backend, tenant_id: UUID, boot: UUID, records: Sequence[Record]) -> SettlementOutcome:
    """Settle records of one tenant. Idempotent; retried after BackendUnavailable, which it raises if the database is unreachable.

    Rejected records are found by bisection, so that the others are settled.
    """
    outcome = SettlementOutcome()
    _halve(backend, tenant_id, boot, list(records), outcome)
    return outcome


def _halve(backend: Backend, tenant_id: UUID, boot: UUID, records: list[Record], outcome: SettlementOutcome) -> None:
    if not records:
        return
    try:
        outcome.ended |= backend.settle(tenant_id, boot, records)
    except BackendUnavailable:
        raise
    except RecordsRefused as error:
        bad = [record for record in records if record["n"] in error.reasons] or records
        outcome.refused += [(record, error.reasons.get(record["n"], str(error))) for record in bad]
        _halve(backend, tenant_id, boot, [record for record in records if record not in bad], outcome)
    except Exception as error:  # the database rejected a value, or a record is malformed
        if len(records) == 1:
            log.exception("record.not_settled", record=records[0].get("n"))
            outcome.refused.append((records[0], repr(error)))
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            _halve(backend, tenant_id, boot, half, outcome)


def quarantine(folder: Path, boot: UUID, refused: Sequence[tuple[Record, str]]) -> None:
    """Write rejected records to the quarantine, where an operator finds them."""
    if not refused:
        return
    log.error("books.set_aside", batches=len(refused), reason=refused[0][1][:500])
    lines = [orjson.dumps({**record, "boot": str(boot), "reason": why[:500]}) + b"\n" for record, why in refused]
    path = folder / f"{boot}{REFUSED_SUFFIX}"
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                file.write(b"".join(lines))
                return  # otherwise a replay removed the file between opening and locking it


def replay(backend: Backend, folder: Path) -> tuple[int, int]:
    """Settle the quarantined records of a node's spool; return how many succeeded and how many were rejected again.

    The node may be running. Records rejected again stay quarantined. Raises BackendUnavailable; nothing is lost.
    """
    done = left = 0
    for kept in sorted(folder.glob(f"*{REFUSED_SUFFIX}")):
        kept.replace(kept.with_suffix(f"{TAKEN}{len(list(folder.glob(f'{kept.stem}{TAKEN}*')))}"))
    for taken in sorted(folder.glob(f"*{TAKEN}*")):
        boot = UUID(taken.name.partition(".")[0])
        by_tenant: dict[UUID, list[Record]] = {}
        with taken.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # wait for a concurrent writer
            for line in file:
                record = orjson.loads(line)
                by_tenant.setdefault(UUID(record["tenant"]), []).append(record)
        for tenant_id, records in by_tenant.items():
            refused = settle(backend, tenant_id, boot, records).refused
            quarantine(folder, boot, refused)
            done, left = done + len(records) - len(refused), left + len(refused)
        taken.unlink()
    return done, left
