"""Rules about the test suite: which worker and which run takes a test."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.xdist_group("grouped")
def test_tests_of_a_group_share_a_worker(request: pytest.FixtureRequest) -> None:
    """pytest-xdist detects a group by the suffix of the name; without it, groups are silently split."""
    assert request.node.nodeid.endswith("@grouped") == ("PYTEST_XDIST_WORKER" in os.environ)


def test_what_is_made_for_a_whole_module_is_made_by_one_worker() -> None:
    """pytest-xdist distributes ungrouped tests one by one, so each worker would set up the module's fixtures again."""
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if re.search(r'^@pytest\.fixture\(.*scope="(module|package|class)"', text := path.read_text(), re.M)
        and not re.search(r"^pytestmark = .*pytest\.mark\.xdist_group\(", text, re.M)
    ]
    assert found == []
