"""The images' processes without Docker, in two network namespaces."""
