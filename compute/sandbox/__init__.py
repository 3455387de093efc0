"""The child process of an attempt: start, confinement, protocol. No Django: the child imports this."""
