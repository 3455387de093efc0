"""Excel workbooks, written by hand, because their XML is part of the test."""

from __future__ import annotations

import io
import zipfile
from html import escape
from typing import Any

PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/styles.xml": '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
}


def workbook(rows: list[list[Any]], *, dates: set[int] = frozenset(), sheets: int = 1) -> bytes:
    """Return an .xlsx with the rows on its first sheet; `dates`: columns of day numbers shown as dates."""
    lines = []
    for number, row in enumerate(rows, 1):
        found = []
        for at, value in enumerate(row):
            place = f'r="{_letters(at)}{number}"'
            if isinstance(value, bool):
                found.append(f'<c {place} t="b"><v>{int(value)}</v></c>')
            elif isinstance(value, str):
                found.append(f'<c {place} t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>')
            elif value is not None:
                found.append(f'<c {place} s="{int(at in dates)}"><v>{value}</v></c>')
        lines.append(f'<row r="{number}">{"".join(found)}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    names = "".join(f'<sheet name="s{at}" sheetId="{at}" r:id="s{at}"/>' for at in range(1, sheets + 1))
    links = "".join(
        f'<Relationship Id="s{at}" Type="{kind}/worksheet" Target="worksheets/sheet{at}.xml"/>'
        for at in range(1, sheets + 1)
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PARTS.items():
            archive.writestr(name, data)
        archive.writestr("xl/workbook.xml", f"<workbook {space}><sheets>{names}</sheets></workbook>")
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{links}<Relationship Id="st" Type="{kind}/styles" Target="styles.xml"/></Relationships>',
        )
        for at in range(1, sheets + 1):
            data = "".join(lines) if at == 1 else ""
            archive.writestr(
                f"xl/worksheets/sheet{at}.xml", f"<worksheet {space}><sheetData>{data}</sheetData></worksheet>"
            )
    return out.getvalue()


def _letters(at: int) -> str:
    """Return the name of a column: A for 0, AA for 26."""
    return (_letters(at // 26 - 1) if at >= 26 else "") + chr(65 + at % 26)
