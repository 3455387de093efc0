"""Convert text files of any encoding to UTF-8. Bounded memory."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from models_app.runner_protocol import InputError
from models_app.tables.limits import MAX_UNPACKED_BYTES, MIB
from models_app.tables.reader import encoding
from models_app.tables.writing import CODE_PAGES, ENCODINGS

SAMPLE_BYTES = 256 * 1024

SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, and no Excel workbook. Unpack it and upload the file inside"),
    (b"BZh", "compressed with bzip2. Unpack it and upload the file inside"),
    (b"\xfd7zXZ", "compressed with xz. Unpack it and upload the file inside"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Unpack it and upload the file inside"),
    (b"\x93NUMPY", "a NumPy array. Export the table as CSV or Parquet"),
    (b"%PDF", "a PDF. Export the table as CSV or Parquet"),
    (b"SQLite format 3", "an SQLite database. Export one table as CSV or Parquet"),
    (b"\x89HDF", "an HDF5 file. Export the table as CSV or Parquet"),
    (b"\x7fELF", "a program, not a table. Upload a CSV or Parquet file"),
    (b"ARROW1", "an Arrow or Feather file. Export the table as Parquet"),
)
ARFF = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:%[^\n]*\n\s*)*@relation\b", re.IGNORECASE)
MARKUP = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|table|meta|\?xml)\b", re.IGNORECASE)
PICKLE = re.compile(rb"\A\x80[\x02-\x05]")


def refuse_other_formats(head: bytes) -> None:
    """Raise InputError if the first bytes belong to a format that is neither CSV nor Parquet."""
    if not head.strip():
        raise InputError("empty_file", "The file is empty. Upload a CSV or Parquet file with a header and rows.")
    if PICKLE.match(head):
        raise InputError(
            "refused_format",
            "The file is a Python pickle, which can run code and is never opened. Export the table as CSV or Parquet.",
        )
    if ARFF.match(head):
        raise InputError(
            "refused_format",
            "The file is in the ARFF format of Weka and KEEL. Export the table as CSV, with the names of the columns in the first line.",
        )
    if MARKUP.match(head):
        raise InputError(
            "refused_format",
            "The file is a web page or XML, whatever its name ends in. Open it in Excel and save it as XLSX or CSV.",
        )
    for magic, words in SIGNATURES:
        if head.startswith(magic):
            raise InputError("refused_format", f"The file is {words}.")


def to_utf8(source: Path, target: Path, chosen: str = "") -> tuple[str, list[str]]:
    """Copy `source` to `target` as UTF-8 without a byte order mark; return the encoding and warnings.

    Tries the byte order mark, UTF-16 without one, UTF-8, then the most likely code page, unless an encoding was chosen.
    Raises InputError if it is not text.
    """
    with source.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    if chosen:
        return _as_chosen(source, target, chosen, head)
    for name in _candidates(head):
        try:
            _transcode(source, target, name)
        except UnicodeDecodeError:
            continue
        return name.removesuffix("-sig"), []
    if b"\0" not in head:
        for name in dict.fromkeys((encoding.code_page(source), encoding.WESTERN, "latin-1")):
            try:
                _transcode(source, target, name)
            except UnicodeDecodeError:
                continue
            words = f"The file is not UTF-8 and was read as {CODE_PAGES[name]}."
            return name, [f"{words} Check names and categories with accents."]
    raise InputError("not_text", "The file is not text in a supported encoding. Save it as CSV in UTF-8.")


def _as_chosen(source: Path, target: Path, chosen: str, head: bytes) -> tuple[str, list[str]]:
    name = {"utf-8": "utf-8-sig"}.get(chosen, chosen)
    if chosen == "utf-16" and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if b"\0" not in head:  # its line breaks and delimiters would contain one
            raise InputError(
                "wrong_encoding", "The file is not UTF-16: no letter takes two bytes. Choose another encoding, or none."
            )
        name = (_candidates(head) or ["utf-16-le"])[0]
    try:
        _transcode(source, target, name)
    except UnicodeDecodeError as error:
        raise InputError(
            "wrong_encoding",
            f"The file is not {ENCODINGS[chosen]}: byte {error.start + 1:,} of a part of it cannot be read so. Choose another encoding, or none.",
        ) from error
    return chosen, []


def _candidates(head: bytes) -> list[str]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if head.startswith(codecs.BOM_UTF8):
        return ["utf-8-sig"]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = max(1, len(head) // 2)
    if odd / half > 0.4 and even / half < 0.05:
        return ["utf-16-le"]
    if even / half > 0.4 and odd / half < 0.05:
        return ["utf-16-be"]
    if b"\0" in head:
        return []
    return ["utf-8-sig"]


def _transcode(source: Path, target: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    written = 0
    with source.open("rb") as file, target.open("wb") as out:
        if (
            encoding in CODE_PAGES and file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8
        ):  # the mark is no part of the text
            file.seek(0)
        while chunk := file.read(MIB):
            text = decoder.decode(chunk)
            if "\0" in text:
                raise InputError("not_text", "The file holds zero bytes and is not text. Save it as CSV in UTF-8.")
            written += out.write(text.encode("utf-8", errors="replace"))
            if written > MAX_UNPACKED_BYTES:
                raise InputError(
                    "too_big_unpacked",
                    f"The file is larger than {MAX_UNPACKED_BYTES // MIB:,} MiB as text. Split it, or use fewer rows.",
                )
        out.write(decoder.decode(b"", final=True).encode("utf-8", errors="replace"))
