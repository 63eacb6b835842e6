"""Whether a request inside a dialog comes from the party it was set up with, RFC 3261 §12.2.2, §22.2, §26.1.

Whoever reads along knows a dialog's Call-ID and tags, so these prove nothing. What does: the way the dialog's messages
came so far, for a trunk the addresses its calls are let in from, for everybody else the password. Pure functions;
`inbound` asks for the digest and answers.
"""

from __future__ import annotations

from mediaserver.errors import ParseError
from mediaserver.sip.address import parse_name_addr
from mediaserver.sip.dialog import Dialog
from mediaserver.sip.flow import SECURE, Flow
from mediaserver.sip.trunks import Trunk
from mediaserver.sip.uri import parse_uri


def same_way(one: Flow, other: Flow) -> bool:
    """Same transport and far end; of a stream the same connection. Behind NAT the far port may change in mid-call."""
    return (one.transport, one.remote, one.connection) == (other.transport, other.remote, other.connection)


def is_at_home(dialog: Dialog, flow: Flow, trunk: Trunk | None, *, incoming: bool) -> bool:
    """Whether the address alone says that it is the trunk, or (trunk None) a peer that was called by its SIP address.

    What began encrypted is not ended in the clear: a datagram's source address is easily forged.
    A trunk whose call came in by digest has no address of its own; another connection from there must bring it again.
    """
    host = flow.remote_host
    if dialog.flow.transport in SECURE and flow.transport not in SECURE:
        return False
    if trunk is not None and (trunk.holds(host) or (not incoming and trunk.uri.host == host)):
        return True
    if trunk is not None and incoming:
        return trunk.credentials is None and host == dialog.flow.remote_host
    return host == dialog.flow.remote_host or host in _hosts_named(dialog)


def _hosts_named(dialog: Dialog) -> set[str]:
    """Address literals the peer gave as its own in its answer: a proxy may have left the way since."""
    hosts = set()
    try:
        hosts.add(parse_uri(dialog.remote_target).host)
        hosts.update(parse_name_addr(route).uri.host for route in dialog.route_set)
    except ParseError:
        pass
    return hosts
