"""The production servers: the web process, the serving node and the fetcher."""
