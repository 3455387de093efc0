"""Small charts rendered on the server as SVG: no script, themed by classes, readable without colour.

Pure functions of their numbers. A chart has a title for assistive technology; the page shows the same numbers as a
table beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

MAX_POINTS = 400


@dataclass(frozen=True)
class Box:
    """The drawing area inside a view box, in SVG units."""

    width: int = 640
    height: int = 220
    left: int = 46
    right: int = 12
    top: int = 10
    bottom: int = 26

    def x(self, share: float) -> float:
        """Return the horizontal position of a share of one."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Return the vertical position of a share of one, counted from below."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round values that cover `low` to `high` in about `count` steps."""
    if high - low <= max(abs(low), abs(high), 1e-9) * 1e-9:
        high = low + max(1.0, abs(low) * 1e-3)
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10, 20) if m * magnitude >= raw)
    first = math.floor(low / step) * step
    values = [first]
    while values[-1] < high - step * 1e-9:
        values.append(first + step * len(values))
    return values


def thin(points: Sequence[tuple[float, float]], most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """Keep at most `most` points, evenly chosen, the last one always among them."""
    if len(points) <= most:
        return list(points)
    stride = len(points) / most
    kept = [points[int(i * stride)] for i in range(most)]
    return [*kept[:-1], points[-1]]


def label(value: float) -> str:
    """Format an axis value shortly."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def line_chart(series: Mapping[str, Sequence[tuple[float, float]]], *, title: str, x_label: str = "") -> SafeString:
    """Draw up to four lines over one axis; empty series are left out, without data nothing is drawn."""
    drawn = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    drawn = {name: thin(points) for name, points in drawn.items() if points}
    if not drawn:
        return mark_safe("")
    box = Box()
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    low_x, high_x = min(xs), max(xs)
    low, high = min(ys), max(ys)
    if low == high or low < 0 or low < high * 0.5:
        low, high = min(0.0, low), max(0.0, high) if low == high else high  # one epoch: a share ends at one
    marks = ticks(low, high)
    low_y, high_y = marks[0], marks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        share_x = 0.5 if high_x == low_x else (x - low_x) / (high_x - low_x)
        return box.x(share_x), box.y((y - low_y) / (high_y - low_y))

    parts = [_grid(box, marks, low_y, high_y), _x_labels(box, low_x, high_x, x_label)]
    for number, points in enumerate(drawn.values(), start=1):
        placed = [place(x, y) for x, y in points]
        if len(placed) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(format_html('<polyline class="line s{}" points="{}"/>', number, path))
        x, y = placed[-1]
        parts.append(format_html('<circle class="dot f{}" cx="{}" cy="{}" r="4"/>', number, f"{x:.1f}", f"{y:.1f}"))
    return _plot(box, title, parts)


def bar_chart(bars: Sequence[tuple[str, float]], *, title: str) -> SafeString:
    """Draw a small histogram: one bar for each label, which is its title."""
    if not bars:
        return mark_safe("")
    box = Box(width=220, height=44, left=1, right=1, top=2, bottom=2)
    highest = max(value for _, value in bars) or 1.0
    slot = 1 / len(bars)
    gap = min(0.12 * slot, 0.008)
    parts = [
        format_html(
            '<rect class="f1" x="{}" y="{}" width="{}" height="{}" rx="1"><title>{}: {}</title></rect>',
            f"{box.x(i * slot + gap):.1f}",
            f"{box.y(value / highest):.1f}",
            f"{box.x(slot - 2 * gap) - box.left:.1f}",
            f"{max(0.6 if value else 0.0, box.y(0) - box.y(value / highest)):.1f}",
            name,
            f"{value:,.0f}",
        )
        for i, (name, value) in enumerate(bars)
    ]
    base = f"{box.y(0):.1f}"
    parts.append(format_html('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>', box.x(0), box.x(1), base, base))
    return _svg(box, title, parts, css="x-chart x-histogram")


