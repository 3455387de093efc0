"""One installation for all scenarios: its start takes longer than most of their steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.stack import Stack, running_stack


@pytest.fixture(scope="package")
def stack(django_db_setup: None) -> Iterator[Stack]:
    """`make up` on an empty home, with the organisation `lab`. A scenario that counts lines makes its own organisation.

    After the session's own database: then this one finds its migrated data, and does not migrate beside it.
    """
    with running_stack() as running:
        yield running
