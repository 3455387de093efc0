"""Dashboards: the Dash bridge, its charts, and the pages that read every other app."""
