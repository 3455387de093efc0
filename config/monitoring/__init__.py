"""Figures for monitoring: what the web server answered, and the state of the whole platform."""
