"""Batches of requests through a loaded model."""
