"""Recorded deliveries: a file, a folder, or what the service has stored, in the order in which they came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from hdr_responder.domain.deliveries import Delivery
from hdr_responder.engine.simulation import REJECTED
from hdr_responder.errors import PermanentError
from hdr_responder.settings import DEFAULT_SOURCE

if TYPE_CHECKING:
    from hdr_responder.app.session import Session

MOST_STORED = 100_000
UNDATED = datetime(2000, 1, 1, tzinfo=UTC)
"""When a delivery came of which nothing tells it."""
_MOMENT = TypeAdapter(datetime)
_PAGE = 500


class Recording(Protocol):
    """Deliveries that can be read again and again; the id of each says where it is in the recording."""

    def __iter__(self) -> Iterator[Delivery]:
        """Read from the beginning."""
        ...

    def place(self, delivery_id: int) -> str:
        """Return where a delivery is, for people."""
        ...


@dataclass(frozen=True, slots=True)
class Bodies:
    """Files of one body each. A delivery came when the newest happened that it tells, and never before the last one."""

    files: Sequence[Path]

    def __iter__(self) -> Iterator[Delivery]:
        """Read every file."""
        at = UNDATED
        for number, path in enumerate(self.files, start=1):
            body = read(path)
            at = max(at, _newest(body) or at)
            yield Delivery(id=number, source=DEFAULT_SOURCE, received_at=at, body=body)

    def place(self, delivery_id: int) -> str:
        """Return the file."""
        return str(self.files[delivery_id - 1])


class _Line(BaseModel):
    """One delivery of a file of JSON lines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    received_at: AwareDatetime
    source: str = DEFAULT_SOURCE
    body: dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class Lines:
    """A file with one delivery a line, each with when and from where it came."""

    file: Path

    def __iter__(self) -> Iterator[Delivery]:
        """Read line by line; what is no such line is a rejected delivery that says why."""
        at = UNDATED
        with self.file.open("rb") as lines:
            for number, text in enumerate(lines, start=1):
                if not text.strip():
                    continue
                delivery = _delivery(number, text, at)
                at = delivery.received_at
                yield delivery

    def place(self, delivery_id: int) -> str:
        """Return file and line."""
        return f"{self.file}:{delivery_id}"


@dataclass(frozen=True, slots=True)
class Stored:
    """Deliveries of the service's database."""

    deliveries: Sequence[Delivery] = field(repr=False)

    def __iter__(self) -> Iterator[Delivery]:
        """Return them."""
        return iter(self.deliveries)

    def place(self, delivery_id: int) -> str:
        """Return the number that ``deliveries show`` knows."""
        return f"delivery {delivery_id}"


def recorded(path: Path) -> Recording:
    """Return the recording that a file or a folder holds. Raises PermanentError when there is none."""
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise PermanentError(f"{path} holds no deliveries: no file there ends with .json")
        return Bodies(files)
    if not path.is_file():
        raise PermanentError(f"{path} is no file and no folder")
    return Lines(path) if _has_lines(path) else Bodies([path])


async def stored(session: Session, since: timedelta) -> Stored:
    """Read what the service received in the last ``since``, oldest first."""
    from hdr_responder.domain.ports.records import PageRequest

    begin = session.clock.now() - since
    ids: list[int] = []
    cursor: str | None = None
    while len(ids) < MOST_STORED:
        page = await session.records.deliveries((), PageRequest(limit=_PAGE, cursor=cursor))
        young = [d.id for d in page.items if d.received_at >= begin]
        ids += young
        cursor = page.next_cursor
        if cursor is None or len(young) < len(page.items):
            break
    return Stored([await session.records.delivery(number) for number in reversed(ids[:MOST_STORED])])


def read(path: Path) -> bytes:
    """Return a file's content. Raises PermanentError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error


def _has_lines(path: Path) -> bool:
    """Tell whether the first line alone is a delivery: a body begins with a line of its own, or has no ``body``."""
    try:
        with path.open("rb") as lines:
            first = next((text for text in lines if text.strip()), b"")
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error
    try:
        value = json.loads(first)
    except ValueError:
        return False
    return isinstance(value, dict) and "body" in value


def _delivery(number: int, text: bytes, before: datetime) -> Delivery:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc'])) or 'line'}: {first['msg']}"
        return Delivery(id=number, source=DEFAULT_SOURCE, received_at=before, body=text, status=REJECTED, error=problem)
    body = line.body if isinstance(line.body, str) else json.dumps(line.body, ensure_ascii=False)
    return Delivery(
        id=number, source=line.source, received_at=line.received_at, body=body.encode("utf-8", "surrogatepass")
    )


def _newest(body: bytes) -> datetime | None:
    """Return the latest start of what fires and end of what is over, None where nothing of it can be read."""
    try:
        alerts = json.loads(body)["alerts"]
        keys = [(alert, "endsAt" if alert.get("status") == "resolved" else "startsAt") for alert in alerts]
        times = [_MOMENT.validate_python(alert[key]) for alert, key in keys]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return max((t if t.tzinfo else t.replace(tzinfo=UTC) for t in times), default=None)
