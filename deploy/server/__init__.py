"""The production servers: the web process and the serving node."""
