"""Days, months and times that a calendar has, and that nothing can be counted on from."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

DAYS = ("9999-12-31", "0001-01-01")
MONTHS = ("9999-12", "0001-01")
TIMES = ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00")
DATED = re.compile(r"(.*_)?(period|month|from|to|since|until|time|at|on)")


def put_far_days(case: Any, draw: Callable[..., Any]) -> bool:
    """Put such a value into each dated parameter and field of a generated request; return whether it has one."""
    asked = {one.name for one in case.operation.query if DATED.fullmatch(one.name)}
    if asked:
        case.query = {**(case.query or {}), **{name: draw(far()) for name in sorted(asked)}}
    found = bool(asked)
    for given in (case.path_parameters, case.body):
        if isinstance(given, dict):
            dated = {name: draw(far()) for name in sorted(given) if DATED.fullmatch(name)}
            given.update(dated)
            found = found or bool(dated)
    return found


def far() -> st.SearchStrategy[str]:
    """Return how one is drawn."""
    return st.sampled_from([*DAYS, *MONTHS, *TIMES])
