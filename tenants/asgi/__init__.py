"""What the servers share that take requests without Django: the serving node and the usage server."""
