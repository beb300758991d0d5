"""Takes in the stand-ins' fixtures, so that they are proved here whatever the rest of the tests does."""

from tests.fakes.fixtures import fake_pagerduty, fake_slack

__all__ = ["fake_pagerduty", "fake_slack"]
