"""Servers that stand in for services which no test can have: they enforce the real limits, signatures and errors."""

from .clock import ManualClock
from .pagerduty import AlertState, FakePagerDuty, PagerDutyAlert, WebhookOptions
from .server import Call, DeadlineMissedError, Delivered
from .slack import FakeSlack
from .slack_chat import SlackLimits
from .slack_inbound import Delivery
from .slack_pings import Ping
from .slack_state import Channel, File, Message, User, View

__all__ = [
    "AlertState",
    "Call",
    "Channel",
    "DeadlineMissedError",
    "Delivered",
    "Delivery",
    "FakePagerDuty",
    "FakeSlack",
    "File",
    "ManualClock",
    "Message",
    "PagerDutyAlert",
    "Ping",
    "SlackLimits",
    "User",
    "View",
    "WebhookOptions",
]
