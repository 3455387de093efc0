"""Organisations, members, permissions, audit log, events and operators."""
