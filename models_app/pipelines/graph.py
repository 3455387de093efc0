"""Lay the steps of a run out as a graph: columns by how many steps come before, and lines from what each one needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models_app.pipelines.reading import StepRow

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 150, 52, 46, 18, 4
TONES = {"succeeded": "good", "running": "busy", "failed": "bad", "waiting": "wait"}


@dataclass(frozen=True, kw_only=True)
class Box:
    """One step: its place, in pixels, and its tone."""

    step: StepRow
    x: int
    y: int
    tone: str

    @property
    def middle(self) -> int:
        """Return where its texts are centred."""
        return self.x + WIDTH // 2


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What the page draws. `lines` are paths from the right of a box to the left of another."""

    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    width: int
    height: int


def draw(steps: Sequence[StepRow]) -> Graph:
    """Return the drawing of steps, each of which comes after what it needs."""
    column: dict[str, int] = {}
    rows: dict[int, int] = {}
    boxes: dict[str, Box] = {}
    for step in steps:
        column[step.name] = max((column[need] + 1 for need in step.needs), default=0)
        row = rows.get(column[step.name], 0)
        rows[column[step.name]] = row + 1
        x, y = EDGE + column[step.name] * (WIDTH + GAP_X), EDGE + row * (HEIGHT + GAP_Y)
        boxes[step.name] = Box(step=step, x=x, y=y, tone=TONES.get(step.state, "idle"))
    lines = []
    for box in boxes.values():
        for need in box.step.needs:
            start, bend = boxes[need], GAP_X // 2
            x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, box.x, box.y + HEIGHT // 2
            lines.append(f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}")
    width = 2 * EDGE + (max(column.values(), default=0) + 1) * (WIDTH + GAP_X) - GAP_X
    height = 2 * EDGE + max(rows.values(), default=1) * (HEIGHT + GAP_Y) - GAP_Y
    return Graph(boxes=tuple(boxes.values()), lines=tuple(lines), width=width, height=height)
