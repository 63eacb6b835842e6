"""Trunks as the user agent needs them: where they are, whom they let call in, and by what credentials.

Reads [trunks.NAME] of the settings once; knows no messages. Registration with a trunk lives in `trunk_register`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from mediaserver.errors import ConfigError, ParseError
from mediaserver.settings import TrunkSettings
from mediaserver.sip.auth import Credentials, make_credentials
from mediaserver.sip.auth_client import ClientCredentials
from mediaserver.sip.uri import Uri, parse_uri

SOURCES_KEPT = 4_096  # addresses whose trunk is remembered, only to save looking again
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Trunk:
    """One PBX or carrier."""

    name: str
    uri: Uri  # where its calls go
    networks: tuple[Network, ...] = ()  # calls from there are its calls, without digest
    credentials: ClientCredentials | None = None  # ours towards it, and its own towards us
    registers: bool = False

    @property
    def identity(self) -> str:
        return f"trunk:{self.name}"

    def holds(self, host: str) -> bool:
        """Whether allow_from has this source address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)


@dataclass(slots=True)
class Trunks:
    """All of them, by name and by who calls in. Satisfies `UserDirectory` for trunks that authenticate by digest."""

    by_name: dict[str, Trunk] = field(default_factory=dict)
    _by_username: dict[str, tuple[Trunk, Credentials]] = field(default_factory=dict)
    _by_source: dict[str, Trunk | None] = field(default_factory=dict)  # what `at` found before

    @classmethod
    def of_settings(cls, settings: Mapping[str, TrunkSettings], realm: str) -> Trunks:
        """Raises ConfigError naming the key that is wrong."""
        trunks = cls()
        for name, one in settings.items():
            try:
                uri = parse_uri(one.uri)
                if not uri.is_sip:
                    raise ParseError("not a SIP address")
            except ParseError as error:
                raise ConfigError(
                    f"trunks.{name}.uri is {one.uri!r}: {error}; try sip:HOST or sip:HOST:PORT"
                ) from error
            secret = one.password.get_secret_value()
            credentials = ClientCredentials(one.username, secret) if one.username else None
            trunk = Trunk(name, uri, _networks(name, one.allow_from), credentials, one.register_with_peer)
            if trunk.registers and credentials is None:
                raise ConfigError(f"trunks.{name}.register_with_peer needs trunks.{name}.username and password")
            trunks.by_name[name] = trunk
            if credentials is not None and secret:
                try:
                    stored = make_credentials(one.username, realm, secret)
                except ValueError:
                    continue  # good for calling out; such a name cannot call in by digest
                trunks._by_username[one.username] = (trunk, stored)
        return trunks

    def at(self, host: str) -> Trunk | None:
        """The trunk whose allow_from holds this source address."""
        if host not in self._by_source:
            if len(self._by_source) >= SOURCES_KEPT:
                self._by_source.clear()
            self._by_source[host] = self._find(host)
        return self._by_source[host]

    def _find(self, host: str) -> Trunk | None:
        return next((trunk for trunk in self.by_name.values() if trunk.holds(host)), None)

    def of_identity(self, identity: str) -> Trunk | None:
        """By `Trunk.identity`; no user has a colon in the name."""
        return self.by_name.get(identity.removeprefix("trunk:")) if identity.startswith("trunk:") else None

    def credentials(self, name: str) -> Credentials | None:
        found = self._by_username.get(name)
        return found[1] if found else None

    def of_username(self, name: str) -> Trunk | None:
        found = self._by_username.get(name)
        return found[0] if found else None


def _networks(name: str, texts: list[str]) -> tuple[Network, ...]:
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise ConfigError(
                f"trunks.{name}.allow_from holds {text!r}; an address or a network is allowed, try 192.0.2.0/24"
            ) from error
    return tuple(networks)
