"""Django's entry to the wiring: commands that concern every room."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"
