"""Identifiers (RFC 9562): time-ordered ones, adjacent in an index (version 7), and ones made from a digest (version 8)."""

import secrets
import time
import uuid


def uuid7() -> uuid.UUID:
    """Return a UUID whose first 48 bits are Unix milliseconds and whose last 74 bits are random."""
    milliseconds = time.time_ns() // 1_000_000
    return _marked((milliseconds & (2**48 - 1)) << 80 | secrets.randbits(80), version=7)


def uuid8(digest: bytes) -> uuid.UUID:
    """Return a UUID of the first 16 bytes of a digest; 122 of their bits remain."""
    return _marked(int.from_bytes(digest[:16], "big"), version=8)


def _marked(value: int, *, version: int) -> uuid.UUID:
    value = value & ~(0xF << 76) | version << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)
