"""What actions on Redis refuse before anything is asked, and how keys are written down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hdr_responder.actions.redis.key_names import checked_deletion, checked_pattern, restored, shown, stored
from hdr_responder.actions.redis.keys import DeleteByPattern, DeleteByPatternParameters, KeysByPatternParameters
from hdr_responder.actions.redis.looking import IntervalParameters
from hdr_responder.actions.redis.settings import SetConfig, SetConfigParameters
from hdr_responder.actions.redis.slow_log import SlowlogParameters
from hdr_responder.adapters.redis_target.rights import made_up_key
from hdr_responder.adapters.redis_target.slow_commands import slow_command
from hdr_responder.errors import AdapterError

NOT_DELETED = [
    "",
    "*",
    "**",
    "?*",
    "s*",
    "st*",
    "st?le:*",
    "*stale",
    "stale:",
    "stale:?",
    "stale:[a-z]*",
    "stale:[^x]*",
    "stale\\*",
    "stale:\\**",
    "stale:*\n",
    "stale:* *",
    "stale:\x00*",
    "stale:\x7f*",
    "stale:" + "x" * 300 + "*",
    "x;drop table y",
    "'; select pg_sleep(9)--",
]


@pytest.mark.parametrize("pattern", NOT_DELETED)
def test_a_pattern_that_could_hit_anything_deletes_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        checked_deletion(pattern)
    with pytest.raises(ValidationError):
        DeleteByPatternParameters(target="cache", pattern=pattern)


@pytest.mark.parametrize("pattern", ["sta*", "stale:*", "stale:?:*", "stale:*:x*", "é:x*", "a=b,c!=d*", "../../x*"])
def test_a_pattern_with_a_beginning_may_delete(pattern: str) -> None:
    assert DeleteByPatternParameters(target="cache", pattern=pattern).pattern == pattern


@pytest.mark.parametrize("pattern", ["", "a b", "a\n", "\x00", "x" * 201])
def test_a_pattern_that_cannot_be_looked_for(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        checked_pattern(pattern)
    with pytest.raises(ValidationError):
        KeysByPatternParameters(target="cache", pattern=pattern)


def test_looking_may_be_for_anything() -> None:
    assert KeysByPatternParameters(target="cache", pattern="*[a-z]?").pattern == "*[a-z]?"


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_limits_are_bounded(limit: int) -> None:
    for model in (DeleteByPatternParameters, KeysByPatternParameters):
        with pytest.raises(ValidationError):
            model(target="cache", pattern="stale:*", max_keys=limit)
    with pytest.raises(ValidationError):
        SlowlogParameters(target="cache", limit=limit)


@pytest.mark.parametrize("over", ["0s", "61s", "1h"])
def test_an_interval_is_bounded(over: str) -> None:
    with pytest.raises(ValidationError):
        IntervalParameters.model_validate({"target": "cache", "over": over})


@given(st.binary(max_size=60))
def test_a_key_is_written_down_and_read_back(key: bytes) -> None:
    assert restored(stored(key)) == key
    assert stored(key).isascii()
    assert stored(key).isprintable()
    assert shown(key).isprintable()


def test_a_long_key_is_shown_cut() -> None:
    assert shown(b"x" * 300) == "x" * 200 + "..."


def test_a_made_up_key_matches_and_is_never_the_same() -> None:
    first, second = made_up_key("stale:?:*"), made_up_key("stale:?:*")
    assert first.startswith(b"stale:x:hdr-responder-")
    assert first != second
    with pytest.raises(AdapterError):
        made_up_key("stale:1")


def test_the_pattern_is_part_of_the_right() -> None:
    params = DeleteByPatternParameters(target="cache", pattern="stale:*")
    assert [str(p) for p in DeleteByPattern().permissions(params)] == [
        "redis:cache cluster|slots",
        "redis:cache scan",
        "redis:cache unlink ~stale:*",
        "redis:cache exists ~stale:*",
    ]


@pytest.mark.parametrize(
    ("setting", "value", "held"),
    [
        ("maxmemory", "2gb", "2147483648"),
        ("maxmemory", "100MB", "104857600"),
        ("maxmemory", "1k", "1000"),
        ("maxmemory", 0, "0"),
        ("maxmemory-policy", "volatile-ttl", "volatile-ttl"),
        ("timeout", 300, "300"),
        ("slowlog-log-slower-than", "-1", "-1"),
        ("slowlog-max-len", "0010", "10"),
        ("lazyfree-lazy-expire", "no", "no"),
    ],
)
def test_a_value_is_kept_as_redis_tells_it_back(setting: str, value: Any, held: str) -> None:
    assert SetConfigParameters.model_validate({"target": "c", "setting": setting, "value": value}).value == held


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("maxmemory", "-1"),
        ("maxmemory", "2 gb"),
        ("maxmemory", "2pb"),
        ("maxmemory", "9" * 20),
        ("maxmemory-policy", "allkeys-lru; FLUSHALL"),
        ("maxmemory-policy", "*"),
        ("timeout", "1e3"),
        ("timeout", "١"),
        ("timeout", -1),
        ("timeout", 86_401),
        ("timeout", True),
        ("timeout", 1.5),
        ("timeout", "1\n"),
        ("slowlog-log-slower-than", -2),
        ("lazyfree-lazy-expire", "true"),
        ("tcp-keepalive", ""),
    ],
)
def test_a_value_that_does_not_fit(setting: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        SetConfigParameters.model_validate({"target": "c", "setting": setting, "value": value})


@pytest.mark.parametrize(
    "setting",
    ["dir", "dbfilename", "requirepass", "masterauth", "save", "appendonly", "bind", "protected-mode", "port", "*",
     "max*", "aclfile", "loadmodule", "enable-debug-command", "replicaof", "maxmemory dir", "MAXMEMORY",
     "timeout\n", ""],
)  # fmt: skip
def test_a_setting_that_is_not_allowed(setting: str) -> None:
    with pytest.raises(ValidationError):
        SetConfigParameters.model_validate({"target": "c", "setting": setting, "value": "1"})


def test_both_changes_lock_the_server() -> None:
    setting = SetConfigParameters(target="c", setting="timeout", value="1")
    deleting = DeleteByPatternParameters(target="c", pattern="stale:*")
    assert SetConfig().target(setting).key == DeleteByPattern().target(deleting).key == "redis:c"
    assert SetConfig().target(setting).effect_group != DeleteByPattern().target(deleting).effect_group


def slow(*arguments: bytes) -> tuple[str, tuple[str, ...], int]:
    entry = slow_command("server", [7, 1_700_000_000, 12_000, list(arguments), b"10.0.0.1:5", b"app"])
    assert entry.seconds == 0.012
    assert "10.0.0.1" not in entry.model_dump_json()
    return entry.command, entry.keys, entry.hidden


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([b"SET", b"a", b"secret", b"EX", b"5"], ("set", ("a",), 3)),
        ([b"MGET", b"a", b"b"], ("mget", ("a", "b"), 0)),
        ([b"KEYS", b"session:*"], ("keys", ("session:*",), 0)),
        ([b"CONFIG", b"SET", b"requirepass", b"secret"], ("config set", (), 2)),
        ([b"ACL", b"SETUSER", b"x", b">secret"], ("acl setuser", (), 2)),
        ([b"EVALSHA", b"abc", b"1", b"key", b"secret"], ("evalsha", (), 4)),
        ([b"DEL", *(b"k%d" % i for i in range(30)), b"... (90 more arguments)"], ("del", None, 110)),
        ([b"SADD", b"s", b"... (90 more arguments)"], ("sadd", ("s",), 90)),
        ([b"mod.cmd", b"secret"], ("mod.cmd", (), 1)),
        ([b"secret value", b"x"], ("(unknown)", (), 1)),
        ([b"GET", b"\xff" * 60], ("get", (r"\xff" * 25,), 0)),
        ([], ("(unknown)", (), 0)),
    ],
)
def test_the_slow_log_without_values(arguments: list[bytes], told: tuple[str, tuple[str, ...] | None, int]) -> None:
    command, keys, hidden = slow(*arguments)
    assert (command, hidden) == (told[0], told[2])
    assert keys == told[1] if told[1] is not None else len(keys) == 10


@pytest.mark.parametrize("entry", [[], [1, 2], ["x", 1, 1, []], None, [1, 2, 3, 4]])
def test_a_slow_log_of_another_form(entry: Any) -> None:
    with pytest.raises(AdapterError):
        slow_command("server", entry)
