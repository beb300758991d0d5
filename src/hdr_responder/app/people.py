"""Builds the lanes that reach people: Slack and PagerDuty where they are configured, else the console."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hdr_responder.adapters.console import ConsoleSender
from hdr_responder.adapters.pagerduty import PagerDutyAccess, PagerDutySender
from hdr_responder.adapters.rate_limits import RateLimits
from hdr_responder.adapters.slack import SlackAccess, SlackSender
from hdr_responder.domain.notifications import Lane
from hdr_responder.domain.ports.people import LaneSender
from hdr_responder.engine.ledger import Lanes
from hdr_responder.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleLanes:
    """The lanes in use and their senders."""

    lanes: Lanes
    senders: Mapping[Lane, LaneSender]
    slack: SlackAccess | None
    limits: RateLimits

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(s.close() for s in self.senders.values()), return_exceptions=True)
        await self.limits.close()


def build_people(settings: Settings, *, write: Callable[[str], object] | None = None) -> PeopleLanes:
    """Build the lanes; ``write`` takes what the console lane shows (standard output otherwise)."""
    redis = settings.redis.url
    limits = RateLimits(redis.get_secret_value() if redis else None)
    slack, pagerduty = _slack(settings), _pagerduty(settings)
    lanes = Lanes(slack=slack is not None, pagerduty=pagerduty is not None)
    senders: dict[Lane, LaneSender] = {}
    if slack is not None:
        senders[Lane.SLACK] = SlackSender(slack, limits)
    if pagerduty is not None:
        senders[Lane.PAGERDUTY] = PagerDutySender(pagerduty, limits)
    if Lane.CONSOLE in lanes.all:
        senders[Lane.CONSOLE] = ConsoleSender(write or _print, colour=write is None and sys.stdout.isatty())
    return PeopleLanes(lanes=lanes, senders=senders, slack=slack, limits=limits)


def _print(text: str) -> None:
    """Write to standard output at once: what is recorded as told must not be lost in a buffer."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _slack(settings: Settings) -> SlackAccess | None:
    slack = settings.slack
    if slack.bot_token is None:
        return None
    assert slack.channel is not None, "settings ask for a channel where there is a token"
    return SlackAccess(
        bot_token=slack.bot_token.get_secret_value(),
        channel=slack.channel,
        channels=slack.channels,
        signing_secret=slack.signing_secret.get_secret_value() if slack.signing_secret else None,
        app_token=slack.app_token.get_secret_value() if slack.app_token else None,
        api_url=str(slack.api_url),
    )


def _pagerduty(settings: Settings) -> PagerDutyAccess | None:
    key = settings.pagerduty.routing_key
    if key is None:
        return None
    return PagerDutyAccess(routing_key=key.get_secret_value(), events_url=str(settings.pagerduty.events_url))
