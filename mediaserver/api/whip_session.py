"""One WHIP or WHEP session between its requests: the carrier of a `WebSession`, its entity-tag, its ICE restarts.

Owns how the call room's words become HTTP answers. The client hears nothing between two requests: that the call is over
it learns from DTLS, and from 404 at the next request.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable

from aiohttp import web

from mediaserver.api.answers import Refused, refusal
from mediaserver.api.tokens import Grant
from mediaserver.api.whep_events import ViewerEvents
from mediaserver.calls.web_session import WebSession
from mediaserver.limits import WHIP_ANSWER_S_MAX, WHIP_GONE_LOOK_S, WHIP_RESTART_S_MAX
from mediaserver.sdp.description import Media, Session
from mediaserver.sdp.parse import parse

FRAGMENT_INFO = "application/trickle-ice-sdpfrag"
RESTART_REFUSED = (422, "unprocessable", "ICE cannot be restarted now; the session goes on as it was")
RETRY_AFTER_S = 10
_CREDENTIALS = re.compile(rb"^a=ice-(ufrag|pwd):[^\r\n]*", re.MULTILINE)
_CANDIDATES = re.compile(rb"^a=(candidate:[^\r\n]*|end-of-candidates)\r?\n", re.MULTILINE)
# What a SIP status of a call that was not answered is in HTTP; the rest is 502.
_HTTP = {
    400: (400, "bad_request", "the offer cannot be used"),
    403: (403, "forbidden", "this token may not reach that number, or lacks the right to be recorded"),
    404: (404, "not_found", "there is no such room or number"),
    480: (409, "conflict", "nobody takes the call now"),
    486: (409, "conflict", "busy"),
    487: (409, "conflict", "the call was ended before it was answered"),
    488: (422, "unprocessable", "no codec in common, or no way to secure it"),
    503: (503, "unavailable", "no place is free; try again later"),
    600: (409, "conflict", "busy"),
    603: (409, "conflict", "declined"),
}


class WhipSession:
    """The far end's part of one leg. `leg` is set right after making; `ended` is told once."""

    def __init__(self, way: str, number: str, grant: Grant, ended: Callable[[WhipSession], None]) -> None:
        self.way = way
        self.number = number  # that was asked for, and stands in the session's address
        self.grant = grant
        self.session_id = secrets.token_urlsafe(16)
        self.etag = ""
        self.ice = ("", "")  # ufrag and password of the client's ICE session
        self.leg: WebSession | None = None
        self.events: ViewerEvents | None = None  # of a viewer
        self._ended = ended
        self._offer = b""
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._restarting: asyncio.Future[bytes | None] | None = None
        self._new_tag()

    def begin(self, leg: WebSession) -> None:
        self.leg, self._offer = leg, leg.remote_sdp or b""
        self.ice = _credentials(self._offer)

    async def wait_answer(self, gone: Callable[[], bool]) -> bytes:
        """Our SDP. gone: whether the client has closed its connection meanwhile, and nobody would hear our answer.

        Raises Refused when the call is not answered, or not within WHIP_ANSWER_S_MAX, or not before the client went:
        then it is over.
        """
        try:
            async with asyncio.timeout(WHIP_ANSWER_S_MAX):
                while not (await asyncio.wait([self._answer], timeout=WHIP_GONE_LOOK_S))[0]:
                    if gone():
                        self.leave("client gone")
                        raise Refused(refusal(408, "client_gone", "the connection was closed before the answer"))
                return self._answer.result()
        except asyncio.CancelledError:
            self.leave("client gone")
            raise
        except TimeoutError:
            self.leave("no answer")
            raise Refused(refusal(504, "no_answer", "nobody answered")) from None

    def trickle(self, fragment: bytes) -> None:
        if self.leg is not None:
            self.leg.far_informs(FRAGMENT_INFO, fragment)

    async def restart(self, ufrag: str, password: str) -> bytes | None:
        """Our fragment for the new ICE session, whose tag `etag` is then; None: refused, all is as it was."""
        if self.leg is None or self._restarting is not None:
            return None
        offer = _with_credentials(self._offer, ufrag, password)
        self._restarting = asyncio.get_running_loop().create_future()
        try:
            if self.leg.far_offers(offer):
                return None
            async with asyncio.timeout(WHIP_RESTART_S_MAX):
                answer = await self._restarting
        except TimeoutError:
            return None
        finally:
            self._restarting = None
        if answer is None:
            return None
        self._offer, self.ice = offer, (ufrag, password)
        self._new_tag()
        return _fragment(answer)

    def leave(self, reason: str) -> None:
        if self.leg is not None:
            self.leg.far_leaves(reason)

    def _new_tag(self) -> None:
        self.etag = f'"{secrets.token_hex(8)}"'

    # -- Carrier

    def ringing(self, status: int, sdp: bytes | None) -> None:
        """HTTP has no word for it."""

    def accepted(self, sdp: bytes) -> None:
        if not self._answer.done():
            self._answer.set_result(sdp)

    def offered(self, sdp: bytes) -> None:
        """Never: the session takes no offers."""

    def answered(self, sdp: bytes) -> None:
        self._settle(sdp)

    def refused(self, status: int) -> None:
        self._settle(None)

    def transfer(self, status: int, reason: str) -> None:
        """It asks for none."""

    def over(self, status: int, reason: str) -> None:
        self._ended(self)
        self._settle(None)
        if not self._answer.done():
            self._answer.set_exception(Refused(_unanswered(status)))
            self._answer.exception()  # read here: the request may have given up waiting

    def _settle(self, answer: bytes | None) -> None:
        if self._restarting is not None and not self._restarting.done():
            self._restarting.set_result(answer)


def _unanswered(status: int) -> web.Response:
    http, code, text = _HTTP.get(status, (502, "failed", f"the call failed with SIP status {status}"))
    answer = refusal(http, code, text)
    if http in (409, 503):
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _main(session: Session) -> Media | None:
    return next((media for media in session.media if media.port), None)


def _credentials(sdp: bytes) -> tuple[str, str]:
    session = parse(sdp)
    media = _main(session)
    if media is None:
        return "", ""
    return session.attribute_of(media, "ice-ufrag") or "", session.attribute_of(media, "ice-pwd") or ""


def _with_credentials(offer: bytes, ufrag: str, password: str) -> bytes:
    """The offer of the new ICE session: all else stands as it was negotiated, RFC 9725 §4.3.3."""
    new = {b"ufrag": ufrag.encode(), b"pwd": password.encode()}
    changed = _CREDENTIALS.sub(lambda found: b"a=ice-" + found[1] + b":" + new[found[1]], offer)
    return _CANDIDATES.sub(b"", changed)


def _fragment(answer: bytes) -> bytes:
    """Our credentials and candidates out of an answer, as RFC 8840 §4.4 writes them."""
    session = parse(answer)
    media = _main(session)
    if media is None:
        return b""
    lines = [f"a={name}" for name in ("ice-lite",) if session.has(name)]
    lines += [f"a={name}:{session.attribute_of(media, name)}" for name in ("ice-ufrag", "ice-pwd")]
    lines.append(f"m={media.kind} 9 {media.protocol} {' '.join(media.formats[:1])}")
    if (mid := media.first("mid")) is not None:
        lines.append(f"a=mid:{mid}")
    lines += [f"a=candidate:{value}" for value in media.all("candidate")]
    lines.append("a=end-of-candidates")
    return ("\r\n".join(lines) + "\r\n").encode()
