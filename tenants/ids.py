"""Time-ordered identifiers (RFC 9562, version 7): new rows are adjacent in an index."""

import secrets
import time
import uuid


def uuid7() -> uuid.UUID:
    """Return a UUID whose first 48 bits are Unix milliseconds and whose last 74 bits are random."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
