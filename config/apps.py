"""Django's entry to the wiring: commands that concern every app."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
