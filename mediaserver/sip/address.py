"""The structured header values every part needs: name-addr, Via, CSeq and their parameters, RFC 3261 §20 and §25.

Pure text to values and back; knows no message and no transaction. Every parser raises ParseError on what it refuses.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mediaserver.errors import ParseError
from mediaserver.model import Masked
from mediaserver.sip.uri import (
    NO_PARAMS,
    Params,
    Uri,
    parse_host_port,
    parse_uri,
    write_host_port,
    write_params,
)

WHITE = " \t"
CSEQ_MAX = 2**31 - 1  # RFC 3261 §8.1.1.5
MAGIC_COOKIE = "z9hG4bK"  # RFC 3261 §8.1.1.7: branches with it are unique by themselves

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
# what can hide a comma or semicolon: quoted strings and <...>; an unterminated one runs to the end
_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"?'
_COMMA = re.compile(rf"{_QUOTED}|<[^>]*>?|,", re.DOTALL)
_SEMICOLON = re.compile(rf"{_QUOTED}|;", re.DOTALL)
_QUOTED_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NOT_IN_DISPLAY = re.compile(r'[,:;@"<>\\]')
_VIA = re.compile(
    r"\s*([^\s/]+)\s*/\s*([^\s/]+)\s*/\s*([^\s/;]+)\s+(\[[^\]\s]*\]|[^\s:;,\[\]]+)\s*(?::\s*([0-9]{1,5})\s*)?(;.*)?",
    re.DOTALL,
)


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def split_commas(text: str) -> list[str]:
    """The values of one header line: split at commas outside quotes and <>, each stripped; empty ones stay."""
    if "," not in text:
        return [text]
    if '"' not in text and "<" not in text:
        return [part.strip(WHITE) for part in text.split(",")]
    return _split(text, _COMMA, ",")


def _split(text: str, pattern: re.Pattern[str], separator: str) -> list[str]:
    parts, start = [], 0
    for match in pattern.finditer(text):
        if match.group() == separator:
            parts.append(text[start : match.start()].strip(WHITE))
            start = match.end()
    parts.append(text[start:].strip(WHITE))
    return parts


def parse_params(text: str) -> Params:
    """`;name=value;flag` (the first ";" included). Names lower-cased, values as written, the first of two names wins.

    One empty parameter at the end is forgiven; others, nameless ones and unbalanced quotes raise ParseError.
    """
    if not text.startswith(";"):
        raise ParseError("parameters must begin with a semicolon")
    parts = text[1:].split(";") if '"' not in text else _split(text[1:], _SEMICOLON, ";")
    params: dict[str, str | None] = {}
    last = len(parts) - 1
    for index, part in enumerate(parts):
        name, equals, value = part.partition("=")
        name = name.strip(WHITE)
        if not name:
            if index == last and not equals:
                break
            raise ParseError("empty parameter")
        if not equals:
            params.setdefault(name.lower(), None)
            continue
        value = value.strip(WHITE)
        if value.startswith('"') and not _QUOTED_STRING.fullmatch(value):
            raise ParseError("quotes of a parameter are not balanced")
        params.setdefault(name.lower(), value)
    return params


def quote_string(text: str) -> str:
    """As a quoted-string, quotes and backslashes escaped; line ends become spaces."""
    for bad, good in (("\\", "\\\\"), ('"', '\\"'), ("\r", " "), ("\n", " ")):
        text = text.replace(bad, good)
    return f'"{text}"'


def unquote_string(text: str) -> str:
    """Content of a quoted-string; any other text comes back as it is."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    text = text[1:-1]
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


class NameAddr(NamedTuple):
    """`"display" <uri>;params` of From, To, Contact, Route …  display: unquoted. params: as written."""

    uri: Uri
    display: str = ""
    params: Params = NO_PARAMS

    @property
    def tag(self) -> str:
        """ "" where there is none."""
        return self.params.get("tag") or ""

    def with_tag(self, tag: str) -> NameAddr:
        return self._replace(params={**self.params, "tag": tag})

    def with_param(self, name: str, value: str | None) -> NameAddr:
        return self._replace(params={**self.params, name: value})

    def param(self, name: str) -> str | None:
        """Value without quotes; "" for a flag; None if absent."""
        if name not in self.params:
            return None
        return unquote_string(self.params[name] or "")

    def __str__(self) -> str:
        display = quote_string(self.display) + " " if self.display else ""
        return f"{display}<{self.uri}>{write_params(self.params)}"

    def __repr__(self) -> str:
        return f"<NameAddr {Masked(self.display)!r} {self.uri!r}>"


