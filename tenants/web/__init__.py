"""Shared parts of the pages and endpoints of every app."""
