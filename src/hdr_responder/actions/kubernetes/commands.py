"""The commands that may be run in a container, and what is kept of what they write.

They are fixed to the last argument: what a playbook or an alert says never becomes part of one. What they write may
hold secrets, which are taken out here, before anything is kept.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

CommandName = Literal["processes", "disk_usage", "open_connections", "environment_names"]

MASK = "***"
LINE_LIMIT = 1000
_SECRET = re.compile(
    r"pass(word|wd|phrase)?|pwd|secret|token|credential|auth|(api|access|private)[-_]?key", re.IGNORECASE
)
_ASSIGNED = re.compile(r"([^=:]*[=:])(.+)")
_IN_ADDRESS = re.compile(r"(://[^/@\s]{0,300}?:)[^/\s]{1,1000}@")
_SCHEMES = frozenset({"bearer", "basic"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}")
_ENDPOINT = re.compile(r"([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})")
_STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}
"""TCP states as Linux numbers them (include/net/tcp_states.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; ``readable`` turns what it wrote into the lines that are kept.

    ``tells_errors`` says whether its standard error may be told: not where it could repeat values.
    """

    argv: tuple[str, ...]
    readable: Callable[[bytes], list[str]]
    tells_errors: bool = True


def _lines(written: bytes) -> list[str]:
    return [line[:LINE_LIMIT] for line in written.decode(errors="replace").splitlines()]


def masked(line: str) -> str:
    """Return a command line without passwords in addresses and the values of arguments that are called secret."""
    words = re.split(r"(\s+)", line)
    following = False
    for place, word in enumerate(words):
        if not word or word.isspace():
            continue
        words[place] = MASK if following else _masked_word(word)
        named = (word.startswith("-") or word.endswith(":")) and _names_a_secret(word) and words[place] == word
        following = named or word.lower() in _SCHEMES
    return "".join(words)


def _masked_word(word: str) -> str:
    assigned = _ASSIGNED.fullmatch(word)
    if assigned and "://" not in word.partition("=")[0] and _names_a_secret(assigned[1]):
        return f"{assigned[1]}{MASK}"
    return _IN_ADDRESS.sub(rf"\1{MASK}@", word)


def _names_a_secret(text: str) -> bool:
    return _SECRET.search(text) is not None


def processes(written: bytes) -> list[str]:
    """Return the process list, secrets on command lines masked as far as they can be recognised."""
    return [masked(line) for line in _lines(written)]


def environment_names(written: bytes) -> list[str]:
    """Return the sorted names of ``name=value`` entries that end in NUL, which no value can hold.

    An entry without its end was cut and is left out, as is a name that is none.
    """
    whole = written.split(b"\0")[:-1]
    names = {name.decode(errors="replace") for name, equals, _ in (each.partition(b"=") for each in whole) if equals}
    return sorted(name for name in names if _NAME.fullmatch(name))


def open_connections(written: bytes) -> list[str]:
    """Return ``local remote STATE`` of each TCP socket in the kernel's tables (``/proc/net/tcp``)."""
    return list(_connections(written.decode(errors="replace")))


def _connections(table: str) -> Iterator[str]:
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        local, remote = _ENDPOINT.fullmatch(fields[1]), _ENDPOINT.fullmatch(fields[2])
        if local and remote:
            yield f"{_endpoint(local)} {_endpoint(remote)} {_STATES.get(fields[3], fields[3])}"


def _endpoint(found: re.Match[str]) -> str:
    """Return ``address:port``; the kernel writes an address as 32-bit words of its own (little-endian) order."""
    raw = bytes.fromhex(found[1])
    address = ipaddress.ip_address(b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4)))
    shown = f"[{address}]" if address.version == 6 else str(address)
    return f"{shown}:{int(found[2], 16)}"


COMMANDS: dict[CommandName, Command] = {
    "processes": Command(argv=("ps", "-e", "-o", "pid,ppid,user,etime,args"), readable=processes),
    "disk_usage": Command(argv=("df", "-P", "-k"), readable=_lines),
    "open_connections": Command(argv=("cat", "/proc/net/tcp", "/proc/net/tcp6"), readable=open_connections),
    "environment_names": Command(argv=("env", "-0"), readable=environment_names, tells_errors=False),
}