def parse_name_addr(text: str) -> NameAddr:
    """One address. Without <> all parameters belong to the header (RFC 3261 §20), and "?" or "," cannot stand in it."""
    text = text.strip(WHITE)
    display = ""
    if text.startswith('"'):
        quoted = _QUOTED_STRING.match(text)
        if quoted is None:
            raise ParseError("quotes of a display name are not balanced")
        display = _ESCAPED.sub(r"\1", quoted.group(1)) if "\\" in quoted.group(1) else quoted.group(1)
        text = text[quoted.end() :].lstrip(WHITE)
        if not text.startswith("<"):
            raise ParseError("a quoted display name must be followed by <address>")
    left = text.find("<")
    if left < 0:
        addr_spec, semicolon, tail = text.partition(";")
        if "?" in addr_spec or "," in addr_spec:
            raise ParseError('an address with "?" or "," must stand in <>')
        return NameAddr(parse_uri(addr_spec.rstrip(WHITE)), "", parse_params(";" + tail) if semicolon else NO_PARAMS)
    if left:
        display = text[:left].strip(WHITE)
        if _NOT_IN_DISPLAY.search(display):
            raise ParseError("display name with special characters must be quoted")
    right = text.find(">", left)
    if right < 0:
        raise ParseError("address without its closing >")
    tail = text[right + 1 :].strip(WHITE)
    return NameAddr(parse_uri(text[left + 1 : right].strip(WHITE)), display, parse_params(tail) if tail else NO_PARAMS)


_TAG = re.compile(r";[ \t]*tag[ \t]*=[ \t]*([^;\s]*)", re.IGNORECASE)


def tag_of(text: str) -> str:
    """The tag of a From or To line, "" if it has none; without parsing the address where that is safe."""
    if '"' in text:
        return parse_name_addr(text).tag
    match = _TAG.search(text, text.rfind(">") + 1)
    return match.group(1) if match else ""


class Via(NamedTuple):
    """One Via value. transport: upper case as on the wire. host: without IPv6 brackets."""

    transport: str
    host: str
    port: int | None = None
    params: Params = NO_PARAMS
    protocol: str = "SIP/2.0"

    @property
    def branch(self) -> str:
        return self.params.get("branch") or ""

    @property
    def received(self) -> str:
        """Address without brackets (RFC 5118 §4.5: both ways of writing are met); "" if absent."""
        return (self.params.get("received") or "").strip("[]")

    @property
    def rport(self) -> int | None:
        """Filled-in rport; None if absent, empty or nonsense. `"rport" in via.params`: it was asked for."""
        text = self.params.get("rport") or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65_536 else None

    @property
    def sent_by(self) -> str:
        return write_host_port(self.host, self.port)

    def __str__(self) -> str:
        return f"{self.protocol}/{self.transport} {self.sent_by}{write_params(self.params)}"


def parse_via(text: str) -> Via:
    """One Via value, white space around its slashes and colon allowed. Raises ParseError."""
    match = _VIA.fullmatch(text)
    if match is None:
        raise ParseError("Via is not protocol/version/transport sent-by")
    name, version, transport, host, port, tail = match.groups()
    host, port_number = parse_host_port(host if port is None else f"{host}:{port}")
    params = parse_params(tail) if tail else NO_PARAMS
    return Via(transport.upper(), host, port_number, params, f"{name.upper()}/{version}")


class CSeq(NamedTuple):
    number: int  # 0..2**31-1
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_cseq(text: str) -> CSeq:
    number, _, method = text.partition(" ")
    method = method.strip(WHITE)
    if not method:
        number, _, method = text.replace("\t", " ").partition(" ")
        method = method.strip(WHITE)
    if not (number.isascii() and number.isdigit()) or not is_token(method):
        raise ParseError("CSeq is not a number and a method")
    number = number.lstrip("0") or "0"
    if len(number) > 10 or int(number) > CSEQ_MAX:
        raise ParseError(f"CSeq number is over {CSEQ_MAX}")
    return CSeq(int(number), method)
