"""What a received message must have before anyone looks at its meaning: RFC 3261 §8.1.1, §8.2, §16.3, §18.

Runs once per new message; afterwards the structured properties of `message` never raise. What depends on users,
methods, dialogs or bodies (405, 404, 415, 481 …) is the user agent's.
"""

from __future__ import annotations

from typing import NamedTuple

from mediaserver.errors import ParseError
from mediaserver.sip.message import Request, Response

SCHEMES = frozenset(("sip", "sips", "tel"))
_MANDATORY = ("Call-ID", "CSeq", "From", "To")
_SINGLE = frozenset(("call-id", "cseq", "from", "to", "max-forwards", "expires", "content-type"))
# requests that a back-to-back agent may pass on as new ones; the others always end here
_FORWARDED = frozenset(("INVITE", "MESSAGE", "REFER", "SUBSCRIBE", "PUBLISH"))


class Fault(NamedTuple):
    """A request's defect and the answer it gets."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


def check_request(request: Request, extensions: frozenset[str]) -> Fault | None:
    """None: well-formed. extensions: option tags we understand, lower case (Require, RFC 3261 §8.2.2.3)."""
    try:
        _check_common(request)
        if request.cseq.method != request.method:
            return Fault(400, "CSeq method is not that of the request")
        scheme = request.uri.partition(":")[0].lower()
        uri = request.parsed_uri
        if scheme not in SCHEMES:
            return Fault(416, "")
        if uri.headers:
            return Fault(400, "Request-URI with headers")  # RFC 3261 §19.1.1
        _ = request.max_forwards, request.expires, request.routes
    except ParseError as error:
        return Fault(error.status, str(error))
    if request.method not in ("ACK", "CANCEL"):
        unknown = [tag for name in ("Require", "Proxy-Require") for tag in request.headers.tokens(name)]
        unknown = [tag for tag in unknown if tag not in extensions]
        if unknown:
            return Fault(420, "", (("Unsupported", ", ".join(unknown)),))
    if request.max_forwards == 0 and request.method in _FORWARDED and not request.to.tag:
        return Fault(483, "")
    return None


def check_response(response: Response) -> str:
    """ "" if well-formed, else why it must be dropped."""
    try:
        _check_common(response)
    except ParseError as error:
        return str(error)
    if len(response.via) > 1:
        return "more than our own Via"  # RFC 3261 §8.1.3.3
    return ""


def _check_common(message: Request | Response) -> None:
    seen: set[str] = set()
    for key, name, _ in message.headers.keyed():
        if key in _SINGLE:
            if key in seen:
                raise ParseError(f"{name} is given more than once")
            seen.add(key)
    for name in _MANDATORY:
        if name.lower() not in seen:
            raise ParseError(f"{name} is missing")
    if not message.call_id:
        raise ParseError("Call-ID is empty")
    _ = message.top_via, message.cseq, message.from_, message.to, message.contacts, message.record_routes
