"""Options and arguments that several commands share, and how their texts are read."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, TypeVar

import typer
from pydantic_core import PydanticCustomError

from hdr_responder.domain.durations import parse_duration
from hdr_responder.domain.incidents import parse_ref
from hdr_responder.domain.ports.records import MAX_PAGE
from hdr_responder.errors import InvalidInputError

_NAME_MAX = 200
_TEXT_MAX = 4000

T = TypeVar("T")


def group(about: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(
        help=about,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def reading(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return ``read`` as a parser: what it refuses is a mistake in the command line."""

    def parse(text: str) -> T:
        try:
            return read(text)
        except InvalidInputError as error:
            raise PydanticCustomError("refused", "{why}", {"why": error.detail}) from None

    return parse


def login_name() -> str:
    """Return the name that the operating system knows the caller by."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise typer.BadParameter("this user has no name; give --by or set HDR_USER") from None


def _line(longest: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not text.strip():
            raise InvalidInputError("must not be empty")
        if len(text) > longest:
            raise InvalidInputError(f"must not be longer than {longest} characters")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInputError("must be UTF-8 text") from None
        return text.strip()

    return read


def _positive(text: str) -> timedelta:
    duration = parse_duration(text)
    if not duration:
        raise InvalidInputError("must be longer than 0")
    return duration


name = reading(_line(_NAME_MAX))
text = reading(_line(_TEXT_MAX))
duration = reading(parse_duration)
period = reading(_positive)

Json = Annotated[bool, typer.Option("--json", help="Print JSON in the API's shapes.")]
Limit = Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="Most items to print.")]
Cursor = Annotated[str | None, typer.Option(help="Where to go on, as the page before told.", metavar="CURSOR")]
By = Annotated[
    str,
    typer.Option(
        parser=name,
        metavar="NAME",
        envvar="HDR_USER",
        default_factory=login_name,
        show_default="your login name",
        help="Who asks for it, kept on the timeline.",
    ),
]
IncidentRef = Annotated[int, typer.Argument(parser=reading(parse_ref), metavar="INC-n", help="The incident.")]
