"""SIP, SIPS and tel URIs as values: RFC 3261 §19.1, RFC 3966, IPv6 references after RFC 5118.

Owns reading, writing, escaping and comparing. A URI of any other scheme is kept whole in `opaque`, so that it survives
a round trip. Knows nothing of headers around it (see `address`) and resolves no names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from socket import AF_INET6, inet_pton  # arithmetic only: no socket is opened here
from typing import NamedTuple
from urllib.parse import quote, unquote

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_URIS_KEPT
from mediaserver.model import Masked

Params = Mapping[str, str | None]  # lower-cased names; None: no "=" was written
NO_PARAMS: Params = {}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST = re.compile(r"[A-Za-z0-9._\-]+")  # "_" is no host name, but phones are named with it
_FORBIDDEN = re.compile(r'[\x00-\x20"<>\x7f]')
_USER_SAFE = "-_.!~*'()&=+$,;?/"  # RFC 3261 §25.1: unreserved and user-unreserved
_VISUAL_SEPARATORS = str.maketrans("", "", "-.()")  # RFC 3966 §5.1.1
_COMPARED_ALWAYS = frozenset(("user", "ttl", "method", "maddr", "transport"))  # RFC 3261 §19.1.4


class Uri(NamedTuple):
    """One URI. Parts are as written (escaped), except: scheme, host and parameter names are lower case.

    host: without the brackets of an IPv6 reference; "" for tel and unknown schemes.
    user: the subscriber number of a tel URI. opaque: all behind the colon for a scheme we do not know.
    """

    scheme: str
    user: str | None = None
    host: str = ""
    port: int | None = None
    params: Params = NO_PARAMS
    headers: tuple[tuple[str, str], ...] = ()
    password: str | None = None
    opaque: str = ""

    @property
    def username(self) -> str:
        """User part with escapes resolved; "" if there is none."""
        return unescape(self.user) if self.user else ""

    @property
    def transport(self) -> str:
        """ "udp", "tcp", "tls" …: the parameter, else what the scheme implies (RFC 3263 §4.1 without NAPTR)."""
        named = (self.params.get("transport") or "").lower()
        if self.scheme == "sips" and named in ("", "tcp"):
            return "tls"
        return named or "udp"

    @property
    def is_sip(self) -> bool:
        return self.scheme in ("sip", "sips")

    def header(self, name: str) -> str | None:
        """Unescaped value of a header asked for behind the "?", e.g. Replaces."""
        wanted = name.lower()
        return next((unescape(value) for key, value in self.headers if key.lower() == wanted), None)

    def without_headers(self) -> Uri:
        return self._replace(headers=()) if self.headers else self

    def with_param(self, name: str, value: str | None) -> Uri:
        return self._replace(params={**self.params, name: value})

    def without_params(self) -> Uri:
        return self._replace(params=NO_PARAMS)

    def matches(self, other: Uri) -> bool:
        """Equal by RFC 3261 §19.1.4 (sip, sips) or RFC 3966 §4 (tel); other schemes byte for byte."""
        if self.scheme != other.scheme:
            return False
        if self.scheme == "tel":
            return _tel_digits(self) == _tel_digits(other) and _lowered(self.params) == _lowered(other.params)
        if not self.is_sip:
            return self.opaque == other.opaque
        same = (
            self.username == other.username
            and unescape(self.password or "") == unescape(other.password or "")
            and self.host == other.host
            and self.port == other.port
        )
        if not same or {(n.lower(), unescape(v)) for n, v in self.headers} != {
            (n.lower(), unescape(v)) for n, v in other.headers
        }:
            return False
        mine, theirs = _lowered(self.params), _lowered(other.params)
        either = (mine.keys() & theirs.keys()) | ((mine.keys() | theirs.keys()) & _COMPARED_ALWAYS)
        return all(mine.get(name, ...) == theirs.get(name, ...) for name in either)

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{write_params(self.params)}"
        if not self.is_sip:
            return f"{self.scheme}:{self.opaque}"
        user = "" if self.user is None else self.user + "@"
        if self.password is not None:
            user = f"{self.user}:{self.password}@"
        headers = "?" + "&".join(f"{n}={v}" for n, v in self.headers) if self.headers else ""
        return f"{self.scheme}:{user}{write_host_port(self.host, self.port)}{write_params(self.params)}{headers}"

    def __repr__(self) -> str:
        return f"<Uri {self.scheme}:{Masked(self.user or self.opaque)!r} at {self.host}>"


def parse_uri(text: str) -> Uri:
    """Understand one URI without brackets around it.

    Raises ParseError (400) for what cannot be a URI, and for a sip URI with white space, no host, a bare IPv6 address
    (where its port begins cannot be told, RFC 5118 §4.2) or a port out of 1..65535.
    """
    return _parse_kept(text) if len(text) <= _KEPT_CHARS_MAX else _parse(text)


def _parse(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    if not colon or not rest or not _SCHEME.fullmatch(scheme):
        raise ParseError("URI without a scheme")
    if _FORBIDDEN.search(text):
        raise ParseError("URI with white space, quotes, brackets or control characters")
    scheme = scheme.lower()
    if scheme == "tel":
        number, semicolon, tail = rest.partition(";")
        if not number:
            raise ParseError("tel URI without a number")
        return Uri(scheme, number, params=_parse_uri_params(tail) if semicolon else NO_PARAMS)
    if scheme not in ("sip", "sips"):
        return Uri(scheme, opaque=rest)
    # The user part may itself hold ";" and "?", so it is cut off first; "@" can stand in it only escaped.
    user: str | None = None
    password: str | None = None
    userinfo, at, after = rest.partition("@")
    if at:
        rest = after
        user, has_password, secret = userinfo.partition(":")
        if has_password:
            password = secret
        if not user:
            raise ParseError("SIP URI with an empty user part")
    rest, question, asked = rest.partition("?")
    hostport, semicolon, tail = rest.partition(";")
    host, port = parse_host_port(hostport)
    return Uri(
        scheme,
        user,
        host,
        port,
        _parse_uri_params(tail) if semicolon else NO_PARAMS,
        _parse_uri_headers(asked) if question else (),
        password,
    )


# The messages of one call repeat the same few URIs; long ones are not kept, so that nobody fills memory with them.
_KEPT_CHARS_MAX = 128
_parse_kept = lru_cache(maxsize=SIP_URIS_KEPT)(_parse)


def parse_host_port(text: str) -> tuple[str, int | None]:
    """`host[:port]` of a URI or Via: host lower case, an IPv6 reference without its brackets. Raises ParseError."""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if ":::" in host:
            host = host.replace(":::", "::")  # written after a bug in RFC 3261's grammar, RFC 5118 §4.10
        if not bracket or not is_ipv6(host):
            raise ParseError("IPv6 reference is not [address]")
        if tail and not tail.startswith(":"):
            raise ParseError("text between an IPv6 reference and its port")
        colon, port_text = tail[:1], tail[1:]
    else:
        host, colon, port_text = text.partition(":")
        if not _HOST.fullmatch(host):
            raise ParseError("host name missing or with characters that cannot stand in one")
    if not colon:
        return host.lower(), None
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and 0 < int(port_text) < 65_536):
        raise ParseError("port is not a number from 1 to 65535")
    return host.lower(), int(port_text)


def write_host_port(host: str, port: int | None) -> str:
    if ":" in host:
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"


def write_params(params: Params) -> str:
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params.items()])


def is_ipv6(text: str) -> bool:
    try:
        inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def escape_user(text: str) -> str:
    """Any text as a user part: what may not stand there is %-escaped as UTF-8."""
    return quote(text, safe=_USER_SAFE, errors="surrogateescape")


def unescape(text: str) -> str:
    return unquote(text, errors="surrogateescape") if "%" in text else text


def _parse_uri_params(text: str) -> Params:
    params: dict[str, str | None] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if name:
            params.setdefault(name.lower(), value if equals else None)
    return params


def _parse_uri_headers(text: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for part in text.split("&"):
        name, _, value = part.partition("=")
        if name:
            headers.append((name, value))
    return tuple(headers)


def _lowered(params: Params) -> dict[str, str | None]:
    return {name: None if value is None else unescape(value).lower() for name, value in params.items()}


def _tel_digits(uri: Uri) -> str:
    return (uri.user or "").translate(_VISUAL_SEPARATORS).lower()
