"""What is kept of what commands in containers write."""

from __future__ import annotations

import os
import subprocess

import pytest

from hdr_responder.actions.kubernetes.commands import (
    COMMANDS,
    PROCESSES_OF_PROC,
    environment_names,
    masked,
    open_connections,
    processes,
)


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
        ("curl -u app:s3cret https://host/x", "curl -u app:*** https://host/x"),
        ("curl --user app:s3cret -o x", "curl --user app:*** -o x"),
        ("python -u server.py", "python -u server.py"),
        ("curl https://host/x?a=1&access_token=s3cret&b=2", "curl https://host/x?a=1&access_token=***&b=2"),
        ("app level=info,password=s3cret,x=1", "app level=info,password=***,x=1"),
        ('app {"user":"a","api_key":"s3cret"}', 'app {"user":"a","api_key":"***"}'),
        ("redis-cli -a s3cret info", "redis-cli -a *** info"),
        ("ls -a folder", "ls -a folder"),
        ("/usr/bin/mysqldump -uapp -ps3cret db", "/usr/bin/mysqldump -uapp -p*** db"),
        ("mkdir -p folder", "mkdir -p folder"),
    ],
)
def test_command_lines_without_their_secrets(line: str, kept: str) -> None:
    assert masked(line) == kept


@pytest.mark.parametrize("line", ["password" * 30_000 + "://" + ":" * 1000, ',{"' * 90_000, "?key" * 60_000])
def test_a_hostile_line_takes_no_time(line: str) -> None:
    assert processes(line.encode()) == [line[:1000]]


def test_many_hostile_lines_take_little_time() -> None:
    line = '{"' + "key" * 300
    assert processes(f"{line}\n".encode() * 280) == [line] * 280


def test_arguments_may_end_in_nul() -> None:
    assert processes(b"PID PPID UID COMMAND\n1 0 0 app\0--password\0s3cret\0\n7 1 0 \n") == [
        "PID PPID UID COMMAND",
        "1 0 0 app --password ***",
        "7 1 0",
    ]


def test_the_kernels_files_tell_the_processes() -> None:
    """The way without ``ps``, as this machine's shell runs it."""
    written = subprocess.run(COMMANDS["processes"].otherwise, capture_output=True, check=True, timeout=60).stdout
    heading, *told = processes(written)
    assert heading == "PID PPID UID COMMAND"
    ours = next(line for line in told if line.startswith(f"{os.getpid()} "))
    assert ours.split()[:3] == [str(os.getpid()), str(os.getppid()), str(os.getuid())]
    assert "python" in ours


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


def test_commands_use_no_shell_but_for_a_constant() -> None:
    assert all(command.argv[0] in {"ps", "df", "cat", "env"} for command in COMMANDS.values())
    assert {command.otherwise for command in COMMANDS.values()} == {(), ("sh", "-c", PROCESSES_OF_PROC)}
