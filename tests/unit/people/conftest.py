"""Takes in the stand-ins for Slack and PagerDuty."""

from tests.fakes.fixtures import fake_pagerduty, fake_slack

__all__ = ["fake_pagerduty", "fake_slack"]
