"""DTLS of one leg: a handshake over datagrams that ends in SRTP keys. RFC 5764, 5763, 8122, 8842. Sans-I/O.

OpenSSL does the protocol behind memory BIOs. Owns the certificate, the check of the peer's against the fingerprint of
its SDP, and the split of exported key material. Knows no ICE and no sockets.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from mediaserver.clock import Clock
from mediaserver.limits import (
    DTLS_CERTIFICATE_DAYS,
    DTLS_CERTIFICATE_RENEW_DAYS,
    DTLS_DATAGRAM_BYTES_MAX,
    DTLS_HANDSHAKE_NS_MAX,
    DTLS_RECORDS_PER_DATAGRAM_MAX,
)
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpKey, SrtpProfile

_EXPORTER = b"EXTRACTOR-dtls_srtp"  # RFC 5764 §4.2
_RECORD_HEADER_BYTES = 13
_DAY_S = 86_400.0
_DTLS_1_2 = 0xFEFD  # RFC 8827 §6.5: nothing older
_PROFILES = {
    b"SRTP_AEAD_AES_256_GCM": SrtpProfile.AEAD_AES_256_GCM,
    b"SRTP_AEAD_AES_128_GCM": SrtpProfile.AEAD_AES_128_GCM,
    b"SRTP_AES128_CM_SHA1_80": SrtpProfile.AES_CM_128_HMAC_SHA1_80,
}
_ECDHE = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
)
_HASHES = ("sha-256", "sha-384", "sha-512")  # RFC 8122 §5; weaker ones are refused


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of a certificate: `a=fingerprint:algorithm AB:CD:…`, RFC 8122."""

    algorithm: str  # lower case
    digest: bytes

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest.hex(':').upper()}"

    @classmethod
    def parse(cls, text: str) -> Fingerprint | None:
        """None for what is malformed or a hash we do not trust."""
        algorithm, _, hexes = text.strip().partition(" ")
        algorithm = algorithm.lower()
        if algorithm not in _HASHES:
            return None
        try:
            digest = bytes.fromhex(hexes.strip().replace(":", ""))
        except ValueError:
            return None
        return cls(algorithm, digest) if len(digest) == int(algorithm[4:]) // 8 else None

    def fits(self, certificate_der: bytes) -> bool:
        digest = hashlib.new(self.algorithm.replace("-", ""), certificate_der).digest()
        return hmac.compare_digest(digest, self.digest)


class DtlsIdentity:
    """Our certificate and the settings of every handshake: an ECDSA P-256 key made here, never on disk."""

    def __init__(self, now: datetime.datetime | None = None) -> None:
        now = now or datetime.datetime.now(datetime.UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mediaserver")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=DTLS_CERTIFICATE_DAYS))
            .sign(key, hashes.SHA256())
        )
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = Fingerprint("sha-256", hashlib.sha256(der).digest())
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_cipher_list(_ECDHE)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _any_certificate)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_tlsext_use_srtp(b":".join(_PROFILES))
        self.context = context


