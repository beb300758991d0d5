"""What is kept of what commands in containers write."""

from __future__ import annotations

import pytest

from hdr_responder.actions.kubernetes.commands import COMMANDS, environment_names, masked, open_connections, processes


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("java -jar app.jar --port=8080", "java -jar app.jar --port=8080"),
        ("psql postgresql://app:s3cret@db:5432/x?a=b", "psql postgresql://app:***@db:5432/x?a=b"),
        ("run amqp://u:p@ss@host/v", "run amqp://u:***@host/v"),
        ("app --db-password=s3cret --level info", "app --db-password=*** --level info"),
        ("app --password s3cret --level info", "app --password *** --level info"),
        ("env API_KEY=s3cret sh", "env API_KEY=*** sh"),
        ("curl -H Authorization: s3cret", "curl -H Authorization: ***"),
        ("curl -H Authorization: Bearer s3cret url", "curl -H Authorization: *** *** url"),
        ("curl -H X-Auth-Token:s3cret", "curl -H X-Auth-Token:***"),
        ("  12     1 root   01:02 node  server.js", "  12     1 root   01:02 node  server.js"),
        ("tokenizer --input a.txt", "tokenizer --input a.txt"),
    ],
)
def test_command_lines_without_their_secrets(line: str, kept: str) -> None:
    assert masked(line) == kept


def test_a_hostile_line_takes_no_time() -> None:
    line = "password" * 30_000 + "://" + ":" * 1000
    assert processes(line.encode()) == [line[:1000]]


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (b"B=2\0A=1\0", ["A", "B"]),
        (b"KEY=-----BEGIN\nSECRET=inside\n-----END\0PATH=/bin\0", ["KEY", "PATH"]),
        (b"A=1\0CUT_SECR", ["A"]),
        (b"A=1\0CUT=s3cret", ["A"]),
        (b"A=1\nB=2\n", []),
        (b"no equals\0=empty\0 x y=1\0ok.name-1=\0", ["ok.name-1"]),
        (b"s3cret\xff=1\0", []),
        (b"", []),
    ],
)
def test_environment_names_never_hold_values(written: bytes, names: list[str]) -> None:
    assert environment_names(written) == names


def test_connections_are_readable() -> None:
    table = (
        b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        b"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
        b"   1: 0A00020F:D431 0101A8C0:1538 01 00000000:00000000 00:00000000 00000000     0        0 2 1\n"
        b"  sl  local_address                         remote_address                        st tx_queue rx_queue\n"
        b"   0: 00000000000000000000000001000000:1F90 B80D01200000000000000000010000000:0000 0A\n"
        b"   1: 00000000000000000000000001000000:0050 B80D0120000000000000000001000000:0035 FF\n"
        b"   2: 0100007F:1F"
    )
    assert open_connections(table) == [
        "127.0.0.1:8080 0.0.0.0:0 LISTEN",
        "15.2.0.10:54321 192.168.1.1:5432 ESTABLISHED",
        "[::1]:80 [2001:db8::1]:53 FF",
    ]


def test_commands_use_no_shell() -> None:
    assert all(command.argv[0] in {"ps", "df", "cat", "env"} for command in COMMANDS.values())
