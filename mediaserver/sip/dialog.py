"""Dialogs: the peer-to-peer state that INVITE sets up and every later request carries, RFC 3261 §12.

Owns tags, route set, remote target and CSeq order, and builds requests inside the dialog. Knows no transactions, no
timers and no offers: `session` does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mediaserver.errors import ParseError
from mediaserver.sip.address import NameAddr, parse_name_addr
from mediaserver.sip.flow import DEFAULT_PORTS, WEBSOCKETS, Flow
from mediaserver.sip.message import Headers, Message, Request, Response
from mediaserver.sip.uri import Uri, parse_uri

MAX_FORWARDS: Final = "70"  # RFC 3261 §8.1.1.6


class DialogId(NamedTuple):
    """RFC 3261 §12: what a message is matched by. remote_tag "" is a peer of RFC 2543 times."""

    call_id: str
    local_tag: str
    remote_tag: str


def id_of_request(request: Request) -> DialogId:
    """As its receiver sees it: To is us."""
    return DialogId(request.call_id, request.to.tag, request.from_.tag)


def id_of_response(response: Response) -> DialogId:
    """As the sender of the request sees it: From is us."""
    return DialogId(response.call_id, response.from_.tag, response.to.tag)


@dataclass(slots=True)
class Dialog:
    """One dialog. local, remote: From and To of our requests, tags included."""

    call_id: str
    local: NameAddr = field(repr=False)
    remote: NameAddr = field(repr=False)
    remote_target: str = field(repr=False)  # changes by target refresh: Contact of re-INVITE, UPDATE and their 2xx
    route_set: tuple[str, ...] = field(repr=False)
    flow: Flow  # the way the peer's last message came
    local_cseq: int = 0  # of our last request
    remote_cseq: int | None = None  # of the peer's last request; None before the first
    confirmed: bool = False

    @property
    def id(self) -> DialogId:
        return DialogId(self.call_id, self.local.tag, self.remote.tag)

    @classmethod
    def of_server(cls, request: Request, local_tag: str, flow: Flow) -> Dialog:
        """The dialog our response with a To tag makes. RFC 3261 §12.1.1. Raises ParseError without a usable Contact."""
        return cls(
            call_id=request.call_id,
            local=request.to.with_tag(local_tag),
            remote=request.from_,
            remote_target=_contact(request),
            route_set=tuple(map(str, request.record_routes)),
            flow=flow,
            remote_cseq=request.cseq.number,
        )

    @classmethod
    def of_client(cls, request: Request, response: Response, flow: Flow) -> Dialog:
        """The dialog a 1xx or 2xx with a To tag makes. RFC 3261 §12.1.2. Never raises: a 2xx wants its ACK.

        Without a usable Contact the Request-URI stands in: phones forget it in 18x.
        """
        dialog = cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            remote_target=request.uri,
            route_set=_reversed_routes(response),
            flow=flow,
            local_cseq=request.cseq.number,
            confirmed=200 <= response.status < 300,
        )
        dialog.refresh_target(response)
        return dialog

    def confirm(self, response: Response) -> None:
        """The 2xx to our INVITE: the route set is taken anew, the target too. RFC 3261 §13.2.2.4."""
        self.confirmed = True
        self.route_set = _reversed_routes(response)
        self.refresh_target(response)

    def refresh_target(self, message: Message) -> None:
        """RFC 3261 §12.2.1.2, §12.2.2. A Contact that is missing or cannot be read leaves the target as it is."""
        try:
            self.remote_target = _contact(message)
        except ParseError:
            return

    def in_order(self, request: Request) -> bool:
        """Note the peer's CSeq; False: it is lower than one before and deserves 500. RFC 3261 §12.2.2."""
        number = request.cseq.number
        if self.remote_cseq is not None and number < self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def request(
        self,
        method: str,
        *,
        contact: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        cseq: int | None = None,
    ) -> Request:
        """A request inside the dialog, RFC 3261 §12.2.1.1; the transport adds Via. cseq: of the INVITE, for its ACK."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self._uri_and_routes()
        items = [("Route", route) for route in routes]
        items += [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(self.local)),
            ("To", str(self.remote)),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        if contact:
            items.append(("Contact", contact))
        items += headers
        return Request(headers=Headers(items), body=body, method=method, uri=uri)

    def next_hop(self) -> Flow:
        """Where the next request goes.

        RFC 3261 §12.2.1.1 says: to the first route, else to the remote target. A Contact that is a private address or
        a name while the peer's messages come from elsewhere is a phone behind NAT (or a browser): then the way its
        messages come is the way back.
        """
        if self.flow.transport in WEBSOCKETS:
            return self.flow  # nobody can connect to a browser
        if self.route_set:
            return flow_to(parse_name_addr(self.route_set[0]).uri, self.flow)
        target = parse_uri(self.remote_target)
        if target.is_sip and target.host != self.flow.remote_host and not _is_public(target.host):
            return self.flow
        return flow_to(target, self.flow)

    def _uri_and_routes(self) -> tuple[str, tuple[str, ...]]:
        if not self.route_set:
            return self.remote_target, ()
        first = parse_name_addr(self.route_set[0]).uri
        if "lr" in first.params:
            return self.remote_target, self.route_set
        # a strict router of RFC 2543: its address is the Request-URI, ours goes last
        return str(first.without_headers()), (*self.route_set[1:], f"<{self.remote_target}>")


def flow_to(uri: Uri, like: Flow | None = None) -> Flow:
    """The flow that reaches a SIP URI; `like` itself when it already does (same connection, same local socket).

    Raises ParseError for a URI that is not SIP."""
    if not uri.is_sip:
        raise ParseError(f"a request cannot be sent to a {uri.scheme} address", 416)
    transport = uri.transport
    host = uri.params.get("maddr") or uri.host
    port = uri.port or DEFAULT_PORTS.get(transport, 5060)
    if like is not None and like.transport == transport and like.remote_host == host:
        if like.connection or like.remote_port == port:
            return like
        return like._replace(remote_port=port)
    return Flow(transport, host, port)


def _reversed_routes(response: Response) -> tuple[str, ...]:
    try:
        return tuple(map(str, reversed(response.record_routes)))
    except ParseError:
        return ()


def _contact(message: Message) -> str:
    contacts = message.contacts
    if not contacts or not contacts[0].uri.is_sip:
        raise ParseError("Contact with a SIP address is missing")
    return str(contacts[0].uri.without_headers())


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False
