"""Reads a call's arguments and judges what it wants to show, before anything is posted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from .slack_blocks import check_blocks, text_size
from .slack_errors import SlackRefusalError

JsonDict = dict[str, Any]

POST_TEXT = 40_000
UPDATE_TEXT = 4_000
BLOCKS_TEXT = 13_200
ATTACHMENTS = 100
METADATA_CHARACTERS = 16_000
_TS = re.compile(r"\d{10}\.\d{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message shows. ``blocks`` and ``attachments`` are None when the call did not give them."""

    text: str = ""
    blocks: list[JsonDict] | None = None
    attachments: list[JsonDict] | None = None
    metadata: JsonDict | None = field(default=None)


def read_content(args: JsonDict, *, text_limit: int = POST_TEXT) -> Content:
    """Take the content out of a call's arguments; refuse it as Slack would."""
    text = args.get("text") or ""
    if not isinstance(text, str):
        raise SlackRefusalError("invalid_arguments", "must be a string [json-pointer:/text]")
    blocks = _objects(args, "blocks", "invalid_blocks_format")
    attachments = _objects(args, "attachments", "invalid_attachments")
    if not text and not blocks and not attachments:
        raise SlackRefusalError("no_text")
    if len(text) > text_limit:
        raise SlackRefusalError("msg_too_long")
    _judge_blocks(blocks or [])
    _judge_attachments(attachments or [])
    return Content(text=text, blocks=blocks, attachments=attachments, metadata=_metadata(args))


def structured(args: JsonDict, key: str, error: str) -> Any:
    """Return an argument that form bodies carry as JSON text; None when it is absent."""
    value = args.get(key)
    if not isinstance(value, str):
        return value
    if not value:
        return None
    try:
        return json.loads(value)
    except ValueError:
        raise SlackRefusalError(error) from None


def required(args: JsonDict, *keys: str) -> list[str]:
    """Return the named arguments as texts; refuse when one is missing."""
    missing = [key for key in keys if args.get(key) in (None, "")]
    if missing:
        raise SlackRefusalError("invalid_arguments", *(f"missing required field: {key}" for key in missing))
    return [str(args[key]) for key in keys]


def is_timestamp(value: Any) -> bool:
    """Whether ``value`` has the form of a message's timestamp (a text: a float loses digits)."""
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def _objects(args: JsonDict, key: str, error: str) -> list[JsonDict] | None:
    value = structured(args, key, error)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise SlackRefusalError(error)
    return value


def _judge_blocks(blocks: list[JsonDict]) -> None:
    problems = check_blocks(blocks)
    if problems:
        raise SlackRefusalError("invalid_blocks", *problems)
    if text_size(blocks) > BLOCKS_TEXT:
        raise SlackRefusalError("msg_blocks_too_long")


def _judge_attachments(attachments: list[JsonDict]) -> None:
    if len(attachments) > ATTACHMENTS:
        raise SlackRefusalError("too_many_attachments")
    problems: list[str] = []
    for index, attachment in enumerate(attachments):
        if "blocks" in attachment:
            problems += check_blocks(attachment["blocks"], pointer=f"/attachments/{index}/blocks")
    if problems:
        raise SlackRefusalError("invalid_attachments", *problems)
    if sum(text_size(attachment.get("blocks")) for attachment in attachments) > BLOCKS_TEXT:
        raise SlackRefusalError("msg_blocks_too_long")


def _metadata(args: JsonDict) -> JsonDict | None:
    metadata = structured(args, "metadata", "invalid_metadata_format")
    if metadata is None:
        return None
    if (
        not isinstance(metadata, dict)
        or not isinstance(metadata.get("event_type"), str)
        or not isinstance(metadata.get("event_payload"), dict)
    ):
        raise SlackRefusalError("invalid_metadata_format")
    if len(json.dumps(metadata)) > METADATA_CHARACTERS:
        raise SlackRefusalError("metadata_too_large")
    return metadata
