"""Backup of an installation in one folder: the database dump, the objects as stored (encrypted), a manifest.

It never includes the master key. Without the key in use at the time, a backup is useless.
"""
