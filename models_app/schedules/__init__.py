"""Schedules: presets and pipelines that are launched by a cron expression."""
