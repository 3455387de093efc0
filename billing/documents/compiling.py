"""Typeset a document in a child process with limits of its own; the same document gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore
from typing import Literal

import structlog

from billing.documents.sheet import Sheet
from tenants.errors import RateLimited, Unavailable

HERE = Path(__file__).resolve().parent
CHILD, TEMPLATE = HERE / "typeset.py", HERE / "document.typ"
CPU_S, WALL_S = 20, 40
MEMORY_BYTES = 1024**3
AT_ONCE, WAIT_S = 2, 5
"""Children per web process: each takes a core and up to a gibibyte."""

_places = BoundedSemaphore(AT_ONCE)
log = structlog.get_logger(__name__)


class TooManyDocuments(RateLimited):
    """Too many documents are being made. Try again in a few seconds."""

    code = "too_many_documents"

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class DocumentFailed(Unavailable):
    """The document could not be made. Nothing was changed; try again, or use the CSV."""

    code = "document_failed"


def typeset(sheet: Sheet, form: Literal["pdf", "png"] = "pdf") -> bytes:
    """Return a document as PDF, or its pages as PNG one after the other. Raises TooManyDocuments, DocumentFailed."""
    asked = {"data": sheet.shown, "made": int(sheet.made.timestamp()), "form": form}
    command = [sys.executable, "-I", str(CHILD), str(TEMPLATE), str(CPU_S), str(MEMORY_BYTES)]
    with _place(), TemporaryDirectory(prefix="exchequer-document-") as empty:
        try:
            ended = subprocess.run(
                command,
                input=json.dumps(asked).encode(),
                capture_output=True,
                cwd=empty,
                # Nothing of this process's environment; one thread, so that memory is the document's alone.
                env={"RAYON_NUM_THREADS": "1"},
                timeout=WALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.error("document.failed", title=sheet.title, fault="out of time")
            raise DocumentFailed from None
    if ended.returncode or not ended.stdout:
        fault = ended.stderr.decode(errors="replace")[-2_000:]
        log.error("document.failed", title=sheet.title, exit_code=ended.returncode, fault=fault)
        raise DocumentFailed
    return ended.stdout


@contextmanager
def _place() -> Iterator[None]:
    if not _places.acquire(timeout=WAIT_S):
        raise TooManyDocuments
    try:
        yield
    finally:
        _places.release()
