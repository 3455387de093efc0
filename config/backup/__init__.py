"""A whole installation in one folder: the database's dump, the objects as they are stored (encrypted), a manifest.

The master key is never part of it: without the key of its time a backup opens nothing.
"""
