"""One stream of structured lines, ours and the libraries' alike, each with the incident, run and delivery it is about.

Whoever works on one binds it with `structlog.contextvars.bound_contextvars(incident=..., run=..., delivery=...)`.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import JSONRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from hdr_responder.telemetry.redaction import redact_event

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
)
_TALKATIVE = ("aiohttp.access", "alembic", "asyncio", "kubernetes_asyncio", "pgqueuer", "slack_bolt", "slack_sdk")


def configure_logs(
    format_: Literal["json", "console"],
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO | None = None,
) -> None:
    """Send all logs of this process to ``stream`` (standard error), one line each; the later call wins.

    Libraries that tell every request or job are heard from WARNING on, unless ``level`` is debug.
    """
    stream = stream or sys.stderr
    renderer: Processor = JSONRenderer(ensure_ascii=False) if format_ == "json" else _console(stream)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[ProcessorFormatter.remove_processors_meta, redact_event, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _console(stream: TextIO) -> Processor:
    """Plain tracebacks: the pretty ones show local variables, secrets included."""
    return ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain_traceback)
