"""Tests of price books and contracts."""
