"""Tags: labels for work. They are stored among the dimensions of usage as `tag:NAME` and match no price. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIX = "tag:"
MOST_TAGS = 20
DIMENSION = re.compile(r"[A-Za-z0-9_.-]{1,60}")
"""Name of a dimension, which distinguishes usage besides its tags and may be used by a price."""
NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
LONGEST_VALUE = 120
SEPARATOR = re.compile(r",\s*(?=[A-Za-z0-9_.-]{1,40}\s*=|$)|\n")
RULE = (
    f"Use up to {MOST_TAGS} tags: names of letters, digits, _ . and -, at most 40, "
    f"each with a value of 1 to {LONGEST_VALUE} characters."
)


def tag_fault(tags: Mapping[str, str]) -> str | None:
    """Return the rules for tags if some of these are invalid; None if all are valid."""
    good = len(tags) <= MOST_TAGS and all(
        NAME.fullmatch(name)
        and 0 < len(value.strip()) <= LONGEST_VALUE
        and len(value) <= LONGEST_VALUE
        and value.isprintable()
        for name, value in tags.items()
    )
    return None if good else RULE


def as_dims(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags in the form of dimensions."""
    return {PREFIX + name: value for name, value in tags.items()}


def tags_in(dims: Mapping[str, str]) -> dict[str, str]:
    """Return the tags among dimensions."""
    return {name.removeprefix(PREFIX): value for name, value in dims.items() if name.startswith(PREFIX)}


def priced(dims: Mapping[str, str]) -> dict[str, str]:
    """Return the dimensions that a price may match."""
    return {name: value for name, value in dims.items() if not name.startswith(PREFIX)}


def tags_text(tags: Mapping[str, str]) -> str:
    """Format tags for `read_tags`."""
    return ", ".join(marks(tags))


def read_tags(text: str) -> dict[str, str]:
    """Parse `team=vision, ticket=A-7` as people type it; a comma not followed by another name belongs to the value.

    Raises ValueError with what to type.
    """
    return parse_tags(part for part in SEPARATOR.split(text) if part.strip())


def marks(tags: Mapping[str, str]) -> list[str]:
    """Return each tag as `name=value`."""
    return [f"{name}={value}" for name, value in sorted(tags.items())]


def parse_tags(parts: Iterable[str]) -> dict[str, str]:
    """Parse `name=value` texts. Raises ValueError, with what to type, for an invalid or repeated one."""
    tags: dict[str, str] = {}
    for part in parts:
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not name or not value:
            what = f"“{part.strip()[:40]}” is not a tag. " if part.strip() else ""
            raise ValueError(f"{what}Write name=value, such as team=vision.")
        if name in tags:
            raise ValueError(f"The tag {name[:40]} appears twice.")
        tags[name] = value
    return tags
