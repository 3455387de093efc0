"""What stands before every request: accepted hosts, and the addresses that trusted proxies forward."""
