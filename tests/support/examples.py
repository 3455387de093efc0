"""How many examples a property is tried on: all of them, new ones each time, by `make test-nightly`; a fifth by `make test`."""

import os

NIGHT = os.environ.get("NIGHTLY") == "1"


def examples(most: int) -> int:
    """Return `most` by night and a fifth of it by day."""
    return most if NIGHT else most // 5
