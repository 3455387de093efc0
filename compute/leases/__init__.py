"""The claim of an attempt on its device: heartbeats, samples, and the end."""
