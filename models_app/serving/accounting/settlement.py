"""Bringing records to billing so that one which can not be accounted for stands aside and its neighbours do not."""

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

from models_app.serving.backend import Away, Backend, RecordsRefused

log = structlog.get_logger(__name__)

Record = Mapping[str, Any]
ASIDE = ".refused"
TAKEN = ".replay"


@dataclass(slots=True)
class SettlementOutcome:
    """`ended`: holds that pay for nothing more. `refused`: what can not be accounted for, and why."""

    ended: set[str] = field(default_factory=set)
    refused: list[tuple[Record, str]] = field(default_factory=list)


def settle(backend: Backend, tenant_id: UUID, boot: UUID, records: Sequence[Record]) -> SettlementOutcome:
    """Account for records of one tenant; doing so again changes nothing. Raises Away, after which it is done again.

    What is refused is found by halving, so that its neighbours are accounted for.
    """
    outcome = SettlementOutcome()
    _halve(backend, tenant_id, boot, list(records), outcome)
    return outcome


def _halve(backend: Backend, tenant_id: UUID, boot: UUID, records: list[Record], outcome: SettlementOutcome) -> None:
    if not records:
        return
    try:
        outcome.ended |= backend.settle(tenant_id, boot, records)
    except Away:
        raise
    except RecordsRefused as error:
        bad = [record for record in records if record["n"] in error.reasons] or records
        outcome.refused += [(record, error.reasons.get(record["n"], str(error))) for record in bad]
        _halve(backend, tenant_id, boot, [record for record in records if record not in bad], outcome)
    except Exception as error:  # the database took offence at a value, or a record is not what it should be
        if len(records) == 1:
            log.exception("record.not_settled", record=records[0].get("n"))
            outcome.refused.append((records[0], repr(error)))
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            _halve(backend, tenant_id, boot, half, outcome)


def put_aside(folder: Path, boot: UUID, refused: Sequence[tuple[Record, str]]) -> None:
    """Keep records that can not be accounted for where an operator finds them."""
    if not refused:
        return
    log.error("books.set_aside", batches=len(refused), reason=refused[0][1][:500])
    lines = [orjson.dumps({**record, "boot": str(boot), "reason": why[:500]}) + b"\n" for record, why in refused]
    path = folder / f"{boot}{ASIDE}"
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                file.write(b"".join(lines))
                return  # otherwise a replay took the file away between opening and locking it


def replay(backend: Backend, folder: Path) -> tuple[int, int]:
    """Account for what was put aside in a node's spool; return how many records were, and how many still can not be.

    The node may run. What still can not be accounted for is put aside again. Raises Away, nothing lost.
    """
    done = left = 0
    for kept in sorted(folder.glob(f"*{ASIDE}")):
        kept.replace(kept.with_suffix(f"{TAKEN}{len(list(folder.glob(f'{kept.stem}{TAKEN}*')))}"))
    for taken in sorted(folder.glob(f"*{TAKEN}*")):
        boot = UUID(taken.name.partition(".")[0])
        by_tenant: dict[UUID, list[Record]] = {}
        with taken.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # who still writes into it is waited for
            for line in file:
                record = orjson.loads(line)
                by_tenant.setdefault(UUID(record["tenant"]), []).append(record)
        for tenant_id, records in by_tenant.items():
            refused = settle(backend, tenant_id, boot, records).refused
            put_aside(folder, boot, refused)
            done, left = done + len(records) - len(refused), left + len(refused)
        taken.unlink()
    return done, left
