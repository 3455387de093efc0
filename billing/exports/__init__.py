"""Exports of what was billed: FOCUS (1.2 and 1.4) and a plain table, as CSV and Parquet."""
