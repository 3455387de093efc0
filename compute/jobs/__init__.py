"""Lifecycle of a job: requested, priced, submitted, changed by people, ended."""
