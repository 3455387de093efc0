"""The usage server: takes reported usage over HTTP in a process of its own, and stores what waits in groups."""
