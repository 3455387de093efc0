"""Figures for monitoring: responses of the web server, and the state of the whole platform."""
