"""`docs/invariants.md` claims nothing that no test shows."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = re.compile(r"^\| ([A-Z]+\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def defined_in(path: Path) -> set[str]:
    return {
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_every_row_names_tests_that_exist() -> None:
    rows = ROW.findall((ROOT / "docs/invariants.md").read_text())
    faults = []
    for row_id, _, _, named in rows:
        references = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", named)
        if not references:
            faults.append(f"{row_id}: no test")
        for file, name in references:
            if not (ROOT / file).is_file() or name not in defined_in(ROOT / file):
                faults.append(f"{row_id}: {file}::{name} does not exist")
    assert len(rows) >= 20
    assert faults == []
