"""What the documents tell people to type is there: commands, make targets, settings, files."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from config.env import NAMES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/**/README.md")]
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES if page.name != "CHANGELOG.md"}
EXTRA = {"PYTHON", "ONLY", "BENCH_PEERS", "PY"}


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_what_a_page_tells_people_to_type_exists(page: str) -> None:
    text = TEXTS[page]
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z-]+)", text)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands())
    named = {name.removesuffix("_FILE") for name in re.findall(r"\bEXCHEQUER_[A-Z_]+[A-Z]\b", text)}
    assert named <= {name.removesuffix("_FILE") for name in NAMES}
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
