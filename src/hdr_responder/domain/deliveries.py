"""Alertmanager's webhook body (version 4): from bytes to normalised alert events, naming every field that is wrong.

One bad alert never rejects its delivery: `parse` returns the good ones beside the bad ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hdr_responder.domain.alerts import AlertEvent, AlertStatus
from hdr_responder.errors import InvalidInputError

_FINGERPRINT_MAX = 64
_SHOWN = 80
_NUL_ESCAPE = b"\\u0000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One inbound request as it came."""

    id: int
    source: str
    received_at: datetime
    body: bytes
    status: str = "received"
    error: str | None = None


def _utc(value: datetime) -> datetime:
    """Return the time in UTC; the zero time stands for "not yet" and would overflow (Alertmanager contract rule 5)."""
    if value.year <= 1:
        return datetime.min.replace(tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _text(value: object) -> object:
    """PostgreSQL cannot hold NUL in text; keep the label and show where it was."""
    if isinstance(value, str) and "\x00" in value:
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return value


_Text = Annotated[str, BeforeValidator(_text)]


class _Shape(BaseModel):
    """An alert as the contract has it; cheap to check on the way in."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(min_length=1)
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: datetime = Field(alias="startsAt")
    ends_at: datetime | None = Field(alias="endsAt", default=None)
    generator_url: str = Field(alias="generatorURL", default="")
    fingerprint: str = ""


class _Alert(_Shape):
    """An alert with its texts made fit to be stored."""

    labels: dict[_Text, _Text] = Field(min_length=1)
    annotations: dict[_Text, _Text] = Field(default_factory=dict)
    generator_url: _Text = Field(alias="generatorURL", default="")
    fingerprint: _Text = ""


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal["4"]
    group_key: str = Field(alias="groupKey")
    status: Literal["firing", "resolved"]
    receiver: str
    truncated_alerts: int = Field(alias="truncatedAlerts", default=0, ge=0)


class _Contract(_Envelope):
    alerts: list[_Shape]


class _Strict(_Envelope):
    alerts: list[_Alert]


class _Lenient(_Envelope):
    alerts: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadAlert:
    """An alert of an otherwise good delivery that could not be read."""

    position: int
    field: str
    problem: str
    labels: Mapping[str, str]
    """What could be read of its labels, so that people can find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDelivery:
    """A delivery's alerts, and the alerts that could not be read."""

    events: tuple[AlertEvent, ...]
    bad: tuple[BadAlert, ...]
    truncated: int
    """How many further alerts the sender left out (rule 10)."""


def check_contract(body: bytes) -> None:
    """Check that ``body`` is a delivery of which at least one alert can be read.

    Raises InvalidInputError naming the first wrong field.
    """
    try:
        _Contract.model_validate_json(body)
    except ValidationError as error:
        _, bad = _lenient(body)
        if bad is not None and len(bad) < _count(body):
            return
        raise _invalid(error) from None


def parse(delivery: Delivery) -> ParsedDelivery:
    """Read a stored delivery.

    Raises InvalidInputError when nothing of it can be read.
    """
    # Only an escape can bring NUL into JSON text; without one the cheaper check does.
    model = _Strict if _NUL_ESCAPE in delivery.body else _Contract
    try:
        strict = model.model_validate_json(delivery.body)
    except ValidationError as error:
        readable, unreadable = _lenient(delivery.body)
        if unreadable is None:
            raise _invalid(error) from None
        alerts: Sequence[_Shape] = readable
        bad = unreadable
        truncated = _Lenient.model_validate_json(delivery.body).truncated_alerts
    else:
        alerts, bad, truncated = strict.alerts, [], strict.truncated_alerts
    events = tuple(_event(delivery, a, truncated=truncated > 0) for a in alerts)
    return ParsedDelivery(events=events, bad=tuple(bad), truncated=truncated)


def _count(body: bytes) -> int:
    return len(_Lenient.model_validate_json(body).alerts)


def _lenient(body: bytes) -> tuple[list[_Alert], list[BadAlert] | None]:
    """Return the readable alerts and the bad ones; None instead of the bad ones when the envelope itself is wrong."""
    try:
        alerts = _Lenient.model_validate_json(body).alerts
    except ValidationError:
        return [], None
    good, bad = [], []
    for position, raw in enumerate(alerts):
        try:
            good.append(_Alert.model_validate(raw))
        except ValidationError as error:
            bad.append(_bad(position, raw, error))
    return good, bad


def _bad(position: int, raw: object, error: ValidationError) -> BadAlert:
    invalid = _invalid(error, prefix=f"alerts.{position}")
    labels = raw.get("labels") if isinstance(raw, dict) else None
    readable = (
        {str(k)[:_SHOWN]: str(v)[:_SHOWN] for k, v in list(labels.items())[:20]} if isinstance(labels, dict) else {}
    )
    clean = {str(_text(k)): str(_text(v)) for k, v in readable.items()}
    return BadAlert(position=position, field=invalid.field, problem=invalid.detail, labels=clean)


def _invalid(error: ValidationError, prefix: str = "") -> InvalidInputError:
    first = error.errors(include_url=False, include_context=False)[0]
    path = ".".join(part for part in (prefix, *(str(p) for p in first["loc"])) if part)
    shown = "" if first["type"] in {"missing", "json_invalid"} else f" (got {str(first['input'])[:_SHOWN]!r})"
    return InvalidInputError(f"{first['msg']}{shown}", field=path)


def _event(delivery: Delivery, alert: _Shape, *, truncated: bool) -> AlertEvent:
    ends_at = _utc(alert.ends_at) if alert.ends_at and alert.status == "resolved" else None
    return AlertEvent(
        source=delivery.source,
        fingerprint=_fingerprint(alert),
        status=AlertStatus(alert.status),
        labels=alert.labels,
        annotations=alert.annotations,
        starts_at=_utc(alert.starts_at),
        ends_at=None if ends_at and ends_at.year <= 1 else ends_at,
        received_at=delivery.received_at,
        generator_url=alert.generator_url,
        truncated=truncated,
    )


def _fingerprint(alert: _Shape) -> str:
    """Return Alertmanager's fingerprint, or a digest where it is absent or longer than an index can hold."""
    if 0 < len(alert.fingerprint) <= _FINGERPRINT_MAX:
        return alert.fingerprint
    basis = alert.fingerprint or repr(sorted(alert.labels.items()))
    return hashlib.sha256(basis.encode("utf-8", "surrogatepass")).hexdigest()[:32]
