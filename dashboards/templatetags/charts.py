"""Template tags that draw `dashboards.svg`."""

from collections.abc import Mapping, Sequence

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from dashboards import svg

register = template.Library()
Series = Mapping[str, Sequence[tuple[float, float]]]


@register.simple_tag
def line_chart(series: Series, title: str, x_label: str = "") -> SafeString:
    """Draw lines over steps."""
    return svg.line_chart(series, title=title, x_label=x_label)


@register.simple_tag
def histogram(bars: Sequence[tuple[str, float]], title: str) -> SafeString:
    """Draw counts by bin."""
    return svg.bar_chart(bars, title=title)


@register.simple_tag
def spark(values: Sequence[float], title: str) -> SafeString:
    """Draw a small line for a tile."""
    return svg.spark(values, title=title)


@register.simple_tag
def legend(series: Series) -> SafeString:
    """Draw the legend of a chart, each line in its stroke."""
    names = [name for name, points in series.items() if points]
    rows = format_html_join(
        "",
        '<li><svg class="x-chart" viewBox="0 0 24 8" aria-hidden="true"><path class="line s{}" d="M0 4h24"/></svg>{}</li>',
        ((number, name.replace("_", " ")) for number, name in enumerate(names, start=1)),
    )
    return format_html('<ul class="x-legend">{}</ul>', rows)


@register.simple_tag
def stacked_bars(
    days: Sequence[str],
    series: Mapping[str, Sequence[float]],
    title: str,
    limit: float | None = None,
    colours: Mapping[str, int] | None = None,
) -> SafeString:
    """Draw stacked sums by day, each series in the colour of its number."""
    return svg.stacked_bars(days, series, title=title, limit=limit, colours=colours)


@register.simple_tag
def block_legend(
    names: Sequence[str], limit: float | None = None, colours: Mapping[str, int] | None = None
) -> SafeString:
    """Draw the legend of a stacked chart, including its dashed line, if any."""
    rows = format_html_join(
        "",
        '<li><svg class="x-chart" viewBox="0 0 24 8" aria-hidden="true"><rect class="f{}" width="24" height="8" rx="2"/></svg>{}</li>',
        ((svg.colour(name, number, colours), name) for number, name in enumerate(names, start=1)),
    )
    if names and limit is not None:
        rows += mark_safe(
            '<li><svg class="x-chart" viewBox="0 0 24 8" aria-hidden="true"><path class="limit" d="M0 4h24"/></svg>budget a day</li>'
        )
    return format_html('<ul class="x-legend">{}</ul>', rows)
