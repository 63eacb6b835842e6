"""Digest arithmetic and header syntax, RFC 7616 as SIP uses it (RFC 8760, RFC 3261 §22.4). Pure functions of text.

Owns parsing and writing of challenges and credentials and the hash itself. Knows no users, no time and no policy.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_AUTH_HEADER_CHARS_MAX

SHA256: Final = "SHA-256"
MD5: Final = "MD5"
ALGORITHMS: Final = (SHA256, MD5)  # strongest first; RFC 8760 §2.3 wants that order on the wire
_HASH: Final = {SHA256: hashlib.sha256, MD5: hashlib.md5}

# name = token or quoted string; a quoted string may hold commas, equal signs and escaped quotes
_PARAM: Final = re.compile(r'\s*([A-Za-z0-9_*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?:,|$)', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def hash_hex(algorithm: str, text: str) -> str:
    """Lower-case hex of the algorithm's hash of UTF-8 text; undecodable bytes of a peer survive as they came."""
    return _HASH[algorithm](text.encode("utf-8", "surrogateescape")).hexdigest()


def ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """A1 hashed, the form a password is stored in. RFC 7616 §3.4.2."""
    return hash_hex(algorithm, f"{username}:{realm}:{password}")


def parse_params(value: str) -> tuple[str, dict[str, str]]:
    """`Digest a=b, c="d"` -> ("digest", {"a": "b", "c": "d"}): scheme and names lower-cased, quotes and escapes undone.

    Raises ParseError when the text is no list of parameters or one name comes twice.
    """
    if len(value) > SIP_AUTH_HEADER_CHARS_MAX:
        raise ParseError(f"authentication header of {len(value)} characters; {SIP_AUTH_HEADER_CHARS_MAX} are allowed")
    scheme, _, rest = value.strip().partition(" ")
    params: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _PARAM.match(rest, position)
        if match is None:
            if rest[position:].strip(" \t,"):
                raise ParseError("authentication header is not a list of name=value")
            break
        name, quoted, token = match.groups()
        if name.lower() in params:
            raise ParseError(f"authentication parameter {name.lower()} appears twice")
        params[name.lower()] = token if quoted is None else _ESCAPED.sub(r"\1", quoted)
        position = match.end()
    return scheme.lower(), params


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def known_algorithm(name: str | None) -> str | None:
    """The canonical name, MD5 when absent (RFC 7616 §3.3), None when we do not speak it (-sess, SHA-512-256 …)."""
    upper = (name or MD5).upper()
    return upper if upper in ALGORITHMS else None


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate or Proxy-Authenticate value."""

    realm: str
    nonce: str
    algorithm: str  # one of ALGORITHMS
    qop: tuple[str, ...] = ("auth",)  # empty: a peer of RFC 2069 times
    opaque: str | None = None
    stale: bool = False

    def encode(self) -> str:
        parts = [f"realm={quoted(self.realm)}", f"nonce={quoted(self.nonce)}"]
        if self.opaque is not None:
            parts.append(f"opaque={quoted(self.opaque)}")
        if self.stale:
            parts.append("stale=true")
        parts.append(f"algorithm={self.algorithm}")
        if self.qop:
            parts.append(f"qop={quoted(','.join(self.qop))}")
        return "Digest " + ", ".join(parts)


def parse_challenge(value: str) -> Challenge | None:
    """None for another scheme, an algorithm we do not speak or text that is no challenge: the next header may do."""
    try:
        scheme, params = parse_params(value)
    except ParseError:
        return None
    algorithm = known_algorithm(params.get("algorithm"))
    if scheme != "digest" or algorithm is None or "nonce" not in params or "realm" not in params:
        return None
    return Challenge(
        realm=params["realm"],
        nonce=params["nonce"],
        algorithm=algorithm,
        qop=tuple(q.strip().lower() for q in params.get("qop", "").split(",") if q.strip()),
        opaque=params.get("opaque"),
        stale=params.get("stale", "").lower() == "true",
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """One Authorization or Proxy-Authorization value. qop "" means none was used: then nc and cnonce are empty."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str = field(repr=False)
    algorithm: str = MD5
    qop: str = ""
    nc: str = ""
    cnonce: str = field(repr=False, default="")
    opaque: str | None = None

    def encode(self) -> str:
        parts = [
            f"username={quoted(self.username)}",
            f"realm={quoted(self.realm)}",
            f"nonce={quoted(self.nonce)}",
            f"uri={quoted(self.uri)}",
            f"response={quoted(self.response)}",
            f"algorithm={self.algorithm}",
        ]
        if self.qop:
            parts += [f"cnonce={quoted(self.cnonce)}", f"qop={self.qop}", f"nc={self.nc}"]
        if self.opaque is not None:
            parts.append(f"opaque={quoted(self.opaque)}")
        return "Digest " + ", ".join(parts)


def parse_answer(value: str) -> Answer | None:
    """None for another scheme or an algorithm we never offered. Raises ParseError for text that is no credentials."""
    scheme, params = parse_params(value)
    algorithm = known_algorithm(params.get("algorithm"))
    if scheme != "digest" or algorithm is None:
        return None
    missing = {"username", "realm", "nonce", "uri", "response"} - params.keys()
    if missing:
        raise ParseError(f"digest credentials lack {', '.join(sorted(missing))}")
    return Answer(
        username=params["username"],
        realm=params["realm"],
        nonce=params["nonce"],
        uri=params["uri"],
        response=params["response"].lower(),
        algorithm=algorithm,
        qop=params.get("qop", "").lower(),
        nc=params.get("nc", ""),
        cnonce=params.get("cnonce", ""),
        opaque=params.get("opaque"),
    )


def response_hex(answer: Answer, ha1_hex: str, method: str, body: bytes = b"") -> str:
    """The `response` these credentials must carry. RFC 7616 §3.4.1; without qop the RFC 2069 form."""
    a2 = f"{method}:{answer.uri}"
    if answer.qop == "auth-int":
        a2 += ":" + _HASH[answer.algorithm](body).hexdigest()
    ha2 = hash_hex(answer.algorithm, a2)
    if not answer.qop:
        return hash_hex(answer.algorithm, f"{ha1_hex}:{answer.nonce}:{ha2}")
    parts = (ha1_hex, answer.nonce, answer.nc, answer.cnonce, answer.qop, ha2)
    return hash_hex(answer.algorithm, ":".join(parts))
