"""Django's entry to the wiring: commands that concern every app."""

import gc

from django.apps import AppConfig

GARBAGE = (50_000, 20, 20)
"""Python's thresholds once everything is loaded. A request leaves few cycles: looking for them 70 times less often is enough."""


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Leave alone what was loaded, and look for garbage among what comes."""
        gc.freeze()
        gc.set_threshold(*GARBAGE)
