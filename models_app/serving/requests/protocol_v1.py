"""`POST /v1/models/{name}:predict`: `{"instances": [...]}` in, `{"predictions": [...]}` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from models_app.serving.requests.problems import BadBody, NotJSON, TooLarge

MAX_ROWS = 4096


def parse(body: bytes) -> list[Any]:
    """Return the rows of a body. Raises NotJSON, BadBody, TooLarge."""
    found = load(body)
    if not isinstance(found, dict) or not isinstance(found.get("instances"), list):
        raise BadBody('Send {"instances": [...]}: each an object by column name, or a list in signature order.')
    unknown = sorted(found.keys() - {"instances"})
    if unknown:
        raise BadBody(f'Unknown fields beside "instances": {", ".join(unknown)[:200]}.')
    rows: list[Any] = found["instances"]
    if not rows:
        raise BadBody('"instances" is empty: send at least one row.')
    check_rows(len(rows))
    return rows


def answer(
    predictions: list[Any], prediction_ids: list[str], model_version: str, warnings: Sequence[str] = ()
) -> bytes:
    """Return the body of a response; `warnings` only if there are any."""
    said = {"predictions": predictions, "model_version": model_version, "prediction_ids": prediction_ids}
    return orjson.dumps({**said, "warnings": list(warnings)} if warnings else said)


def load(body: bytes | memoryview) -> Any:
    """Parse JSON. Raises NotJSON, also for NaN and too deep nesting."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJSON(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from error


def check_rows(rows: int) -> None:
    """Raise TooLarge above the cap of rows."""
    if rows > MAX_ROWS:
        raise TooLarge(f"{rows} rows: at most {MAX_ROWS} at once. Send them in parts, or as a batch prediction job.")
