"""Encoding and delimiter of a text file, as a person may choose them. Pure: the web imports it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNICODE = {"utf-8": "UTF-8", "utf-16": "UTF-16"}
CODE_PAGES = {
    "cp1252": "Windows-1252", "cp1250": "Windows-1250", "cp1251": "Windows-1251", "cp1253": "Windows-1253",
    "cp1254": "Windows-1254", "cp1257": "Windows-1257", "iso8859_2": "ISO 8859-2", "koi8_r": "KOI8-R", "mac_roman": "Mac Roman",
    "cp437": "DOS 437", "cp850": "DOS 850", "cp866": "DOS 866", "cp932": "Shift JIS", "euc_jp": "EUC-JP", "gb18030": "GB 18030",
    "big5": "Big5", "euc_kr": "EUC-KR", "latin-1": "ISO 8859-1",
}  # fmt: skip
ENCODINGS = UNICODE | CODE_PAGES
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", ":": "colon", " ": "blank"}
KEYS = ("encoding", "delimiter")


def faults(choice: Any) -> dict[str, list[str]]:
    """Return the faults by key of a choice for a file: `encoding` and `delimiter`, null for the detected one."""
    if not isinstance(choice, Mapping):
        return {"": [f"Send an object with any of {', '.join(KEYS)}."]}
    found = {
        str(name)[:40]: [f"{str(name)[:40]!r} is none of {', '.join(KEYS)}."] for name in choice if name not in KEYS
    }
    for name, known in (("encoding", ENCODINGS), ("delimiter", DELIMITERS)):
        value = choice.get(name)
        if value is not None and (not isinstance(value, str) or value not in known):
            found[name] = [f"Choose one of {', '.join(map(repr, known))}."]
    return found


def called(name: str, value: str) -> str:
    """Return the display name of an encoding or a delimiter."""
    return (ENCODINGS if name == "encoding" else DELIMITERS).get(value.removesuffix("-le").removesuffix("-be"), value)
