"""The servers of production: the web process and the serving node."""
