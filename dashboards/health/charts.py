"""Figures of the page `Model health`, as plain dictionaries. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dashboards.spend.charts import INK, PALETTE, PATTERNS, Figure, layout, plain
from models_app.queries import OUTCOMES

NOTICE, ALARM = 0.1, 0.2
MOST_INPUTS = 20


def by_step(
    starts: Sequence[datetime], series: Sequence[tuple[str, Sequence[float]]], *, step: timedelta, unit: str, theme: str
) -> Figure:
    """Stack the requests of each step by outcome."""
    theme = _theme(theme)
    x = [start.isoformat() for start in starts]
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": x,
            "y": list(values),
            "width": step.total_seconds() * 850,
            "offset": 0,
            "marker": _marker(theme, OUTCOMES[name] - 1, number),
            "hovertemplate": "%{y:,}",
        }
        for number, (name, values) in enumerate(series)
    ]
    figure = layout(theme, unit=unit)
    figure["xaxis"].update(_times(starts, step))
    return {"data": bars, "layout": {**figure, "barmode": "stack"}}


def lines(
    starts: Sequence[datetime],
    series: Sequence[tuple[str, Sequence[float | None]]],
    *,
    step: timedelta,
    unit: str,
    theme: str,
    aim: float | None = None,
) -> Figure:
    """Draw lines over time, distinguished by colour and marker; a line breaks where nothing was measured.

    Only `aim` is dashed, so that no series is mistaken for it.
    """
    theme = _theme(theme)
    x = [start.isoformat() for start in starts]
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": x,
            "y": [None if value is None else round(value, 4) for value in values],
            "connectgaps": False,
            "line": {"color": PALETTE[theme][number], "width": 2},
            "marker": {"size": (5, 9, 7)[number % 3], "symbol": ("circle", "diamond-open", "square-open")[number % 3]},
            "hovertemplate": f"%{{y:,.3~g}} {unit}",
        }
        for number, (name, values) in enumerate(series)
    ]
    figure = layout(theme, unit=unit)
    figure["xaxis"].update(_times(starts, step))
    if aim is not None:
        line = {"color": INK[theme]["strong"], "width": 1.5, "dash": "dash"}
        data.append({"type": "scatter", "mode": "lines", "name": "SLO", "x": x, "y": [aim] * len(x), "line": line})
    return {"data": data, "layout": figure}


def drift(rows: Sequence[tuple[str, float]], *, theme: str) -> Figure:
    """Draw the PSI of each input, (name, index), as a bar, largest on top, with the thresholds 0.1 and 0.2."""
    theme = _theme(theme)
    shown = list(reversed(rows[:MOST_INPUTS]))
    tones = [PALETTE[theme][_tone(value)] for _, value in shown]
    figure = layout(theme)
    base, ink = figure["xaxis"], INK[theme]
    highest = max([0.3, *(value * 1.15 for _, value in shown)])
    lines_at = [
        {
            "type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1,
            "line": {"color": ink["strong"], "width": 1.5, "dash": dash},
        }
        for at, dash in ((NOTICE, "dot"), (ALARM, "dash"))
    ]  # fmt: skip
    notes = [
        {"x": at, "y": 1.0, "yref": "paper", "yanchor": "bottom", "text": f"{at}", "showarrow": False}
        for at in (NOTICE, ALARM)
    ]
    bars = {
        "type": "bar", "orientation": "h", "name": "PSI", "y": list(range(len(shown))),
        "x": [round(value, 4) for _, value in shown], "marker": {"color": tones}, "customdata": [plain(name) for name, _ in shown],
        "hovertemplate": "%{customdata}: %{x:.3f}<extra></extra>",
    }  # fmt: skip
    return {
        "data": [bars],
        "layout": {
            **figure,
            "height": max(220, 60 + 24 * len(shown)),
            "margin": {**figure["margin"], "t": 24},
            "hovermode": "closest",
            "showlegend": False,
            "shapes": lines_at,
            "annotations": notes,
            "xaxis": {**base, "range": [0, highest], "title": {"text": "PSI", "standoff": 8}},
            "yaxis": {
                **base, "tickmode": "array", "tickvals": list(range(len(shown))),
                "ticktext": [_short(name) for name, _ in shown],
            },
        },
    }  # fmt: skip


def shares(names: Sequence[str], before: Sequence[float], after: Sequence[float], *, theme: str) -> Figure:
    """Draw two distributions side by side: training, and the last rows."""
    theme = _theme(theme)
    figure = layout(theme, unit="% of rows")
    places = list(range(len(names)))
    bars: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": name,
            "x": places,
            "y": [round(100 * value, 2) for value in values],
            "marker": _marker(theme, number, number),
            "hovertemplate": "%{y:.1f} %",
        }
        for number, (name, values) in enumerate((("training", before), ("last rows", after)))
    ]
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": [_short(name) for name in names]}
    return {"data": bars, "layout": {**figure, "barmode": "group", "xaxis": {**figure["xaxis"], **ticks}}}


def _tone(index: float) -> int:
    return 4 if index >= ALARM else 2 if index >= NOTICE else 0


def _marker(theme: str, colour: int, pattern: int) -> Figure:
    """Return a bar's style: a colour and, so that colour is not the only sign, a pattern over it."""
    over = {"fillmode": "overlay", "fgcolor": INK[theme]["hover"], "fgopacity": 0.4, "size": 5, "solidity": 0.25}
    return {"color": PALETTE[theme][colour], "pattern": {"shape": PATTERNS[pattern % 6], **over}}


def _times(starts: Sequence[datetime], step: timedelta) -> Figure:
    last = starts[-1] + step
    days = last - starts[0] > timedelta(days=2)
    return {
        "type": "date",
        "range": [starts[0].isoformat(), last.isoformat()],
        "tickformat": "%-d %b" if days else "%H:%M\n%-d %b",
        "nticks": 10,
    }


def _short(name: str) -> str:
    """Truncate a name for an axis."""
    return plain(name if len(name) <= 28 else name[:27] + "\u2026")


def _theme(theme: str) -> str:
    return "dark" if theme == "dark" else "light"
