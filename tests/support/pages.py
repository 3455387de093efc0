"""Read a page as people see it: where its template breaks a line does not count, and a no-break space stays."""

import re
from typing import Any


def text_of(response: Any) -> str:
    """Return the markup of an answer with one blank in place of each white space."""
    return re.sub(r"[ \t\r\n]+", " ", response.content.decode())


def flowed(html: str) -> str:
    """Return the markup with one blank for white space, and none beside a tag."""
    return re.sub(r" ?(<[^>]*>) ?", r"\1", re.sub(r"[ \t\r\n]+", " ", html))
