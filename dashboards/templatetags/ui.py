"""Template tags: icons, links inside a tenant, money, times, states, form fields."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput, FileInput, HiddenInput, RadioSelect, Select
from django.template.context import Context
from django.urls import reverse
from django.utils import timezone
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from billing.queries import one_of
from dashboards.formatting import (
    NOT_SHOWN,
    STATES,
    duration_text,
    figure,
    limit_tone,
    milliseconds_text,
    money_parts,
    number,
    percent_text,
    quantity_text,
    took_text,
    unit_text,
    worded,
)
from tenants.access.reader import sees_money
from tenants.currencies import exact_text, money_text

register = template.Library()

MARK = (
    '<svg viewBox="0 0 24 24" fill="currentColor" aria-hidden="true"><rect x="2" y="2" width="20" height="20" rx="5" fill-opacity=".18"/>'
    '<path d="M7 2h5v5H2a5 5 0 0 1 5-5zM12 7h10v5H12zM2 12h10v5H2zM12 17h10a5 5 0 0 1-5 5h-5z"/></svg>'
)


@register.simple_tag
def mark() -> SafeString:
    """Draw the product's chequered logo in the colour of the text around it."""
    return mark_safe(MARK)  # noqa: S308  a constant


@cache
def _svg(name: str) -> str:
    path: Path = settings.BASE_DIR / "static" / "vendor" / "tabler-icons" / f"{name}.svg"
    markup: str = " ".join(path.read_text(encoding="utf-8").split())
    start = markup.index('class="')
    end = markup.index('"', start + 7)
    return f'{markup[:start]}class="icon" aria-hidden="true"{markup[end + 1 :]}'


@register.simple_tag
def icon(name: str) -> SafeString:
    """Inline one vendored icon; it is decoration, so hidden from assistive technology."""
    return mark_safe(_svg(name))  # noqa: S308  vendored files


@register.simple_tag(takes_context=True)
def to(context: Context, name: str, *args: Any) -> str:
    """Return the URL of a page of the current tenant."""
    return reverse(name, args=(context["request"].tenant.slug, *args))


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """Return the current query string with `changes`; an empty value removes its key."""
    parameters = context["request"].GET.copy()
    for key, value in changes.items():
        if value in (None, ""):
            parameters.pop(key, None)
        else:
            parameters[key] = str(value)
    return f"?{parameters.urlencode()}"


@register.filter
def money(value: Any, length: str = "") -> SafeString | str:
    """Format money with its currency, `short` in minor units beside others, `column` with the decimals of its column.

    `off`: it is taken off the sum above, so that its sign is the other one. The title holds every stored digit.
    """
    parts = money_parts(value)
    if parts is None:
        return "\u2013"
    if not sees_money():
        return NOT_SHOWN
    amount, currency = -parts[0] if length == "off" else parts[0], parts[1]
    exact = f"{amount.normalize():f} {currency}"
    return format_html(
        '<data class="money" value="{}" title="{}">{}</data>',
        f"{amount:f}",
        exact,
        money_text(amount, currency, short=length == "short", column=length == "column"),
    )


@register.filter
def priced(amount: Decimal, currency: str) -> SafeString | str:
    """Format a price, or a sum before rounding, with all of its digits."""
    shown = '<data class="money" value="{}">{}</data>'
    return format_html(shown, f"{amount:f}", exact_text(amount, currency)) if sees_money() else NOT_SHOWN


@register.filter
def when(value: datetime | None) -> SafeString | str:
    """Format a time in the organisation's zone, with the year if it is another; the title holds all of it, in UTC too."""
    if value is None:
        return "\u2013"
    there, utc = timezone.localtime(value), value.astimezone(UTC)
    full = f"{there:%Y-%m-%d %H:%M:%S} {zone()}"
    if zone() != "UTC":
        full = f"{full}, {utc:%Y-%m-%d %H:%M:%S} UTC"
    year = "" if there.year == timezone.localtime().year else f" {there.year}"
    short = f"{there.day} {there:%b}{year} {there:%H:%M}"
    return format_html('<time datetime="{}" title="{}">{}</time>', utc.isoformat(), full, short)


@register.simple_tag
def zone() -> str:
    """Return the name of the time zone of this page: the organisation's, else UTC."""
    return timezone.get_current_timezone_name()


@register.filter
def local(value: datetime, zone: str) -> SafeString:
    """Format a time in a named zone, with its year; the template must name the zone beside it."""
    there = value.astimezone(ZoneInfo(zone))
    return format_html('<time datetime="{}">{}</time>', there.isoformat(), f"{there.day} {there:%b %Y %H:%M}")


@register.filter
def duration(value: Any) -> SafeString | str:
    """Format seconds, or a timedelta, for people; the title holds every digit."""
    if value in (None, ""):
        return "\u2013"
    seconds = Decimal(str(value.total_seconds() if hasattr(value, "total_seconds") else value))
    return format_html(
        '<span class="duration" title="{} s">{}</span>', f"{seconds.normalize():f}", duration_text(seconds)
    )


@register.filter
def said(sentence: Any) -> SafeString:
    """Render a sentence with its parts: money as money, names as they are, seconds as durations."""
    if not sentence.parts:
        return conditional_escape(sentence.text)
    parts = (p if isinstance(p, str) else money(p) if hasattr(p, "amount") else duration(p) for p in sentence.parts)
    return format_html(str(sentence.text), *parts)


