"""Exports to spreadsheets: no cell and no heading is executed as a formula (P4)."""

import csv
import io

from django.test import RequestFactory

from tenants.web.pagination import csv_response

EVIL = ['=HYPERLINK("http://evil.example","x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx"]


def test_neither_headings_nor_cells_begin_a_formula() -> None:
    answer = csv_response(RequestFactory().get("/"), "x", ["day", *EVIL], [["2026-11-01", *EVIL]])
    for row in csv.reader(io.StringIO(answer.content.decode(), newline="")):
        assert row[1:] == [f"'{text}" for text in EVIL]
