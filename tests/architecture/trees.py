"""Syntax trees of files, parsed once: the rules that need them are one group, `code`, so that one worker parses."""

import ast
from functools import cache
from pathlib import Path


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file, which nobody may change."""
    return ast.parse(path.read_text())
