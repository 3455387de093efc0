"""What a row says about one stored file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """Where something lies, what it is in the clear (sha256, hex; size in bytes), and whether it is encrypted there.

    What was stored before there was encryption is plain until `encrypt_objects` has been by.
    """

    key: str
    sha256: str
    size: int
    encrypted: bool = False

    def to_json(self) -> dict[str, str | int | bool]:
        """Return it as it is kept in a JSON column."""
        return {"key": self.key, "sha256": self.sha256, "size": self.size, "encrypted": self.encrypted}
