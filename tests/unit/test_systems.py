"""Targets are given out by name, and only those that a service of the catalogue lists."""

from __future__ import annotations

import pytest

from hdr_responder.app.systems import Listed, build_outside
from hdr_responder.cli.examination import NoStore
from hdr_responder.domain.clock import SystemClock
from hdr_responder.domain.reach import Reach
from hdr_responder.errors import ConfigError, ForbiddenError, NotFoundError
from hdr_responder.settings import load_settings

URLS = {f"HDR_TARGETS__POSTGRES__{name}__URL": "postgresql://127.0.0.1:1/x" for name in ("HDR_EMPIRE", "PAYROLL")}
LISTED = Reach(namespaces=frozenset({"hdr-empire"}), databases=frozenset({"hdr_empire", "unknown"}))


def test_a_database_that_is_configured_and_not_listed_is_refused_by_name() -> None:
    settings = load_settings(environ=URLS | {"HDR_CONFIG__DIR": "nowhere"})
    outside = build_outside(settings, reach=LISTED, store=NoStore(), people=None, clock=SystemClock())
    assert outside.systems.database("hdr_empire").name == "hdr_empire"
    with pytest.raises(ForbiddenError, match=r"database payroll is not listed in config/services\.yaml"):
        outside.systems.database("payroll")
    with pytest.raises(ForbiddenError):
        outside.databases["payroll"]
    with pytest.raises(NotFoundError, match=r"no targets\.postgres\.unknown is configured"):
        outside.systems.database("unknown")


def test_one_without_an_address_is_told_when_it_is_needed() -> None:
    settings = load_settings()
    outside = build_outside(settings, reach=LISTED, store=NoStore(), people=None, clock=SystemClock())
    with pytest.raises(ConfigError, match="set HDR_TARGETS__POSTGRES__HDR_EMPIRE__URL"):
        outside.systems.database("hdr_empire")


def test_without_a_list_none_is_given_out() -> None:
    names: dict[str, int] = {"a": 1}
    listed = Listed(names, "cache", Reach())
    assert (list(listed), len(listed), "a" in listed) == (["a"], 1, True)
    with pytest.raises(ForbiddenError, match="Redis server a is not listed"):
        listed["a"]
    with pytest.raises(KeyError):
        listed["b"]
