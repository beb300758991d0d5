"""hdr-responder: answers alerts the way a careful senior on-call engineer would."""

__version__ = "0.1.0"
