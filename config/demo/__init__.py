"""The demo: different organisations with weeks of history, made through the real operations.

The database's clock is moved along with the history; nothing is written to tables except by operations. All of it is
one transaction, so a killed run leaves only files in the object store, which the next run removes.
"""
