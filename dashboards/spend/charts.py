"""Plotly figures as plain dictionaries: no figure objects, at most 1,000 points per trace, one template per theme."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tenants.currencies import money_text

Figure = dict[str, Any]
MOST_POINTS = 1000
HOUR_MS = 3_600_000

PALETTE = {
    "light": ("#0b7a63", "#2f6fd0", "#b7791f", "#a0489b", "#c2493d", "#5b6b8c"),
    "dark": ("#3fc4a4", "#79a9f2", "#e0ad54", "#d58bd0", "#f0877c", "#9aabca"),
}
INK = {
    "light": {"text": "#55605c", "grid": "#e1e5e3", "axis": "#858f8b", "hover": "#ffffff", "strong": "#111816"},
    "dark": {"text": "#a3afaa", "grid": "#29312f", "axis": "#6f7c77", "hover": "#1b2321", "strong": "#f2f6f4"},
}
PATTERNS = ("", "/", ".", "x", "-", "+")


def layout(theme: str, *, unit: str = "") -> Figure:
    """Return the shared layout of all figures: transparent paper, the page's font, quiet axes."""
    ink = INK["dark" if theme == "dark" else "light"]
    axis = {
        "gridcolor": ink["grid"],
        "linecolor": ink["axis"],
        "zeroline": False,
        "tickcolor": ink["axis"],
        "automargin": True,
    }
    return {
        "autosize": True,
        "height": 300,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "Inter, system-ui, sans-serif", "size": 12, "color": ink["text"]},
        "hoverlabel": {
            "bgcolor": ink["hover"],
            "bordercolor": ink["grid"],
            "font": {"color": ink["strong"], "family": "Inter, system-ui, sans-serif"},
        },
        "hovermode": "x unified",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "bargap": 0.28,
        # Plotly draws its hover line twice, once in white, which shows as a bar on a dark page.
        "xaxis": {**axis, "showgrid": False, "showspikes": False},
        "yaxis": {**axis, "rangemode": "tozero", "title": {"text": unit, "standoff": 8}},
    }


def daily_spend(
    days: Sequence[date],
    series: Mapping[str, Sequence[Decimal]],
    *,
    currency: str,
    budget_per_day: Decimal | None,
    theme: str,
) -> Figure:
    """Stack each day's cost by group; a dashed line shows the budget's allowance per day."""
    theme = "dark" if theme == "dark" else "light"
    x = [day.isoformat() for day in days][-MOST_POINTS:]
    data: list[Figure] = [
        {
            "type": "bar",
            "name": plain(name),
            "x": x,
            "y": [float(value) for value in values][-MOST_POINTS:],
            "marker": {
                "color": PALETTE[theme][number % 6],
                "pattern": {
                    "shape": PATTERNS[number % 6],
                    "fillmode": "overlay",
                    "fgcolor": INK[theme]["hover"],
                    "fgopacity": 0.4,
                    "size": 5,
                    "solidity": 0.25,
                },
            },
            "customdata": [money_text(value, currency) for value in values][-MOST_POINTS:],
            "hovertemplate": "%{customdata}",
        }
        for number, (name, values) in enumerate(series.items())
    ]
    if budget_per_day is not None and x and line_fits(series, budget_per_day):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "budget a day",
                "x": x,
                "y": [float(budget_per_day)] * len(x),
                "line": {"color": INK[theme]["strong"], "width": 1.5, "dash": "dash"},
                "customdata": [money_text(budget_per_day, currency)] * len(x),
                "hovertemplate": "%{customdata}",
            }
        )
    figure = layout(theme, unit=currency)
    figure["xaxis"] |= {"type": "date", "tickformat": "%-d %b", "hoverformat": "%-d %b %Y"}
    return {"data": data, "layout": {**figure, "barmode": "stack"}}


def plain(name: str) -> str:
    """Return a name escaped for Plotly, which interprets a few tags, links among them."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def line_fits(series: Mapping[str, Sequence[Decimal]], budget_per_day: Decimal) -> bool:
    """Return whether a line at the day's budget leaves the bars readable: at most twice the highest of them."""
    highest = max((sum(values, Decimal(0)) for values in zip(*series.values(), strict=True)), default=Decimal(0))
    return budget_per_day <= 2 * highest


def utilisation(hours: Sequence[datetime], allocated: Sequence[float], used: Sequence[float], *, theme: str) -> Figure:
    """Draw leased device minutes of each hour, and over them the busy ones."""
    theme = "dark" if theme == "dark" else "light"
    x = [hour.isoformat() for hour in hours][-MOST_POINTS:]
    colours = PALETTE[theme]
    figure = layout(theme, unit="device minutes")
    if x:
        figure["xaxis"].update(hour_axis(hours[-len(x) :]))
    return {
        "data": [
            {
                "type": "bar",
                "name": "allocated",
                "x": x,
                "width": HOUR_MS,
                "y": [round(value / 60, 3) for value in allocated][-MOST_POINTS:],
                "marker": {"color": INK[theme]["grid"], "line": {"color": INK[theme]["axis"], "width": 1}},
                "hovertemplate": "%{y:.1f} min",
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "busy",
                "x": x,
                "y": [round(value / 60, 3) for value in used][-MOST_POINTS:],
                "line": {"color": colours[0], "width": 2},
                "marker": {"size": 6},
                "hovertemplate": "%{y:.1f} min",
            },
        ],
        "layout": {**figure, "barmode": "overlay"},
    }


def hour_axis(hours: Sequence[datetime]) -> Figure:
    """Return a time axis at least half a day wide, with ticks no finer than an hour."""
    first, last = hours[0], hours[-1]
    pad = max(timedelta(hours=1), (timedelta(hours=12) - (last - first)) / 2)
    step = next((n for n in (1, 2, 3, 6, 12) if (last - first + 2 * pad) / timedelta(hours=n) <= 13), 24)
    days = step == 24
    return {
        "type": "date",
        "range": [(first - pad).isoformat(), (last + pad).isoformat()],
        "tickformat": "%-d %b" if days else "%H:%M\n%-d %b",
        **({} if days else {"tick0": first.replace(hour=0).isoformat(), "dtick": step * HOUR_MS}),
    }


WAITING: Figure = {
    "data": [],
    "layout": {
        "height": 300, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"visible": False}, "yaxis": {"visible": False},
    },
}  # fmt: skip
"""A chart before its numbers have loaded: empty, without axes."""


def empty(text: str, theme: str) -> Figure:
    """Return a figure that shows why it is empty."""
    base = layout(theme)
    hidden = {"visible": False}
    note = {"text": text, "showarrow": False, "font": {"size": 14, "color": base["font"]["color"]}}
    return {"data": [], "layout": {**base, "xaxis": hidden, "yaxis": hidden, "annotations": [note]}}
