"""The one family of errors, so that every caller can tell "try again" from "give up" without knowing a driver.

Third-party errors are translated into these where they enter (the adapters), always ``from`` the original and without
secrets. Code above the adapters raises and catches only these.
"""

from __future__ import annotations


class HdrError(Exception):
    """Base of every error that hdr-responder raises on purpose."""


class ConfigError(HdrError):
    """Settings or documents are wrong; the message names the file, position or field, and what was expected."""


class PermanentError(HdrError):
    """The same request would fail again: no retry, a person or another path is needed."""


class NotFoundError(PermanentError):
    """The named thing (incident, run, deployment, session ...) does not exist."""


class ConflictError(PermanentError):
    """The thing exists but its state does not allow this (a status transition, a failed precondition)."""


class ForbiddenError(PermanentError):
    """The other side refused for lack of rights."""


class InvalidInputError(PermanentError):
    """Input that breaks the contract.

    ``field`` is the path of the offending field (``alerts.0.labels.alertname``), empty when it is the whole input.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.detail = message


class TemporaryError(HdrError):
    """The same request may succeed later.

    ``retry_after`` is the other side's wish in seconds, or None when it gave none.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(TemporaryError):
    """A dependency cannot be reached (connection refused, timed out, shutting down)."""


class AdapterError(HdrError):
    """An adapter was used wrongly or met an answer its contract does not know: a defect, never retried."""


class AmbiguousError(HdrError):
    """A change was sent and its answer lost: the target may or may not have changed.

    Neither temporary (that would promise that nothing was changed) nor permanent: look at the target to know.
    """


class FencedError(PermanentError):
    """A newer worker holds the run, or the target carries a newer fence: nothing more may be done by this one."""
