"""Replay a trace at four loads; print the table of decision 28 and draw its picture: `plot_simulation.py TRACE PICTURE`."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compute.simulation.report import Comparison, compare
from compute.simulation.traces import read

LOADS = (0.3, 0.5, 0.7, 0.9)
WIDTH, HEIGHT, LEFT, FOOT = 640, 320, 60, 50
SHORTEST_H, LONGEST_H = 0.001, 100.0
LINES = (("static", "#b54708", "behind walls"), ("pooled", "#175cd3", "one pool"), ("oracle", "#667085", "the limit"))


def main() -> None:
    """Print the table and write the picture."""
    trace, picture = map(Path, sys.argv[1:3])
    jobs = read(trace)
    found = {load: compare(jobs, load) for load in LOADS}
    for load, one in found.items():
        before, after = one.static.mean_queue_s / 3600, one.pooled.mean_queue_s / 3600
        print(  # noqa: T201
            f"| {load} | {before:.2f} h -> {after:.3f} h | {one.static.mean_jct_s / one.pooled.mean_jct_s:.2f}x "
            f"| {one.worst_tenant_jct_ratio:.2f}x | {one.pooled.stops / one.jobs:.1f} |"
        )
    picture.write_text(drawn(found), encoding="utf-8")


def drawn(found: dict[float, Comparison]) -> str:
    """Return the waits by load as SVG, on a logarithmic scale; what is below four seconds lies on its foot."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" font-size="13">',
        "<title>Hours until the first start, by the load of static quotas</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for hours, label in ((0.001, "0"), (0.01, "36 s"), (0.1, "6 min"), (1.0, "1 h"), (10.0, "10 h"), (100.0, "100 h")):
        y = _y(hours)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 110}" stroke="#d0d5dd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#344054">{label}</text>')
    parts += [
        f'<text x="{_x(load):.1f}" y="{HEIGHT - 24}" text-anchor="middle" fill="#344054">{load}</text>'
        for load in LOADS
    ]
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}" fill="#344054">load of static quotas</text>')
    for place, (name, colour, label) in enumerate(LINES):
        points = [(_x(load), _y(getattr(one, name).mean_queue_s / 3600)) for load, one in found.items()]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{WIDTH - 100}" y="{40 + 20 * place}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _x(load: float) -> float:
    return LEFT + 30 + (load - LOADS[0]) / (LOADS[-1] - LOADS[0]) * (WIDTH - LEFT - 170)


def _y(hours: float) -> float:
    part = math.log(max(hours, SHORTEST_H) / SHORTEST_H) / math.log(LONGEST_H / SHORTEST_H)
    return HEIGHT - FOOT - part * (HEIGHT - FOOT - 20)


if __name__ == "__main__":
    main()
