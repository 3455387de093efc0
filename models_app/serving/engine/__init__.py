"""Batched inference on a loaded model."""
