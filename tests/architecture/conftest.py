"""Syntax trees are kept for the rules of this folder only: they are large, and parsing is nearly all the work."""

from collections.abc import Iterator

import pytest

from tests.architecture.trees import parsed


@pytest.fixture(scope="package", autouse=True)
def _trees() -> Iterator[None]:
    """Forget the trees after the last rule."""
    yield
    parsed.cache_clear()
