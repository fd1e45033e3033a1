"""Structured logging: readable lines on a terminal, JSON on a pipe or under systemd, always on stderr.

Events are named ``noun.verb_past`` (design names): ``batch.flushed``, ``broker.connected``. Called once by ``cli``.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog


def configure(level: str, style: Literal["auto", "console", "json"] = "auto") -> None:
    """Sets up structlog and the standard library's root logger. Callable again: SIGHUP changes the level.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        style: ``auto`` is console on a terminal and JSON elsewhere.
    """
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )
    if console:
        shared.remove(structlog.processors.format_exc_info)  # the console renderer formats exceptions itself
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # APScheduler and psycopg log through the standard library; only what an admin must see is passed on.
    logging.basicConfig(
        level=max(number, logging.WARNING),
        handlers=[_ToStructlog()],
        force=True,
    )
    logging.getLogger("apscheduler.executors").setLevel(logging.CRITICAL)  # daemon.scheduler logs jobs that fail


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, "library.reported", message=record.getMessage())
