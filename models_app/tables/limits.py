"""Caps on what one uploaded file may hold."""

from __future__ import annotations

MIB = 1024**2

MAX_UNPACKED_BYTES = 1024 * MIB
MAX_RATIO = 100
RATIO_FROM_BYTES = 64 * MIB
"""Below this unpacked size, a constant column may compress without limit."""

DECODED_FREE_BYTES = 500 * MIB
"""Up to this size, a file may be any factor smaller than its decoded columns."""

MAX_COLUMNS = 2000
MAX_ROWS = 5_000_000
MAX_ROW_BYTES = 4 * MIB
MAX_VALUE_BYTES = 65_536
MAX_NAME_LENGTH = 200
MAX_NUMBER = 1e30
"""Larger numbers overflow when squared in single precision."""
