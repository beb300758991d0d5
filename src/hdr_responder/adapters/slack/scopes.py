"""What the bot's token must be allowed to do: the scopes that `deploy/slack-manifest.yaml` asks for, and why."""

from __future__ import annotations

POSTING = frozenset({"chat:write", "channels:read", "channels:history"})
"""Incidents in a public channel: posted, edited, and found again when Slack's answer was lost."""
PRIVATE = frozenset({"groups:read", "groups:history"})
"""The same in a private channel."""
LISTENING = frozenset({"app_mentions:read", "commands", "users:read"})
"""Commands, mentions and buttons, with the name of who used them."""
