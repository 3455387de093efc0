"""Backup of an installation in one folder: the database dump, the objects as stored (encrypted), a manifest.

The master key is never included: without the key in use at its time, a backup is useless.
"""
