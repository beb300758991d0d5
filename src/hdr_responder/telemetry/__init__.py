"""What operators see of the service: structured logs and metrics."""

from __future__ import annotations

from hdr_responder.telemetry.logs import configure_logs
from hdr_responder.telemetry.metrics import Metrics
from hdr_responder.telemetry.redaction import redact, register_secret

__all__ = ["Metrics", "configure_logs", "redact", "register_secret"]
