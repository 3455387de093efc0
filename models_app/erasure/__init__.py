"""Erasure of a closed tenant: its files, keys, people and contents go; its usage and ledger stay and still verify."""
