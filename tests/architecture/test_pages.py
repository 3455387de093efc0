"""Rules about templates and style sheets."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHEETS = sorted((ROOT / "static" / "app").glob("*.css"))
COLOUR = re.compile(
    r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|oklch|color)a?\(|:[^;{]*\b(?:white|black|red|green|gray|grey|blue)\b", re.I
)


def _bare(sheet: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.S)


def _selectors(css: str, around: str = "") -> list[str]:
    """Return each selector with the conditions around it."""
    found, start = [], 0
    while (opens := css.find("{", start)) >= 0:
        head = " ".join(css[start:opens].split())
        depth, end = 1, opens + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(css[end], 0)
            end += 1
        if head.startswith(("@media", "@container", "@supports")):
            found += _selectors(css[opens + 1 : end - 1], f"{around}{head} ")
        elif not head.startswith("@"):
            found.append(f"{around}{head}")
        start = end
    return found


@pytest.mark.parametrize("sheet", [one for one in SHEETS if one.name != "tokens.css"], ids=lambda one: one.name)
def test_only_the_tokens_name_colours(sheet: Path) -> None:
    named = [
        line.strip()
        for line in _bare(sheet).splitlines()
        if ":" in line and COLOUR.search(line.partition("{")[2] or line)
    ]

    assert named == [], "name the colour in tokens.css, for both themes"


def test_no_rule_stands_twice() -> None:
    counts = Counter(one for sheet in SHEETS for one in _selectors(_bare(sheet)))

    assert len(counts) > 300
    assert [one for one, times in counts.items() if times > 1] == []
