"""Key frames asked for in signalling, RFC 5168: the body of an INFO of devices that take no RTCP feedback.

Tolerant in reading: devices write namespaces, several streams and other elements around the one word that counts. No
XML parser looks at what a stranger sends.
"""

from __future__ import annotations

import re

MEDIA_CONTROL = "application/media_control+xml"
_ELEMENT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?picture_fast_update\s*/?>")
_BODY_BYTES_MAX = 4_096  # real ones have some 200; nothing longer is looked at


def asks_for_key_frame(body: bytes) -> bool:
    return len(body) <= _BODY_BYTES_MAX and _ELEMENT.search(body) is not None


def key_frame_request() -> bytes:
    return (
        b'<?xml version="1.0" encoding="utf-8"?>\r\n'
        b"<media_control><vc_primitive><to_encoder>"
        b"<picture_fast_update/>"
        b"</to_encoder></vc_primitive></media_control>\r\n"
    )
