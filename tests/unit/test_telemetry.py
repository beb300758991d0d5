"""Logs are one line each, say what they are about, and hold no secret; metrics have their promised names."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

from hdr_responder.telemetry import Metrics, configure_logs, redact, register_secret
from tests.unit.http.stand_ins import NOW, a_run, an_incident

SECRET = "correct-horse-battery"
PROMISED = (
    "deliveries_total{source,result}",
    "alerts_total{source,kind}",
    "incidents_open{priority}",
    "incident_ack_seconds",
    "incident_resolve_seconds",
    "runs_total{playbook,mode,outcome}",
    "run_seconds",
    "steps_total{action,outcome}",
    "guard_refusals_total{guard}",
    "notifications_total{lane,outcome}",
    "notification_lag_seconds{lane}",
    "queue_depth{entrypoint}",
    "ingest_seconds",
    "lost_alerts_total{source}",
    "paused",
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logs of this test as JSON; logging is put back as it was."""
    root, levels = logging.getLogger(), {}
    handlers, level = root.handlers, root.level
    for name in ("aiohttp.access", "alembic", "asyncio", "kubernetes_asyncio", "pgqueuer", "slack_bolt", "slack_sdk"):
        levels[name] = logging.getLogger(name).level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_ours_and_the_libraries_logs_say_what_they_are_about(stream: io.StringIO) -> None:
    configure_logs("json", "info", stream)
    with structlog.contextvars.bound_contextvars(incident="INC-142", run="r1", delivery=7):
        structlog.get_logger("hdr_responder.engine").info("run_started", playbook="restart")
        logging.getLogger("some.library").warning("took %s s", 3)
    structlog.get_logger("hdr_responder.engine").info("alone")
    ours, library, alone = lines(stream)
    assert ours["event"] == "run_started"
    assert ours["playbook"] == "restart"
    assert ours["level"] == "info"
    assert ours["timestamp"].endswith("Z")
    assert library["event"] == "took 3 s"
    assert library["logger"] == "some.library"
    for line in (ours, library):
        assert (line["incident"], line["run"], line["delivery"]) == ("INC-142", "r1", 7)
    assert "incident" not in alone


def test_levels(stream: io.StringIO) -> None:
    configure_logs("json", "info", stream)
    for name in ("aiohttp.access", "pgqueuer", "slack_bolt.AsyncApp"):
        logging.getLogger(name).info("chatter")
    structlog.get_logger("x").debug("detail")
    assert lines(stream) == []
    configure_logs("json", "debug", stream)
    logging.getLogger("pgqueuer").info("chatter")
    structlog.get_logger("x").debug("detail")
    assert [line["event"] for line in lines(stream)] == ["chatter", "detail"]


def fail() -> None:
    local_secret = SECRET
    raise RuntimeError(f"cannot use {local_secret}")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_logged(stream: io.StringIO, form: Any) -> None:
    configure_logs(form, "info", stream)
    register_secret(SECRET)
    log = structlog.get_logger("x")
    log.info("e", plain=SECRET, nested={"a": [f"x{SECRET}y"], SECRET: 1}, error=ValueError(SECRET), raw=SECRET.encode())
    log.info(" ".join(["text", SECRET]))
    logging.getLogger("lib").error("failed: %s", SECRET)
    try:
        fail()
    except RuntimeError:
        log.exception("broke")
        logging.getLogger("lib").exception("broke too")
    with structlog.contextvars.bound_contextvars(incident=SECRET):
        log.info("bound")
    written = stream.getvalue()
    assert SECRET not in written
    assert written.count("RuntimeError") >= 2
    assert written.count("***") >= 9


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://hdr:pa55@db:5432/x", "postgresql://hdr:***@db:5432/x"),
        ("redis://:pa55@cache/0 refused", "redis://:***@cache/0 refused"),
        ("http://db:5432/x@y", "http://db:5432/x@y"),
        ("host=db password=pa55 user=a", "host=db password=*** user=a"),
        ("Authorization: Bearer abcdef.ghi", "Authorization: Bearer ***"),
        ("xoxb-123-abc and xapp-1-A", "xoxb-*** and xapp-***"),
        ("nothing to hide: token rotation, basic checks", "nothing to hide: token rotation, basic checks"),
    ],
)
def test_credentials_of_known_shape_are_recognised(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_long_texts_are_redacted_in_linear_time() -> None:
    for text in ("a." * 200_000, "a://" + "b" * 200_000, "token=" * 50_000, "xoxb" * 50_000):
        started = time.process_time()
        redact(text)
        assert time.process_time() - started < 2


def test_short_and_overlapping_secrets() -> None:
    register_secret("abc")
    register_secret("overlap-long-secret")
    register_secret("overlap-long")
    assert redact("abc is a word") == "abc is a word"
    assert redact("overlap-long-secret.") == "***."


def test_metrics_have_their_promised_names_and_labels() -> None:
    metrics = Metrics()
    offered = {}
    for value in vars(metrics).values():
        if hasattr(value, "_labelnames"):
            name = value._name + ("_total" if value._type == "counter" else "")
            labels = ",".join(value._labelnames)
            offered[f"{name}{{{labels}}}" if labels else name] = value
    assert set(offered) == {f"hdr_responder_{name}" for name in PROMISED}
    text = metrics.render().decode()
    for name in PROMISED:
        assert re.search(rf"^# TYPE hdr_responder_{re.escape(name.partition('{')[0])} ", text, re.MULTILINE), name


def test_two_services_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.deliveries.labels("a", "accepted").inc()
    assert 'source="a"' in one.render().decode()
    assert 'source="a"' not in two.render().decode()


def test_what_is_counted_of_runs_and_incidents() -> None:
    metrics = Metrics()
    run, (step,) = a_run()
    run.started_at, run.ended_at = NOW, NOW + timedelta(seconds=20)
    metrics.run_ended(run)
    metrics.step_ended(step)
    incident = an_incident()
    incident.acknowledged_at, incident.resolved_at = NOW + timedelta(seconds=40), NOW + timedelta(seconds=90)
    metrics.incident_acknowledged(incident)
    metrics.incident_resolved(incident)
    text = metrics.render().decode().splitlines()
    assert 'hdr_responder_runs_total{mode="approve",outcome="verifying",playbook="restart"} 1.0' in text
    assert 'hdr_responder_steps_total{action="kubernetes.rollout_restart",outcome="succeeded"} 1.0' in text
    assert "hdr_responder_run_seconds_sum 20.0" in text
    assert "hdr_responder_incident_ack_seconds_sum 40.0" in text
    assert "hdr_responder_incident_resolve_seconds_sum 90.0" in text
