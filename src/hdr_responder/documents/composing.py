"""Composes YAML to nodes: quickly where that is sure to give the same nodes, else by the parser that knows YAML 1.2.

ruamel.yaml reads YAML 1.2 and words its mistakes well, but at some hundred kilobytes a second. libyaml is thirty times
as fast and reads YAML 1.1, with the same structure, places and quoting for plain documents. Whatever it may read in
another way (tabs, carriage returns, YAML 1.1's line breaks, directives, tags, anchors, deep nesting, a document that is
one text) and whatever it refuses is left to ruamel.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tag import Tag
from yaml import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
    YAMLError,
)

try:
    from yaml._yaml import CParser
except ImportError:
    CParser = None

TAG = "tag:yaml.org,2002:"
_MAX_DEPTH = 50
_ALIKE = re.compile("[\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")
"""Text without characters that only one of the parsers takes for space, for a line's end or for none at all."""
_REFUSED = re.compile(r"[|>][-+0-9]*#|^\.\.\.", re.MULTILINE)
"""What libyaml lets pass where ruamel.yaml may not: a comment stuck to a block's head, ends of documents in a row."""
_MAP, _SEQ, _TEXT, _NULL = (Tag(suffix=TAG + kind) for kind in ("map", "seq", "str", "null"))


class _UnlikeError(Exception):
    """A document has something that the quick parser might read in another way."""


def compose(text: str) -> Iterator[Node | None]:
    """Yield the node of each document, None for an empty one. Raises ruamel.yaml's errors."""
    quick = _quickly(text)
    return YAML(typ="safe", pure=True).compose_all(text) if quick is None else iter(quick)


def _quickly(text: str) -> list[Node | None] | None:
    if CParser is None or not _ALIKE.fullmatch(text) or _REFUSED.search(text):
        return None
    try:
        return list(_documents(CParser(text)))
    except (YAMLError, _UnlikeError):
        return None


def _documents(parser: Any) -> Iterator[Node | None]:
    parser.get_event()
    while not isinstance(start := parser.get_event(), StreamEndEvent):
        if not isinstance(start, DocumentStartEvent) or start.version or start.tags:
            raise _UnlikeError
        node = _node(parser, parser.get_event(), 0)
        if isinstance(node, ScalarNode) and (node.value or node.style):
            raise _UnlikeError
        yield node
        if not isinstance(parser.get_event(), DocumentEndEvent):
            raise _UnlikeError


def _node(parser: Any, event: Any, depth: int) -> Node:
    kind = type(event)  # an alias is one of the events with an anchor
    if event.anchor is not None or event.tag is not None or depth > _MAX_DEPTH:
        raise _UnlikeError
    if kind is ScalarEvent:
        style = event.style or None
        return ScalarNode(_TEXT if style else _NULL, event.value, event.start_mark, event.end_mark, style)
    items: list[Node] = []
    end = MappingEndEvent if kind is MappingStartEvent else SequenceEndEvent
    while type(following := parser.get_event()) is not end:
        items.append(_node(parser, following, depth + 1))
    if kind is MappingStartEvent:
        return MappingNode(_MAP, list(zip(items[::2], items[1::2], strict=True)), event.start_mark)
    return SequenceNode(_SEQ, items, event.start_mark)