class DtlsIdentities:
    """Our certificate of the day. Each leg takes `current` once and keeps it to its end: what its description names
    and its peer has shaken hands with does not change under a running call (RFC 8842 §5.1).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made = clock.wall()
        self._identity = _made_at(self._made)

    def current(self) -> DtlsIdentity:
        """A new one when the last is too old, or from a future that the clock was set back from."""
        now = self._clock.wall()
        if abs(now - self._made) >= DTLS_CERTIFICATE_RENEW_DAYS * _DAY_S:
            self._made, self._identity = now, _made_at(now)
        return self._identity


def _made_at(wall: float) -> DtlsIdentity:
    return DtlsIdentity(datetime.datetime.fromtimestamp(wall, datetime.UTC))


def _any_certificate(*_: object) -> bool:
    """Self-signed ones are the rule; who it is, the fingerprint decides after the handshake."""
    return True


class DtlsState(enum.StrEnum):
    NEW = "new"
    HANDSHAKE = "handshake"
    CONNECTED = "connected"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    send: SrtpKey = field(repr=False)
    receive: SrtpKey = field(repr=False)


class DtlsEndpoint:
    """One association. `receive`, `handle_timer` and `start` change it; then send all of `poll`, look at `state`.

    fingerprint: the peer's; may come later than its first flight (our offer, its answer on the way). Keys are only
    there when it fits.
    """

    def __init__(self, identity: DtlsIdentity, *, client: bool) -> None:
        self.state = DtlsState.NEW
        self.keys: SrtpKeys | None = None
        self.failure = ""
        self.client = client
        self._fingerprint: Fingerprint | None = None
        self._connection = SSL.Connection(identity.context, None)
        self._connection.set_ciphertext_mtu(DTLS_DATAGRAM_BYTES_MAX)
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._application: list[bytes] = []
        self._shaken = False  # the handshake is done; whether with the right peer, the fingerprint says
        self._outputs: list[bytes] = []
        self._timer_ns: int | None = None
        self._give_up_ns = 0

    def expect(self, fingerprint: Fingerprint) -> None:
        """Whom the peer's description says we talk to."""
        self._fingerprint = fingerprint
        self._judge()

    def start(self, now_ns: int) -> None:
        """The way is open. The client speaks first; the server waits."""
        if self.state is DtlsState.NEW:
            self.state = DtlsState.HANDSHAKE
            self._give_up_ns = now_ns + DTLS_HANDSHAKE_NS_MAX
            self._advance(now_ns)

    def receive(self, data: bytes, now_ns: int) -> None:
        """One DTLS datagram. Never raises; what is broken is dropped as RFC 6347 §4.1.2.7 wants."""
        if self.state in (DtlsState.FAILED, DtlsState.CLOSED):
            return
        self.start(now_ns)
        try:
            self._connection.bio_write(data)
        except SSL.Error:
            return
        self._advance(now_ns)

    def poll(self) -> list[bytes]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def application(self) -> list[bytes]:
        """What the right peer sent as application data since the last call: SCTP packets, RFC 8261."""
        received, self._application = self._application, []
        return received

    def send_application(self, data: bytes) -> bool:
        """One record of application data. False: not connected, or more than a record holds; nothing is sent."""
        if self.state is not DtlsState.CONNECTED:
            return False
        try:
            self._connection.send(data)
        except SSL.Error:
            return False
        self._collect()
        return True

    def next_deadline(self) -> int | None:
        if self.state is not DtlsState.HANDSHAKE:
            return None
        return self._give_up_ns if self._timer_ns is None else min(self._timer_ns, self._give_up_ns)

    def handle_timer(self, now_ns: int) -> None:
        """Repeats the last flight when due; gives up a handshake that takes too long."""
        if self.state is not DtlsState.HANDSHAKE:
            return
        if now_ns >= self._give_up_ns:
            self._fail("handshake timeout")
        elif self._timer_ns is not None and now_ns >= self._timer_ns:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error:
                self._fail("too many retransmissions")
                return
            self._drain(now_ns)

    def close(self) -> None:
        """close_notify, once."""
        if self.state is DtlsState.CONNECTED:
            with contextlib.suppress(SSL.Error):
                self._connection.shutdown()
            self._collect()
        self.state = DtlsState.CLOSED
        self.keys = None

    # -- inside

    def _advance(self, now_ns: int) -> None:
        try:
            if not self._shaken:
                self._connection.do_handshake()
                self._shaken = True
                self._judge()
            else:
                self._read()
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.state = DtlsState.CLOSED
        except SSL.Error as error:
            if not self._shaken:
                self._collect()  # the alert that tells the peer
                self._fail(_reason(error))
        self._drain(now_ns)

    def _read(self) -> None:
        """Application data until there is no more (WantReadError); alerts are seen here too."""
        for _ in range(DTLS_RECORDS_PER_DATAGRAM_MAX):
            data = self._connection.recv(16_384)
            if self.state is DtlsState.CONNECTED:
                self._application.append(data)

    def _judge(self) -> None:
        if not self._shaken or self._fingerprint is None or self.state is not DtlsState.HANDSHAKE:
            return
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not self._fingerprint.fits(certificate.public_bytes(serialization.Encoding.DER)):
            self._fail("the certificate does not have the fingerprint of the session description")
            return
        profile = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if profile is None:
            self._fail("no SRTP profile in common")
            return
        self.keys = self._export(profile)
        self.state = DtlsState.CONNECTED

    def _export(self, profile: SrtpProfile) -> SrtpKeys:
        """client key, server key, client salt, server salt, in this order. RFC 5764 §4.2."""
        key_bytes, salt_bytes = SRTP_KEY_SALT_BYTES[profile]
        material = self._connection.export_keying_material(_EXPORTER, 2 * (key_bytes + salt_bytes), None)
        salts = material[2 * key_bytes :]
        client = SrtpKey(profile, material[:key_bytes] + salts[:salt_bytes])
        server = SrtpKey(profile, material[key_bytes : 2 * key_bytes] + salts[salt_bytes:])
        return SrtpKeys(client, server) if self.client else SrtpKeys(server, client)

    def _fail(self, reason: str) -> None:
        self.state = DtlsState.FAILED
        self.failure = reason
        self.keys = None

    def _drain(self, now_ns: int) -> None:
        self._collect()
        timeout_s = None if self._shaken else self._connection.DTLSv1_get_timeout()
        self._timer_ns = None if timeout_s is None else now_ns + int(timeout_s * 1e9) + 1_000_000

    def _collect(self) -> None:
        """A memory BIO forgets where datagrams end: records are packed anew, as many as one datagram holds."""
        datagram = b""
        try:
            pending = self._connection.bio_read(65_536)
        except SSL.WantReadError:
            return
        while pending:
            size = _RECORD_HEADER_BYTES + int.from_bytes(pending[11:13], "big")
            if datagram and len(datagram) + size > DTLS_DATAGRAM_BYTES_MAX:
                self._outputs.append(datagram)
                datagram = b""
            datagram += pending[:size]
            pending = pending[size:]
        self._outputs.append(datagram)


def _reason(error: SSL.Error) -> str:
    details = error.args[0] if error.args else ()
    return str(details[-1][-1]) if isinstance(details, list) and details else type(error).__name__
