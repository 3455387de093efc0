"""Rules about templates and style sheets."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHEETS = sorted((ROOT / "static" / "app").glob("*.css"))
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
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


def test_no_css_selector_is_repeated() -> None:
    counts = Counter(one for sheet in SHEETS for one in _selectors(_bare(sheet)))

    assert len(counts) > 300
    assert [one for one, times in counts.items() if times > 1] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: str(one.relative_to(ROOT / "templates")))
def test_no_line_of_a_template_is_too_long(template: Path) -> None:
    lines = template.read_text(encoding="utf-8").splitlines()

    assert [number for number, line in enumerate(lines, start=1) if len(line) > 140] == []


def test_parts_that_have_a_tag_are_drawn_by_it() -> None:
    by_hand = re.compile(r'class="x-(?:banner|table-wrap|tile|empty)[ "]|class="x-confirm"')
    found = [
        f"{template.relative_to(ROOT)}: {part[0]}"
        for template in TEMPLATES
        if template.name != "keys.html"
        for part in by_hand.finditer(template.read_text(encoding="utf-8"))
    ]

    assert found == [], "use the tags of dashboards/templatetags/blocks.py"
