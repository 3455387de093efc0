"""The Celery app: doorbells only. PostgreSQL holds the work, so no result backend, no ETA, no chord, no beat."""

from celery import Celery

from config.env import use_django_settings

use_django_settings()

app = Celery("exchequer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
