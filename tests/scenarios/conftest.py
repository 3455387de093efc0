"""One installation for all scenarios: its start takes longer than most of their steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.stack import Stack, running_stack


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """`make up` on an empty home, with the organisation `lab`. A scenario that counts lines makes its own organisation."""
    with running_stack() as running:
        yield running
