"""Requests to addresses that a tenant names: through the fetcher, a process without credentials (P5). And a node's to the platform.

`client` asks, `fetcher` answers, `guard` decides which addresses may be reached; `straight` is the node's way. Modules of the fetcher's process
import no Django: the process has no settings, no database and no store.
"""