for _plain in (number, figure, one_of):
    register.filter(_plain.__name__, _plain)
for _name, _shown in (("words", worded), ("quantity", quantity_text), ("unit", unit_text), ("took", took_text)):
    register.filter(_name, _shown)
register.filter("milliseconds", milliseconds_text)


@register.filter
def short(value: Any) -> str:
    """Show the first characters of an id or a hash."""
    return str(value or "")[:8]


@register.filter
def lookup(mapping: Mapping[Any, Any], key: Any) -> Any:
    """Return `mapping[key]`, or nothing."""
    return mapping.get(key)


@register.simple_tag
def state(value: Any) -> SafeString:
    """Render a state as a dot and its word; colour is never the only sign."""
    tone, word = STATES.get(str(value), ("idle", worded(value)))
    return format_html('<span class="x-state {}">{}</span>', tone, word)


@register.simple_tag
def bar(share: Any, label: str, tone: str = "") -> SafeString:
    """Draw a share of one as a bar; amber from three quarters, red from nine tenths when `tone` is 'limit'."""
    part = min(1.0, max(0.0, float(share or 0)))
    if tone == "limit":
        tone = limit_tone(part * 100)
    percent = f"{part * 100:.0f}"
    return format_html(
        '<progress class="x-bar {}" max="100" value="{}" aria-label="{}">{} %</progress>', tone, percent, label, percent
    )


@register.inclusion_tag("components/field.html")
def field(bound: BoundField, quiet: bool = False, **attrs: Any) -> dict[str, Any]:
    """Render one form field: label, control, help and errors, linked for assistive technology.

    A quiet field is not marked as optional, because its neighbours are all optional.
    """
    control, checkbox = bound.field.widget, isinstance(bound.field.widget, CheckboxInput)
    css = "form-check-input" if checkbox else "form-select" if isinstance(control, Select) else "form-control"
    extra: dict[str, Any] = {key.replace("_", "-"): value for key, value in attrs.items()}
    if not isinstance(control, RadioSelect | HiddenInput):
        extra["class"] = css
    if bound.errors:
        hint = f"{bound.auto_id}_helptext " if bound.help_text else ""
        extra["aria-describedby"] = f"{hint}{bound.auto_id}_error"
    if isinstance(control, FileInput):
        extra.pop("value", None)
    return {"field": bound, "quiet": quiet, "checkbox": checkbox, "widget": bound.as_widget(attrs=extra)}


@register.simple_tag
def unlabelled(bound: BoundField) -> SafeString:
    """Render a control in a table row: its label is visually hidden, its errors are below."""
    css = "form-select" if isinstance(bound.field.widget, Select) else "form-control"
    control = bound.as_widget(attrs={"class": css, "aria-label": str(bound.label)})
    errors = format_html_join("", "<li>{}</li>", ((error,) for error in bound.errors))
    return format_html('{}<ul class="x-field-error">{}</ul>', control, errors) if errors else control


@register.inclusion_tag("components/choices.html")
def choices(bound: BoundField) -> dict[str, Any]:
    """Render a group of check boxes with one legend."""
    return {"field": bound}


@register.filter
def percent(share: Any) -> str:
    """Format a share of one in percent: one decimal below ten."""
    if share is None or share == "":
        return "\u2013"
    value = float(share) * 100
    return f"{value:.1f}\u00a0%" if 0 < value < 10 else f"{value:.0f}\u00a0%"


@register.filter
def percents(percent: int) -> str:
    """Format a whole percentage."""
    return percent_text(percent)


@register.filter
def normal(value: Any) -> str:
    """Format a decimal with all its digits and no trailing zeros."""
    return f"{Decimal(str(value)).normalize():f}"


@register.filter
def clock(value: datetime) -> str:
    """Format the time of day of a log line."""
    return f"{timezone.localtime(value):%H:%M:%S}"


@register.simple_tag
def spoken(value: Any) -> str:
    """Format a parameter's value: yes and no, comma-separated lists, numbers as they were chosen, a dash for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "\u2013"
    return normal(value) if isinstance(value, float) and value % 1 else figure(value)


@register.filter
def tail(value: Any) -> str:
    """Return the last characters of an id; the first ones of time-ordered ids are equal."""
    return str(value or "")[-8:]


@register.filter
def exactly(value: datetime, zone: str) -> SafeString:
    """Format a time in a named zone to the millisecond; the template must name the zone beside it."""
    there = value.astimezone(ZoneInfo(zone))
    return format_html(
        '<time datetime="{}">{}</time>',
        there.isoformat(),
        f"{there.day} {there:%b %H:%M:%S}.{there.microsecond // 1000:03d}",
    )


@register.filter
def is_number(value: Any) -> bool:
    """Return whether a value is a figure to show."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


@register.filter
def person(value: Any) -> SafeString:
    """Render a person or a key; an address breaks only after @ and dots in a narrow cell."""
    text = str(value or "")
    parts = re.split(r"(?<=[@.])", text) if "@" in text else [text]
    return format_html('<span class="x-person">{}</span>', format_html_join(mark_safe("<wbr>"), "{}", zip(parts)))
