"""Detect the code page of non-Unicode text. Slow to import: only the child that reads files does."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from charset_normalizer import from_bytes

from models_app.tables.limits import MIB
from models_app.tables.writing import CODE_PAGES

SAMPLE_BYTES = 64 * 1024
WESTERN = "cp1252"
_LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüœŒ"
_SIGNS = "°µ±§€£¥²³¼½¾¿¡«»“”„‘’‚–—…©®™ºª·×÷†•¢ \u00a0\u00ad"


def warm_up() -> None:
    """Load every code page: after lockdown their files may be inaccessible."""
    for name in CODE_PAGES:
        codecs.lookup(name)
    from_bytes("Größe,Κόσμος".encode(), cp_isolation=["cp1252", "cp1253", "utf_8"])


def code_page(path: Path) -> str:
    """Return the most likely code page of a text; Windows-1252 unless another is likelier."""
    sample = _non_ascii_lines(path)
    if _western(sample.decode(WESTERN, "replace")):
        return WESTERN
    pages = [name for name in CODE_PAGES if name != "latin-1"]
    best = from_bytes(sample, cp_isolation=pages, threshold=0.5, language_threshold=0.05).best()
    return best.encoding if best is not None and best.encoding in CODE_PAGES else WESTERN


def _non_ascii_lines(path: Path) -> bytes:
    """Return lines with non-ASCII characters, from anywhere in the file."""
    found, size = [], 0
    with path.open("rb") as file:
        while size < SAMPLE_BYTES and (chunk := file.read(MIB)):
            for line in chunk.splitlines(keepends=True):
                if not line.isascii():
                    found.append(line[:1000])
                    size += len(found[-1])
                    if size >= SAMPLE_BYTES:
                        break
    return b"".join(found)


def _western(text: str) -> bool:
    """Return whether a text is plausible Windows-1252.

    It is if its letters stand alone among others and its signs are not inside words.
    """
    foreign = re.findall(r"[^\x00-\x7f]+", text)
    if not foreign or any(sign not in _LETTERS and sign not in _SIGNS for run in foreign for sign in run):
        return False
    if sum(map(len, foreign)) > 1.8 * len(foreign):
        return False
    return not re.search(rf"[A-Za-z][{re.escape('£¥²³¼½¾¿¡ºª¢§±°')}][a-z]", text)
