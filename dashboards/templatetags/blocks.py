"""Block tags for the parts of a page that hold other markup.

    {% banner "bad" %}<p>…</p>{% endbanner %}
    {% table "Devices of {}" node.name look="compact" %}<thead>…</thead><tbody>…</tbody>{% endtable %}
    {% tile "Requests, 24 h" day.requests|number %}note{% endtile %}
    {% empty_state "box" "No model yet" url=launch_url label="New job" %}text{% endempty_state %}
    {% confirm "cancel" "Cancel “{}”?" job.name action=url submit="Cancel job" %}<p>…</p>{% endconfirm %}

A label, a title or a value with `{}` takes the arguments that follow it, escaped.
"""

from typing import Any

from django import template
from django.forms.utils import flatatt
from django.template.context import Context
from django.template.defaulttags import CsrfTokenNode
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from dashboards.templatetags.ui import icon as draw

register = template.Library()

ICONS = {"bad": "alert-circle", "wait": "alert-triangle", "good": "circle-check", "busy": "clock"}
"""Icon of a banner by tone, unless its tag names another."""


@register.simple_block_tag
def banner(
    content: SafeString, tone: str = "", icon: str = "", role: str | None = None, look: str = "", **attrs: Any
) -> SafeString:
    """Frame a notice; the tone is `good`, `busy`, `wait`, `bad` or none.

    A bad banner is an alert to assistive technology unless `role` says otherwise. `look` adds classes, `attrs` attributes.
    """
    role = ("alert" if tone == "bad" else "") if role is None else role
    name = icon or ICONS.get(tone, "")
    return format_html(
        "<div{}>{}{}</div>",
        _attributes(attrs, role=role, classes=("x-banner", tone, look)),
        draw(name) if name else "",
        content,
    )


@register.simple_block_tag
def table(content: SafeString, label: str, *names: Any, look: str = "", scroll: str = "", **attrs: Any) -> SafeString:
    """Frame a table that scrolls sideways in its card and has a name for assistive technology.

    `look` adds classes to the table, `scroll` to the frame around it, `attrs` attributes to the table.
    """
    return format_html(
        '<div{} tabindex="0" role="region" aria-label="Table: {}"><table{}>{}</table></div>',
        _attributes({}, classes=("x-table-wrap", scroll)),
        _filled(label, names),
        _attributes(attrs, classes=("x-table", look)),
        content,
    )


@register.simple_block_tag
def tile(content: SafeString, label: str, value: Any, *names: Any, icon: str = "", url: str = "") -> SafeString:
    """Draw a tile with a figure; the content is the note beneath. A tile with `url` is a link."""
    opening = format_html('<a class="x-tile" href="{}">', url) if url else mark_safe('<div class="x-tile">')
    note = format_html('<div class="x-tile-note">{}</div>', content) if content.strip() else ""
    return format_html(
        '{}<span class="x-tile-label">{}{}</span><span class="x-tile-value">{}</span>{}</{}>',
        opening,
        draw(icon) if icon else "",
        label,
        _filled(value, names),
        note,
        "a" if url else "div",
    )


@register.simple_block_tag
def empty_state(
    content: SafeString, icon: str, title: str, url: str = "", label: str = "", clear_url: str = ""
) -> SafeString:
    """Say why a list is empty; `url` and `label` are the next step, `clear_url` takes the filters off."""
    step = format_html('<a class="btn btn-primary" href="{}">{}</a>', url, label) if url else ""
    clear = format_html('<a class="btn" href="{}">Clear filters</a>', clear_url) if clear_url else ""
    text = mark_safe(content.strip())  # noqa: S308  rendered by the template, and escaped there
    actions = format_html('<div class="x-actions">{}{}</div>', step, clear) if step or clear else ""
    return format_html('<div class="x-empty">{}<h2>{}</h2><p>{}</p>{}</div>', draw(icon or "box"), title, text, actions)


@register.simple_block_tag(takes_context=True)
def confirm(
    context: Context,
    content: SafeString,
    key: str,
    title: str,
    *names: Any,
    action: str,
    of: Any = "",
    submit: str = "",
    keep: str = "Keep it",
    button: str = "btn-danger",
) -> SafeString:
    """Ask before something is done: a dialog that the button with `data-open-dialog="#key"` opens.

    The content goes into its form, which posts to `action`. Without `submit` it can only be closed. Where each row of a
    table has its dialog, `of` is the id of the row, and the dialog is `#key-of`.
    """
    key = f"{key}-{of}" if of else key
    send = format_html('<button type="submit" class="btn {}">{}</button>', button, submit) if submit else ""
    return format_html(
        '<dialog class="x-confirm" id="{key}" aria-labelledby="{key}-title"><form method="post" action="{action}">'
        '{token}<h2 id="{key}-title">{title}</h2>{content}'
        '<footer><button type="button" class="btn" data-close-dialog>{keep}</button>{send}</footer></form></dialog>',
        key=key,
        action=action,
        token=CsrfTokenNode().render(context),
        title=_filled(title, names),
        content=content,
        keep=keep,
        send=send,
    )


def _filled(text: Any, names: tuple[Any, ...]) -> Any:
    return format_html(text, *names) if names else text


def _attributes(attrs: dict[str, Any], *, classes: tuple[str, ...], role: str = "") -> SafeString:
    named = {key.replace("_", "-"): value for key, value in attrs.items()}
    return flatatt({"class": " ".join(filter(None, classes)), **({"role": role} if role else {}), **named})
