"""What a ``sh`` example says, line by line, and whether the product knows it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import typer

from hdr_responder.adapters.http.endpoint import AnyEndpoint
from tests.unit.docs.markdown import ROOT, Block

_TARGET = re.compile(r"^([a-z-]+):.*##", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(slots=True)
class Curl:
    """A request as an example writes it."""

    url: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query))


def lines(block: Block) -> list[list[str]]:
    """The words of each command; comments, continuations and variables are understood as a shell does."""
    text = block.body.replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


@cache
def make_targets() -> frozenset[str]:
    return frozenset(_TARGET.findall((ROOT / "Makefile").read_text("utf-8")))


def parse_cli(arguments: Sequence[str]) -> None:
    """Parse as the command line does, without doing anything; raises what it would tell the user."""
    from hdr_responder.cli.root import app

    command: Any = typer.main.get_command(app)
    words = list(arguments)
    while hasattr(command, "commands"):
        assert words, "a command is missing"
        assert words[0] in command.commands, f"there is no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    command.make_context("hdr-responder", words)


def parse_curl(words: Sequence[str]) -> Curl:
    """Read the few options of curl that the examples use."""
    found, rest = Curl(), list(words)
    while rest:
        word = rest.pop(0)
        match word:
            case "-X":
                found.method = rest.pop(0)
            case "-H":
                key, _, value = rest.pop(0).partition(": ")
                found.headers[key] = value
            case "-d" | "--data-binary":
                found.body = rest.pop(0)
            case _ if not word.startswith("-") and not found.url:
                found.url = word
            case _:
                raise AssertionError(f"curl {word}: the tests do not know this option")
    return found


def fits(endpoint: AnyEndpoint, method: str, path: str) -> bool:
    """Whether a request goes to this endpoint."""
    pattern = "[^/]+".join(re.escape(part) for part in _PLACEHOLDER.split(endpoint.path))
    return endpoint.method == method and re.fullmatch(pattern, path) is not None


def check_request(curl: Curl, endpoint: AnyEndpoint) -> None:
    """Read query and body as the endpoint does; unknown and wrong fields raise."""
    query = {
        k: v.split(",") if isinstance(endpoint.query.model_fields[k].default, tuple) else v
        for k, v in curl.query.items()
    }
    endpoint.query.model_validate(query)
    if curl.body is not None:
        assert curl.headers.get("Content-Type") == "application/json"
        endpoint.body.model_validate_json(json.dumps(json.loads(curl.body)))
    elif endpoint.method == "POST":
        endpoint.body.model_validate_json("{}")
