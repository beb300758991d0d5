"""Tells Slack's requests from anybody else's, before anything of them is parsed.

Bolt has this check too, but behind its parser, on the machine's clock, and a timestamp that is no number makes it
answer 500; so the SDK's verifier is asked here and Bolt's middleware is off.
"""

from __future__ import annotations

from collections.abc import Mapping

from slack_sdk.signature import Clock as SdkClock
from slack_sdk.signature import SignatureVerifier

from hdr_responder.domain.clock import Clock

TIMESTAMP_DIGITS = 12


class _OurClock(SdkClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()


class Signatures:
    """Checks HMAC-SHA256 over ``v0:{timestamp}:{raw body}``, with five minutes of tolerance (Slack contract)."""

    def __init__(self, signing_secret: str, clock: Clock) -> None:
        self._verifier = SignatureVerifier(signing_secret, _OurClock(clock))

    def genuine(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Tell whether Slack sent this; never raises, whatever was sent."""
        timestamp = headers.get("X-Slack-Request-Timestamp", "")
        signature = headers.get("X-Slack-Signature", "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= TIMESTAMP_DIGITS):
            return False
        if not signature.isascii():
            return False
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return False
        return self._verifier.is_valid(text, timestamp, signature)
