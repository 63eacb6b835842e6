"""Where a call of ours goes and as whom: targets of `UserAgent.invite` turned into URI, route, From and credentials.

RFC 3261 §8.1.1 and §13.2.1, RFC 3325 (asserted identity, to trunks only). Sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mediaserver.errors import ParseError
from mediaserver.settings import Settings
from mediaserver.sip.address import NameAddr
from mediaserver.sip.auth_client import DigestClient
from mediaserver.sip.bindings import Binding
from mediaserver.sip.dialog import flow_to
from mediaserver.sip.exchange import clean, one_line
from mediaserver.sip.flow import Flow
from mediaserver.sip.invite_client import OutgoingSession
from mediaserver.sip.registrar import Registrar
from mediaserver.sip.sdp_body import Multipart
from mediaserver.sip.session_host import SessionHost
from mediaserver.sip.trunks import Trunk, Trunks
from mediaserver.sip.uri import Uri, escape_user, parse_host_port, parse_uri

_ANONYMOUS = Uri("sip", "anonymous", "anonymous.invalid")  # RFC 3323 §4.1.1.3


@dataclass(frozen=True, slots=True)
class Destination:
    """uri: Request-URI. flow: the way there."""

    uri: Uri
    flow: Flow
    routes: tuple[str, ...] = ()
    trunk: Trunk | None = None
    user: str = ""  # registered user behind a binding


class Outbound:
    def __init__(
        self, settings: Settings, registrar: Registrar, trunks: Trunks, entropy: Callable[[int], bytes]
    ) -> None:
        self._registrar = registrar
        self._trunks = trunks
        self._entropy = entropy
        self._domain = _first_host(*settings.sip.domains, settings.server.realm, settings.sip.external_host)

    @staticmethod
    def token(binding: Binding) -> str:
        """A binding as a target: no URI holds a space, no user name either."""
        return f"{binding.user} {binding.key}"

    def destination(self, target: str, trunk_name: str | None, now_ns: int) -> Destination:
        """Raises ParseError whose status is the answer the call deserves."""
        if trunk_name is not None:
            return self._by_trunk(target, trunk_name)
        if " " in target:
            return self._by_binding(target, now_ns)
        uri = parse_uri(target).without_headers()
        return Destination(uri, flow_to(uri))

    def _by_binding(self, token: str, now_ns: int) -> Destination:
        user, _, key = token.partition(" ")
        binding = self._registrar.table.get(user, key)
        if binding is None or binding.expires_ns <= now_ns:
            raise ParseError("no longer registered", 480)
        uri = parse_uri(binding.uri)
        flow = binding.flow if isinstance(binding.flow, Flow) else flow_to(uri)
        return Destination(uri, flow, binding.path, None, user)

    def _by_trunk(self, target: str, name: str) -> Destination:
        trunk = self._trunks.by_name.get(name)
        if trunk is None:
            raise ParseError(f"there is no trunk {name!r}", 404)
        uri = (
            parse_uri(target) if target.startswith(("sip:", "sips:")) else trunk.uri._replace(user=escape_user(target))
        )
        return Destination(uri.without_headers(), flow_to(trunk.uri), (), trunk)

    def session(
        self,
        host: SessionHost,
        destination: Destination,
        *,
        sdp: bytes | None,
        caller_user: str,
        caller_name: str,
        called_user: str,
        headers: Sequence[tuple[str, str]],
    ) -> OutgoingSession:
        trunk = destination.trunk
        domain = trunk.uri.host if trunk is not None else self._domain or host.local_host(destination.flow)
        caller = Uri("sip", escape_user(caller_user), domain) if caller_user else _ANONYMOUS
        called = called_user or destination.user or destination.uri.username
        to = Uri("sip", escape_user(called), domain) if called else destination.uri.without_params()
        extra = list(clean(headers))
        digest = None
        if trunk is not None:
            if caller_user:
                extra.append(("P-Asserted-Identity", f"<{caller}>"))
            if trunk.credentials is not None:
                digest = DigestClient(trunk.credentials, entropy=self._entropy)
        return OutgoingSession(
            host,
            call_id=self._entropy(16).hex(),
            request_uri=str(destination.uri),
            called_user=called,
            local=NameAddr(caller, one_line(caller_name), {"tag": self._entropy(8).hex()}),
            remote=NameAddr(to),
            hop=lambda: destination.flow,
            contact=host.contact(destination.flow, caller_user) + (";+sip.src" if isinstance(sdp, Multipart) else ""),
            local_host=host.local_host(destination.flow),
            sdp=sdp,
            headers=extra,
            routes=destination.routes,
            digest=digest,
            identity=trunk.identity if trunk is not None else destination.user or None,
        )

    @staticmethod
    def contact(transport: str, host: str, port: int, user: str) -> str:
        params = {} if transport == "udp" else {"transport": transport}
        return f"<{Uri('sip', escape_user(user) if user else None, host, port or None, params)}>"


def _first_host(*names: str) -> str:
    """The first that can stand as the host of a URI; a realm may be any text."""
    for name in names:
        try:
            host, port = parse_host_port(name)
        except ParseError:
            continue
        if host and port is None:
            return host
    return ""
