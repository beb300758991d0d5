"""Finds what would notify people in a message, so that a test can prove that outside text never does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_MENTION = re.compile(
    r"<(?:!(?P<broadcast>channel|here|everyone|group)|!subteam\^(?P<subteam>\w+)|@(?P<user>[UWB]\w+))(?:\|[^>]*)?>"
)
_BARE_BROADCAST = re.compile(r"(?<!\w)@(channel|here|everyone)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Something in a message that notifies people.

    ``kind`` is ``channel``, ``here``, ``everyone``, ``subteam`` or ``user``; ``text`` is the mention as written;
    ``where`` is a JSON pointer into the call's arguments; ``channel`` and ``ts`` are empty where there is no message.
    """

    kind: str
    text: str
    where: str
    method: str
    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention and its place, before it is known whether Slack takes the message."""

    kind: str
    text: str
    where: str


def find_mentions(args: dict[str, Any]) -> list[Mention]:
    """Return every mention in a message's arguments.

    Plain text objects are left out: Slack shows a mention in them as it is written. Bare ``@here`` counts only when the
    caller asked Slack to link names.
    """
    linked = args.get("parse") == "full" or str(args.get("link_names")) in {"1", "True", "true"}
    found: list[Mention] = []
    for where, text in _texts(args):
        found.extend(Mention(_kind(m), m.group(), where) for m in _MENTION.finditer(text))
        if linked:
            found.extend(Mention(m.group(1), m.group(), where) for m in _BARE_BROADCAST.finditer(text))
    for key in ("blocks", "attachments"):
        found.extend(_rich_mentions(args.get(key), f"/{key}"))
    return found


def _kind(match: re.Match[str]) -> str:
    if match["user"]:
        return "user"
    if match["subteam"]:
        return "subteam"
    return "channel" if match["broadcast"] == "group" else match["broadcast"]


def _texts(args: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("text", "initial_comment", "markdown_text"):
        if isinstance(args.get(key), str):
            yield f"/{key}", args[key]
    for key in ("blocks", "attachments"):
        yield from _marked_up(args.get(key), f"/{key}")


def _marked_up(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _marked_up(item, f"{at}/{index}")
    if not isinstance(value, dict) or value.get("type") in {"plain_text", "rich_text"}:
        return
    for key, item in value.items():
        if isinstance(item, str) and key in {"text", "pretext", "fallback", "value"} and _is_shown(value, key):
            yield f"{at}/{key}", item
        else:
            yield from _marked_up(item, f"{at}/{key}")


def _is_shown(holder: dict[str, Any], key: str) -> bool:
    """Tell a text that is shown from the value that a button or an option only carries."""
    return key != "value" or ("action_id" not in holder and "text" not in holder)


def _rich_mentions(value: Any, at: str) -> Iterator[Mention]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _rich_mentions(item, f"{at}/{index}")
        return
    if not isinstance(value, dict):
        return
    kind = value.get("type")
    if kind == "broadcast":
        yield Mention(str(value.get("range")), f"<!{value.get('range')}>", at)
    elif kind == "user" and "user_id" in value:
        yield Mention("user", f"<@{value['user_id']}>", at)
    elif kind == "usergroup" and "usergroup_id" in value:
        yield Mention("subteam", f"<!subteam^{value['usergroup_id']}>", at)
    for key in ("elements", "blocks"):
        yield from _rich_mentions(value.get(key), f"{at}/{key}")
