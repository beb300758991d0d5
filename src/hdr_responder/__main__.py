"""``python -m hdr_responder`` is the command ``hdr-responder``."""

from __future__ import annotations

from hdr_responder.cli import main

if __name__ == "__main__":
    main()
