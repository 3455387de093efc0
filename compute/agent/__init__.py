"""What runs on a node: the worker's own life, and the supervision of each attempt."""
