"""Slack: the lane that shows incidents, and what people press and type there."""

from hdr_responder.adapters.slack.client import SlackAccess, SlackApi
from hdr_responder.adapters.slack.inbound import Lookups, SlackInbound
from hdr_responder.adapters.slack.sender import SlackSender

__all__ = ["Lookups", "SlackAccess", "SlackApi", "SlackInbound", "SlackSender"]
