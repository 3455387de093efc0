"""Notifications to members, and their emails."""
