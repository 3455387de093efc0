"""Number of examples per property: all, with new ones each time, in `make test-nightly`; a fifth in `make test`."""

import os

NIGHT = os.environ.get("NIGHTLY") == "1"


def examples(most: int) -> int:
    """Return `most` by night and a fifth of it by day."""
    return most if NIGHT else most // 5
