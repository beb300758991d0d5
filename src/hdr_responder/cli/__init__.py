"""The command line: thin commands, one module a noun, over the same records and operations as Slack and the API.

Modules here import drivers and clients only inside a command, so that ``--help`` and ``check`` start at once.
"""

from __future__ import annotations

from hdr_responder.cli.root import main

__all__ = ["main"]
