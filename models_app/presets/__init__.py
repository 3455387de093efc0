"""Presets: launches that somebody saved, for the whole project to start from."""
