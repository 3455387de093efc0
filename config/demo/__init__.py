"""The demo: organisations of different character with weeks behind them, made through the real operations.

The database's clock is moved along while they live; nothing is written into tables past an operation. All of it is one
transaction, so a run that was killed leaves nothing but files in the object store, which the next run removes.
"""
