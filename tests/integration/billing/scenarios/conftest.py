"""After each scenario a run of its months finds the figures that its tenants see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _runs_agree(db: None, request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if not request.session.testsfailed:
        from tests.support.billing.runs import check_that_runs_agree

        check_that_runs_agree()
