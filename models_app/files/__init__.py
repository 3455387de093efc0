"""Stored files after they are made: downloaded, encrypted, removed."""
