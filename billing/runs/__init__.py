"""Runs of a month: the ops worker prepares the draft of every tenant, with what a person should look at."""
