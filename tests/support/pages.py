"""Read a page as people see it: line breaks of its template do not count."""

import re


def flowed(html: str) -> str:
    """Return the markup with one blank for white space, and none beside a tag."""
    return re.sub(r"\s*(<[^>]*>)\s*", r"\1", re.sub(r"\s+", " ", html))
