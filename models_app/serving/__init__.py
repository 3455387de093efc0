"""The serving node: answers predictions in real time, in a process of its own."""
