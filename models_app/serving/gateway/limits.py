"""What the bodies of one node may hold, and its responses until they are read."""

from __future__ import annotations

from models_app.serving.requests import problems
from tenants.asgi.bodies import Body, Limits

MAX_BODY = 8 * 1024**2
LIMITS = Limits(
    body=MAX_BODY,
    too_large=lambda: problems.TooLarge(f"At most {MAX_BODY:,} bytes are taken."),
    of_key=32 * 1024**2,
    in_all=256 * 1024**2,
    discard_s=10,
    discarded=64 * 1024**2,
)
#: A body and its response together fit into the limit of one key.
MAX_ANSWER = LIMITS.of_key - MAX_BODY


def count_answer(body: Body, count: int) -> None:
    """Count the bytes of the response until its body is released. Raises TooLarge, TooManyBytes, Unavailable.

    Called by the worker thread while the event loop waits for it.
    """
    if count > MAX_ANSWER:
        raise problems.TooLarge(
            f"The answer would have {count:,} bytes; at most {MAX_ANSWER:,} are sent. Send fewer rows at once."
        )
    body.count(count)
