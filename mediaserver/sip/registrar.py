"""REGISTER understood and answered, RFC 3261 §10.3, with Path (RFC 3327) and the flow remembered (RFC 5626 §6).

Owns the rules; the table is `bindings`. Authentication has been done by the user agent: `user` is proven here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from mediaserver.errors import ParseError
from mediaserver.sip.address import NameAddr
from mediaserver.sip.bindings import Binding, BindingTable
from mediaserver.sip.message import Request
from mediaserver.sip.uri import Uri, parse_uri, write_params

_log = structlog.get_logger(__name__)
_NS: Final = 1_000_000_000
_INTERVAL_TOO_BRIEF_BELOW_S: Final = 3_600  # RFC 3261 §10.3 step 7: 423 is for less than an hour only
_OWN_PARAMS: Final = ("expires", "q")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a REGISTER came from, as the transport saw it."""

    flow: Hashable
    source: tuple[str, int]


@dataclass(frozen=True, slots=True)
class RegisterAnswer:
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.answer = RegisterAnswer(status, reason, headers)


class Registrar:
    """Bindings of all users of one realm."""

    def __init__(
        self,
        *,
        min_expires_s: int = 60,
        max_expires_s: int = 3_600,
        on_change: Callable[[str, tuple[Binding, ...]], None] | None = None,
    ) -> None:
        self._min_expires_s = min_expires_s
        self._max_expires_s = max_expires_s
        self.table = BindingTable(on_change=on_change)

    def targets_for(self, user: str, now_ns: int) -> list[Binding]:
        """Where a call to this user goes: every live contact, the most preferred first."""
        return self.table.of(user, now_ns)

    def next_deadline(self) -> int | None:
        return self.table.next_deadline()

    def handle_timers(self, now_ns: int) -> None:
        self.table.expire(now_ns)

    def flow_closed(self, flow: Hashable) -> None:
        self.table.flow_closed(flow)

    def forget(self, user: str) -> None:
        """The user is no more: his contacts go at once."""
        keys = self.table.keys(user)
        if keys:
            self.table.apply(user, [], keys)

    def register(self, request: Request, user: str, arrival: Arrival, now_ns: int) -> RegisterAnswer:
        """The answer to an authenticated REGISTER: all its contacts are taken, or none. Raises nothing."""
        try:
            self._change(request, user, arrival, now_ns)
        except _RefusedError as refused:
            _log.info("registration refused", sip_call=request.call_id, user=user, status=refused.answer.status)
            return refused.answer
        except ParseError as error:
            return RegisterAnswer(error.status, "Bad Request")
        bindings = self.table.of(user, now_ns)
        headers = [("Contact", _contact(b, now_ns)) for b in bindings]
        headers += [("Path", value) for value in request.headers.all("Path")]
        return RegisterAnswer(200, "OK", tuple(headers))

    def _change(self, request: Request, user: str, arrival: Arrival, now_ns: int) -> None:
        if request.to.uri.username != user:
            raise _RefusedError(403, "Only Your Own Address May Be Registered")
        if request.is_star:
            self._remove_all(request, user, now_ns)
            return
        contacts = request.contacts
        if not contacts:  # a question: what is registered?
            return
        put: dict[str, Binding] = {}
        remove: list[str] = []
        for contact in contacts:
            binding = self._binding(request, user, contact, arrival, now_ns)
            former = self._known(user, contact.uri, now_ns)
            if former is not None:
                _in_order(request, former)
                binding = replace(binding, key=former.key)
            if binding.expires_ns > now_ns:
                put[binding.key] = binding
            elif former is not None:
                put.pop(former.key, None)
                remove.append(former.key)
        if not self.table.has_room(len(put)):
            raise _RefusedError(503, "Registrar Is Full", (("Retry-After", "60"),))
        self.table.apply(user, list(put.values()), remove)
        if put or remove:
            _log.info("registration", sip_call=request.call_id, user=user, contacts=len(put), removed=len(remove))

    def _remove_all(self, request: Request, user: str, now_ns: int) -> None:
        """`Contact: *` with Expires 0, alone. RFC 3261 §10.3 step 6."""
        if (request.headers.get("Expires") or "").strip() != "0" or len(request.headers.values("Contact")) != 1:
            raise _RefusedError(400, "Contact * Needs Expires 0 And No Other Contact")
        bindings = self.table.of(user, now_ns)
        for binding in bindings:
            _in_order(request, binding)
        self.table.apply(user, [], [b.key for b in bindings])
        _log.info("registration", sip_call=request.call_id, user=user, contacts=0, removed=len(bindings))

    def _binding(self, request: Request, user: str, contact: NameAddr, arrival: Arrival, now_ns: int) -> Binding:
        uri = contact.uri
        if not uri.is_sip:
            raise _RefusedError(400, "Contact Must Be A SIP Address")
        expires_s = self._expires_s(request, contact)
        return Binding(
            user=user,
            uri=str(uri.without_headers()),
            flow=arrival.flow,
            expires_ns=now_ns + expires_s * _NS,
            call_id=request.call_id,
            cseq=request.cseq.number,
            q=_q(contact),
            instance=contact.param("+sip.instance") or "",
            reg_id=contact.param("reg-id") or "",
            params=tuple((n, v) for n, v in contact.params.items() if n not in _OWN_PARAMS),
            path=tuple(request.headers.values("Path")),
            source=arrival.source,
            user_agent=(request.headers.get("User-Agent") or "")[:128],
            direct=uri.host == arrival.source[0],
            key=str(uri),
        )

    def _expires_s(self, request: Request, contact: NameAddr) -> int:
        """Seconds granted. RFC 3261 §10.3 step 7 and §10.2.1.1; what is no number counts as absent (§20.10)."""
        wanted = _seconds(contact.param("expires"))
        if wanted is None:
            wanted = _seconds(request.headers.get("Expires"))
        if wanted is None:
            return self._max_expires_s
        if 0 < wanted < min(self._min_expires_s, _INTERVAL_TOO_BRIEF_BELOW_S):
            raise _RefusedError(423, "Interval Too Brief", (("Min-Expires", str(self._min_expires_s)),))
        return min(wanted, self._max_expires_s)

    def _known(self, user: str, uri: Uri, now_ns: int) -> Binding | None:
        """The user's binding with an equal contact, RFC 3261 §19.1.4."""
        return next((b for b in self.table.of(user, now_ns) if parse_uri(b.uri).matches(uri.without_headers())), None)


def _in_order(request: Request, former: Binding) -> None:
    """A REGISTER that was overtaken by a later one of the same phone changes nothing. RFC 3261 §10.3 step 7."""
    if request.call_id == former.call_id and request.cseq.number <= former.cseq:
        raise _RefusedError(500, "CSeq Out Of Order")


def _seconds(text: str | None) -> int | None:
    text = (text or "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:11]), 2**32 - 1)


def _q(contact: NameAddr) -> float:
    try:
        q = float(contact.param("q") or "1")
    except ValueError:
        return 1.0
    return min(1.0, max(0.0, q)) if q == q else 1.0


def _contact(binding: Binding, now_ns: int) -> str:
    q = "" if binding.q == 1.0 else f";q={binding.q:g}"
    params = write_params(dict(binding.params))
    return f"<{binding.uri}>;expires={binding.seconds_left(now_ns)}{q}{params}"
