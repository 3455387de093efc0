"""Find pages, and read one as people see it: a line break of its template does not count, a no-break space stays."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, get_resolver


def text_of(response: Any) -> str:
    """Return the markup of an answer with one blank in place of each white space."""
    return re.sub(r"[ \t\r\n]+", " ", response.content.decode())


def flowed(html: str) -> str:
    """Return the markup with one blank for white space, and none beside a tag."""
    return re.sub(r" ?(<[^>]*>) ?", r"\1", re.sub(r"[ \t\r\n]+", " ", html))


def routes_below(urls: str, start: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield each route of a URL configuration that begins with `start`, as written, with its pattern."""

    def walk(patterns: Any, prefix: str) -> Iterator[tuple[str, URLPattern]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                yield from walk(pattern.url_patterns, route)
            elif route.startswith(start):
                yield route, pattern

    return walk(get_resolver(urls).url_patterns, "")
