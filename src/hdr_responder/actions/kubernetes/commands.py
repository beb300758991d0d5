"""The commands that may be run in a container, and what is kept of what they write.

They are fixed to the last argument: what a playbook or an alert says never becomes part of one. What they write may
hold secrets, which are taken out here, before anything is kept.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
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
_INSIDE = re.compile(
    r"([?&,;{\"'][\w.\-]{0,60}(?:pass|pwd|secret|token|credential|auth|key)[\w.\-]{0,60}[\"']?[=:][\"']?)[^&,;\"'}\s]+",
    re.IGNORECASE,
)
"""A name that tells a secret, with its value, inside of a word: a query's, a list's, or an object's."""
_USERS = frozenset({"-u", "-U", "--user", "--proxy-user"})
"""Options that take ``user:password`` (curl, wget, and many that followed)."""
_AS_A_USER = re.compile(r"([^:]+:).+")
_IN_AN_OPTION = {"-a": re.compile(r"redis-cli"), "-p": re.compile(r"(^|[\s/])(mysql|mariadb)")}
"""Short options that take a password, by the programs to which they mean that."""
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

    ``otherwise`` reads the same where the program of ``argv`` is missing. ``tells_errors`` says whether its standard
    error may be told: not where it could repeat values.
    """

    argv: tuple[str, ...]
    readable: Callable[[bytes], list[str]]
    otherwise: tuple[str, ...] = ()
    tells_errors: bool = True


def _lines(written: bytes) -> list[str]:
    return [line[:LINE_LIMIT] for line in written.decode(errors="replace").splitlines()]


def masked(line: str) -> str:
    """Return a command line without passwords in addresses and the values of arguments that are called secret."""
    words = re.split(r"(\s+)", line)
    options = {option for option, program in _IN_AN_OPTION.items() if program.search(line)}
    following, before = False, ""
    for place, word in enumerate(words):
        if not word or word.isspace():
            continue
        words[place] = MASK if following else _masked_word(word, before, options)
        named = (word.startswith("-") or word.endswith(":")) and _names_a_secret(word) and words[place] == word
        following = named or word.lower() in _SCHEMES
        before = word
    return "".join(words)


def _masked_word(word: str, before: str, options: Collection[str]) -> str:
    assigned = _ASSIGNED.fullmatch(word)
    if assigned and "://" not in word.partition("=")[0] and _names_a_secret(assigned[1]):
        return f"{assigned[1]}{MASK}"
    if before in options:
        return MASK
    if word[:2] in options and len(word) > 2:
        return f"{word[:2]}{MASK}"
    if before in _USERS:
        return _AS_A_USER.sub(rf"\1{MASK}", word)
    return _INSIDE.sub(rf"\1{MASK}", _IN_ADDRESS.sub(rf"\1{MASK}@", word))


def _names_a_secret(text: str) -> bool:
    return _SECRET.search(text) is not None


def processes(written: bytes) -> list[str]:
    """Return the process list, secrets on command lines masked as far as they can be recognised.

    The kernel ends each argument with a NUL (``/proc/<pid>/cmdline``).
    """
    return [masked(line).rstrip() for line in _lines(written.replace(b"\0", b" "))]


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


PROCESSES_OF_PROC = (
    'echo "PID PPID UID COMMAND"; for each in /proc/[0-9]*; do ppid= uid=; '
    "while read -r key value rest; do case $key in PPid:) ppid=$value ;; Uid:) uid=$value ;; esac; "
    'done <"$each/status" || continue; '
    'printf "%s %s %s " "${each#/proc/}" "$ppid" "$uid"; cat "$each/cmdline"; echo; done 2>/dev/null'
)
"""The process list by the kernel's own files, for images without ``ps``: a constant, to which nothing is added."""

COMMANDS: dict[CommandName, Command] = {
    "processes": Command(
        argv=("ps", "-e", "-o", "pid,ppid,user,etime,args"),
        readable=processes,
        otherwise=("sh", "-c", PROCESSES_OF_PROC),
    ),
    "disk_usage": Command(argv=("df", "-P", "-k"), readable=_lines),
    "open_connections": Command(argv=("cat", "/proc/net/tcp", "/proc/net/tcp6"), readable=open_connections),
    "environment_names": Command(argv=("env", "-0"), readable=environment_names, tells_errors=False),
}