def spark(values: Sequence[float], *, title: str) -> SafeString:
    """Draw a line of a few values without axes, for a tile."""
    if len(values) < 2:
        return mark_safe("")
    box = Box(width=144, height=32, left=2, right=4, top=4, bottom=4)
    highest = max(values) or 1.0
    placed = [(box.x(i / (len(values) - 1)), box.y(value / highest)) for i, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return _svg(box, title, [format_html('<polyline class="line s1" points="{}"/>', path)], css="x-chart x-spark")


def _grid(box: Box, marks: Sequence[float], low: float, high: float) -> SafeString:
    rows = ((f"{box.y((value - low) / (high - low)):.1f}", label(value)) for value in marks)
    return format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" dy=".35em" text-anchor="end">{}</text>',
        ((box.x(0), box.x(1), y, y, box.left - 8, y, text) for y, text in rows),
    )


def _x_labels(box: Box, low: float, high: float, name: str) -> SafeString:
    y = box.height - 6
    middle = format_html('<text x="{}" y="{}" text-anchor="middle">{}</text>', box.x(0.5), y, name) if name else ""
    first = format_html('<text x="{}" y="{}">{}</text>', box.x(0), y, label(low))
    last = (
        format_html('<text x="{}" y="{}" text-anchor="end">{}</text>', box.x(1), y, label(high)) if high > low else ""
    )
    return format_html("{}{}{}", first, middle, last)


def _plot(box: Box, title: str, parts: Sequence[SafeString]) -> SafeString:
    """Draw a chart with axes inside a frame whose width lets the style sheet scale the text."""
    return format_html('<div class="x-plot">{}</div>', _svg(box, title, parts))


def _svg(box: Box, title: str, parts: Sequence[SafeString], css: str = "x-chart") -> SafeString:
    body = mark_safe("".join(parts))  # noqa: S308  each part was escaped above
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="xMinYMid meet">{}</svg>',
        css,
        box.width,
        box.height,
        title,
        body,
    )


def colour(name: str, number: int, colours: Mapping[str, int] | None) -> int:
    """Return the number of a series' colour: its index, unless `colours` fixes it everywhere."""
    return (colours or {}).get(name, number)


def stacked_bars(
    days: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    title: str,
    limit: float | None = None,
    colours: Mapping[str, int] | None = None,
) -> SafeString:
    """Stack up to four series by day; a dashed line marks `limit`, if given. `colours`: see `colour`."""
    sums = [sum(values[n] for values in series.values()) for n in range(len(days))]
    if not days or not any(sums):
        return mark_safe("")
    box = Box(width=640, height=230, left=52)
    marks = ticks(0.0, max(*sums, limit or 0.0))
    if all(value == int(value) for values in series.values() for value in values):  # counts have no halves
        marks = [mark for mark in marks if mark == int(mark)]
    high = marks[-1]
    slot = 1 / len(days)
    parts = [_grid(box, marks, 0.0, high)]
    for n, day in enumerate(days):
        below = 0.0
        for number, (name, values) in enumerate(series.items(), start=1):
            if values[n] <= 0:
                continue
            top, bottom = box.y((below + values[n]) / high), box.y(below / high)
            parts.append(
                format_html(
                    '<rect class="f{}" x="{}" y="{}" width="{}" height="{}" rx="1.5"><title>{}, {}: {}</title></rect>',
                    colour(name, number, colours),
                    f"{box.x(n * slot + 0.14 * slot):.1f}",
                    f"{top:.1f}",
                    f"{box.x(0.72 * slot) - box.left:.1f}",
                    f"{max(bottom - top - 0.7, 0.5):.1f}",
                    day,
                    name,
                    label(values[n]),
                )
            )
            below += values[n]
    if limit is not None:
        y = f"{box.y(limit / high):.1f}"
        parts.append(format_html('<line class="limit" x1="{}" x2="{}" y1="{}" y2="{}"/>', box.x(0), box.x(1), y, y))
    parts.append(format_html('<text x="{}" y="{}">{}</text>', box.x(0), box.height - 6, days[0]))
    parts.append(format_html('<text x="{}" y="{}" text-anchor="end">{}</text>', box.x(1), box.height - 6, days[-1]))
    return _plot(box, title, parts)
