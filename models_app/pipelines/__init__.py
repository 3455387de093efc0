"""Pipelines: steps that wait for each other, launched as their needs are met."""
