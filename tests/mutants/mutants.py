"""Mutants of the code that decides who may do what: one small change each, by position in the file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """A changed text of one file. `what` names the change and its line."""

    path: str
    what: str
    text: str


def mutants_of(path: Path, name: str) -> Iterator[Mutant]:
    """Yield the mutants of a module: checks dropped, conditions inverted, sides of a condition left out."""
    text = path.read_text()
    module = ast.parse(text)
    said = set(_annotations(module))
    for node in ast.walk(module):
        if node in said:
            continue  # nobody evaluates it: a change there changes nothing
        if isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Call | ast.Name | ast.Attribute):
            yield _mutant(
                text, name, node.test, f"“{ast.unparse(node.test)}” inverted", f"not ({ast.unparse(node.test)})"
            )
        for what, replaced in _changes(node):
            yield _mutant(text, name, node, what, replaced)


def _annotations(module: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(module):
        for name in ("annotation", "returns"):
            if annotation := getattr(node, name, None):
                yield from ast.walk(annotation)


def _mutant(text: str, name: str, node: ast.AST, what: str, replaced: str) -> Mutant:
    start, end = _span(text, node)
    return Mutant(name, f"{what} at line {getattr(node, 'lineno', 0)}", text[:start] + replaced + text[end:])


def _changes(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = ast.unparse(node.value.func)
        if called.rpartition(".")[2] in (
            "require",
            "require_somewhere",
            "check_within",
            "check_lasting",
            "refuse_self",
        ):
            yield f"{called}() dropped", "pass"
    if isinstance(node, ast.BoolOp):
        sides = [ast.unparse(value) for value in node.values]
        for number in range(len(sides)):
            left = [f"({side})" for at, side in enumerate(sides) if at != number]
            joint = " and " if isinstance(node.op, ast.And) else " or "
            yield f"“{sides[number]}” left out", f"({joint.join(left)})"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield f"“{ast.unparse(node)}” inverted", f"({ast.unparse(node.operand)})"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield f"“{ast.unparse(node)}” without its right side", f"({ast.unparse(node.left)})"
        yield f"“{ast.unparse(node)}” without its left side", f"({ast.unparse(node.right)})"
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        opposite = {ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is", ast.Eq: "!=", ast.NotEq: "=="}
        if sign := opposite.get(type(node.ops[0])):
            yield (
                f"“{ast.unparse(node)}” inverted",
                f"({ast.unparse(node.left)} {sign} {ast.unparse(node.comparators[0])})",
            )


def _span(text: str, node: ast.AST) -> tuple[int, int]:
    lines = text.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:  # columns count bytes
        before = sum(len(one) for one in lines[: line - 1])
        return before + len(lines[line - 1].encode()[:column].decode())

    return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
