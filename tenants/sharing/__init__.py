"""Sharing of single objects with people and groups, beside what roles and projects open."""
