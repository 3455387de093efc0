"""Description of a stored file in a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """Location of a file, its plaintext (sha256, hex; size in bytes), and whether it is stored encrypted.

    Files stored before encryption was introduced stay plain until `encrypt_objects` has processed them.
    """

    key: str
    sha256: str
    size: int
    encrypted: bool = False

    def to_json(self) -> dict[str, str | int | bool]:
        """Return the value of its JSON column."""
        return {"key": self.key, "sha256": self.sha256, "size": self.size, "encrypted": self.encrypted}
