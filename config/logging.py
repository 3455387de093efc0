"""Structured logs: one line per event, on standard error, with the request's id and no secrets."""

import logging
from typing import Any

import structlog

from tenants.errors import without_credentials

SECRET_KEYS = frozenset({"authorization", "password", "api_key", "key", "secret", "token", "cookie"})


def mask_secrets(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replace the value of every key that names a secret, and our credentials in every text."""
    return {
        key: "***" if key.lower() in SECRET_KEYS else without_credentials(value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def escape_control_characters(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Keep one event on one line whatever a name contains (trust A9)."""
    return {
        key: value.encode("unicode_escape").decode("ascii")
        if isinstance(value, str) and not value.isprintable()
        else value
        for key, value in event.items()
        if key != "exception"
    } | ({"exception": event["exception"]} if "exception" in event else {})


def config(*, debug: bool) -> dict[str, Any]:
    """Return Django's `LOGGING` and configure structlog to the same renderer."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
        escape_control_characters,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
                "foreign_pre_chain": shared,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "botocore": {"level": "WARNING"},
            # Below this it logs addresses of requests, with the email addresses of payers.
            "stripe": {"level": "WARNING"},
        },
    }
