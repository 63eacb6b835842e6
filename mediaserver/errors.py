"""Errors that people read. Each says what happened, to what, what was allowed and what to do.

What a *peer* sends never raises one of these into the loop: it gets the protocol's own answer (a SIP status, a
counted drop). These are for the operator, the developer of a call program and our own callers.
"""


class MediaServerError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(MediaServerError):
    """A setting is wrong. The text starts with `file:line: key`."""


class ParseError(MediaServerError):
    """A protocol text cannot be understood (sip, sdp); `status` is the SIP answer it deserves."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class NegotiationError(MediaServerError):
    """No codec, transport or security in common; `status` is the SIP answer (488 or 606)."""

    def __init__(self, text: str, status: int = 488) -> None:
        super().__init__(text)
        self.status = status


class MediaError(MediaServerError):
    """The media plane refused a command."""


class StaleHandle(MediaError):
    """The leg, bridge, prompt or tap was closed before the command reached it."""


class QueueFull(MediaError):
    """A worker's command queue is full: the caller slows down or gives up, nothing is dropped silently."""


class NoPortFree(MediaError):
    """media.port_range holds no free pair of ports: answer 503."""


class PromptError(MediaServerError):
    """A prompt file is missing, is not audio or is too long."""


class ConsentError(MediaServerError):
    """A tap was asked for without a consent token that covers the leg."""


class RecordingRequired(MediaServerError):
    """Nothing can be recorded now, and the consent policy of the call connects nobody unrecorded."""


class CallEnded(MediaServerError):
    """Raised inside a call program when its call is over; ends the program quietly."""


class StorageError(MediaServerError):
    """Disk or database does not answer as it must."""
