"""What changes from hop to hop: the top Via in and out, and the requests that must look like another one's hop.

RFC 3261 §9.1, §17.1.1.3, §17.2.3, §18.1–18.2, RFC 3581. Pure functions of messages and flows.
"""

from __future__ import annotations

from mediaserver.sip.address import MAGIC_COOKIE, Via
from mediaserver.sip.flow import DEFAULT_PORTS, Flow
from mediaserver.sip.message import Headers, Request

_HOP_HEADERS = frozenset(("via", "route", "from", "to", "call-id"))


def hop_request(invite: Request, method: str, to: str | None = None) -> Request:
    """ACK (§17.1.1.3) or CANCEL (§9.1) of `invite`: its Request-URI, top Via, Route, Call-ID, From, CSeq number."""
    headers = Headers.from_keyed([item for item in invite.headers.keyed() if item[0] in _HOP_HEADERS])
    if to is not None:
        headers.set("To", to)
    headers.add("CSeq", f"{invite.cseq.number} {method}")
    headers.add("Max-Forwards", "70")
    return Request(headers=headers, method=method, uri=invite.uri)


def server_key(request: Request, via: Via) -> tuple[object, ...]:
    """RFC 3261 §17.2.3. Last element: the method, INVITE for ACK. Raises ParseError where RFC 2543 rules need From."""
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch
    if len(branch) > len(MAGIC_COOKIE) and branch[: len(MAGIC_COOKIE)].lower() == "z9hg4bk":
        return (branch, via.host, via.port, method)
    # No unique branch: an RFC 2543 peer. The To tag stays out, as in an ACK it is our own; CSeq tells requests apart.
    return (request.uri, request.from_.tag, request.call_id, request.cseq.number, str(via), method)


def stamp_via(request: Request, via: Via, flow: Flow) -> Flow:
    """Writes received and rport into the top Via (RFC 3261 §18.2.1, RFC 3581 §4); returns where responses go (§18.2.2).

    maddr is not obeyed: it would let anyone aim our responses at a third party.
    """
    wants_rport = "rport" in via.params
    if wants_rport or via.host != flow.remote_host:
        params = dict(via.params)
        if wants_rport:
            params["rport"] = str(flow.remote_port)
        params["received"] = flow.remote_host
        stamped = via._replace(params=params)
        headers = request.headers
        vias = [stamped, *request.via[1:]]
        kept = headers.cache.copy()
        headers.replace_first("Via", str(stamped))
        headers.cache.update(kept)
        headers.cache["Via"] = vias
    if flow.transport == "udp" and wants_rport:
        return flow
    port = via.port or DEFAULT_PORTS[flow.transport]
    return flow if port == flow.remote_port else flow._replace(remote_port=port)
