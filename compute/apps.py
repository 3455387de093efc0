"""Django's entry to the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    name = "compute"
