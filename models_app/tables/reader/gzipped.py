"""Decompress gzip files in bounded space."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from models_app.runner_protocol import InputError
from models_app.tables.limits import MAX_RATIO, MAX_UNPACKED_BYTES, MIB, RATIO_FROM_BYTES

MAGIC = b"\x1f\x8b"


def unpacked(path: Path, target: Path) -> Path:
    """Return the decompressed file at `target`, or the file itself if it is not gzip. Raises InputError."""
    with path.open("rb") as file:
        if file.read(2) != MAGIC:
            return path
    size, written = path.stat().st_size, 0
    try:
        with gzip.open(path, "rb") as file, target.open("wb") as out:
            while chunk := file.read(MIB):
                written += out.write(chunk)
                if written > MAX_UNPACKED_BYTES or (written > RATIO_FROM_BYTES and written > MAX_RATIO * size):
                    raise InputError("too_big_unpacked", "The unpacked file is too large. Use fewer rows or columns.")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("bad_gzip", "The gzip file is cut off or damaged. Compress and upload it again.") from error
    return target
