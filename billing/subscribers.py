"""Handlers of other apps' events."""
