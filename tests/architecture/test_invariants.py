"""Every claim in the apps' READMEs has a test; `docs/invariants.md` collects them and is current."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.architecture.trees import parsed

pytestmark = pytest.mark.xdist_group("code")

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("tenants", "billing", "compute", "models_app", "dashboards", "deploy")
ROW = re.compile(r"^\| ([A-Z]+\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def rows_of(path: Path) -> list[tuple[str, ...]]:
    return ROW.findall(path.read_text()) if path.is_file() else []


@cache
def defined_in(path: Path) -> set[str]:
    tree = parsed(path)
    named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return named | {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def test_every_claim_names_tests_that_exist() -> None:
    claims = [(room, *row) for room in ROOMS for row in rows_of(ROOT / room / "README.md")]
    faults = []
    for room, row_id, _, _, named in claims:
        references = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", named)
        if not references:
            faults.append(f"{room} {row_id}: no test")
        for file, name in references:
            if not (ROOT / file).is_file() or name not in defined_in(ROOT / file):
                faults.append(f"{room} {row_id}: {file}::{name} does not exist")
    assert len(claims) >= 20
    assert faults == []


def test_an_id_has_one_meaning_in_all_rooms() -> None:
    ids = [row[0] for room in ROOMS for row in rows_of(ROOT / room / "README.md")]
    assert sorted({one for one in ids if ids.count(one) > 1}) == []


def test_the_gathered_page_is_current() -> None:
    claims = {row for room in ROOMS for row in rows_of(ROOT / room / "README.md")}
    assert set(rows_of(ROOT / "docs/invariants.md")) == claims
