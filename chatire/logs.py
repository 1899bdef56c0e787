"""Structured logs: JSON lines in production, readable lines at a terminal."""

import logging.config
from typing import Any

import structlog

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
]


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """Return a dictConfig that renders structlog's and the standard library's records alike.

    `log_format` is `json` or `console`; `level` is a standard level name.
    Raises ValueError for another format.
    """
    renderers: dict[str, list[structlog.typing.Processor]] = {
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        "console": [
            structlog.dev.ConsoleRenderer(
                colors=False,
                pad_event_to=0,
                # Where rich is installed, the default prints local variables: tokens, passwords.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ],
    }
    if log_format not in renderers:
        raise ValueError(f"LOG_FORMAT is {log_format!r}; it must be 'json' or 'console'.")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *renderers[log_format],
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Below INFO it logs handshakes as they came, tokens included.
            "uvicorn.error": {"level": "INFO" if level in {"DEBUG", "NOTSET"} else level},
            # These log a line per socket, request to a model or job; ours say what matters.
            "uvicorn.error.websocket": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "openai": {"level": "WARNING"},
            "procrastinate": {"level": "WARNING"},
            # A line per attempt while the database is away.
            "psycopg.pool": {"level": "ERROR"},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Apply `config` (see `logging_config`) and point structlog at the standard library."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
