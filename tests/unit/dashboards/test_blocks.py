"""The block tags frame what they are given, name it for assistive technology, and escape what people typed."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context, Template

HOSTILE = '<b>"{}"</b>'
ESCAPED = "&lt;b&gt;&quot;{}&quot;&lt;/b&gt;"


def drawn(markup: str, **values: Any) -> str:
    """Return what a template with the block tags draws."""
    return Template("{% load blocks ui %}" + markup).render(Context({"name": HOSTILE, "csrf_token": "t0ken", **values}))


@pytest.mark.parametrize(
    ("markup", "opening"),
    [
        ('{% banner "bad" %}<p>x</p>{% endbanner %}', '<div class="x-banner bad" role="alert">'),
        (
            '{% banner "wait" role="status" look="m-0" %}<p>x</p>{% endbanner %}',
            '<div class="x-banner wait m-0" role="status">',
        ),
        ("{% banner %}<p>x</p>{% endbanner %}", '<div class="x-banner"><p>x</p>'),
    ],
)
def test_a_bad_banner_has_the_role_alert_and_others_their_own(markup: str, opening: str) -> None:
    assert drawn(markup).startswith(opening)


def test_a_table_has_a_name_and_scrolls_within_its_card() -> None:
    table = drawn('{% table "Devices of {}" name look="compact" %}<tbody></tbody>{% endtable %}')

    assert f'aria-label="Table: Devices of {ESCAPED}"' in table
    assert 'tabindex="0" role="region"' in table
    assert '<table class="x-table compact"><tbody></tbody></table></div>' in table


def test_a_tile_with_an_address_is_a_link_and_one_without_a_note_has_none() -> None:
    assert drawn('{% tile "Failed" 3 url="/jobs/" %}jobs{% endtile %}').startswith('<a class="x-tile" href="/jobs/">')
    assert "x-tile-note" not in drawn('{% tile "Failed" 3 %}{% endtile %}')
    assert ESCAPED in drawn('{% tile "Best" name %}{% endtile %}')


def test_a_dialog_posts_with_its_token_and_escapes_what_it_asks_about() -> None:
    dialog = drawn(
        '{% confirm "cancel" "Cancel {}?" name action="/go/" submit="Cancel job" of=7 %}<p>x</p>{% endconfirm %}'
    )

    assert f'<h2 id="cancel-7-title">Cancel {ESCAPED}?</h2>' in dialog
    assert '<form method="post" action="/go/"><input type="hidden" name="csrfmiddlewaretoken" value="t0ken">' in dialog
    assert "submit" not in drawn('{% confirm "cancel" "Wait" action="/go/" %}{% endconfirm %}')


def test_an_empty_list_says_why_and_offers_the_next_step() -> None:
    empty = drawn('{% empty_state "box" "No model" url="/new/" label="New job" %} {{ name }} {% endempty_state %}')

    assert f"<h2>No model</h2><p>{ESCAPED}</p>" in empty
    assert '<a class="btn btn-primary" href="/new/">New job</a>' in empty
