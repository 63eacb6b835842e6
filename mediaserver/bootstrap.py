"""The first start: a configuration with a generated password, a self-signed certificate, two demo users.

Owns what is made once and never overwritten, and the words that tell a newcomer where to point a phone. Everything
secret is written with mode 0600 before it has content. Knows no SIP and no media.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import ipaddress
import os
import re
import secrets
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mediaserver.settings import SHIPPED_CONFIG_DIR, Settings

CERTIFICATE_NAME = "certificate.pem"
PRIVATE_KEY_NAME = "private-key.pem"
FIRST_CALL_NAME = "first-call.txt"
CERTIFICATE_DAYS = 825  # the longest that Apple's and Google's clients accept
RENEW_BEFORE_DAYS = 30
DEMO_USERS = ("100", "101")
# Without l, o, 0 and 1: these passwords are typed on phones. Ten of 32 are 50 bits.
TYPEABLE = "abcdefghijkmnpqrstuvwxyz23456789"
PASSWORD_LENGTH = 10
SIOCGIFADDR = 0x8915  # linux/sockios.h


def new_password() -> str:
    return "".join(secrets.choice(TYPEABLE) for _ in range(PASSWORD_LENGTH))


def write_private(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Writes a file only its owner can read. Raises FileExistsError unless `replace`. All of it or nothing is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not replace and path.exists():
        raise FileExistsError(f"{path} exists already; remove it first if you want a new one")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_first_configuration(path: Path) -> str:
    """The shipped configuration with data_dir beside it and a new admin password, which is returned.

    Raises FileExistsError when there is one already.
    """
    password = new_password()
    text = (SHIPPED_CONFIG_DIR / "mediaserver.toml").read_text(encoding="utf-8")
    for key, value in (("data_dir", "."), ("admin_password", password)):
        text, changed = re.subn(rf'^# {key} = "[^"]*"$', f'{key} = "{value}"', text, flags=re.MULTILINE)
        assert changed == 1, f"config/mediaserver.toml lost its line for {key}"
    write_private(path, text.encode())
    return password


def with_certificates(settings: Settings) -> Settings:
    """Settings in which SIP and HTTPS have certificate files: their own, or the self-signed one, made when missing."""
    if settings.sip.certificate and settings.http.certificate:
        return settings
    certificate, key = ensure_certificate(settings.server.data_dir)
    files = {"certificate": certificate, "private_key": key}
    changed = {
        name: section.model_copy(update=files)
        for name, section in (("sip", settings.sip), ("http", settings.http))
        if section.certificate is None
    }
    return settings.model_copy(update=changed)


def ensure_certificate(folder: Path) -> tuple[Path, Path]:
    """Paths of the self-signed certificate and its key in `folder`; made when missing, renewed when near its end."""
    certificate, key = folder / CERTIFICATE_NAME, folder / PRIVATE_KEY_NAME
    if not (certificate.exists() and key.exists() and _lasts(certificate)):
        certificate_pem, key_pem = make_certificate(["localhost", socket.gethostname()], machine_addresses())
        write_private(key, key_pem, replace=True)
        write_private(certificate, certificate_pem, replace=True)
    return certificate, key


def _lasts(certificate: Path) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    left = loaded.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left > datetime.timedelta(days=RENEW_BEFORE_DAYS)


def make_certificate(names: list[str], addresses: list[str]) -> tuple[bytes, bytes]:
    """PEM of an ECDSA P-256 certificate for these names and addresses, and of its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mediaserver (self-signed)")])
    loopback = ["127.0.0.1", "::1"]
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys(names) if name.isascii()]
    alternatives += [x509.IPAddress(ipaddress.ip_address(text)) for text in dict.fromkeys(loopback + addresses)]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a phone's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def machine_addresses() -> list[str]:
    """IPv4 addresses of this machine's interfaces, the loopback one only if there is no other."""
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _index, name in socket.if_nameindex():
            # An interface without an IPv4 address answers EADDRNOTAVAIL.
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    outside = [address for address in dict.fromkeys(found) if not address.startswith("127.")]
    return outside or ["127.0.0.1"]


@dataclass(frozen=True, slots=True)
class FirstCall:
    """What a newcomer needs for the first call; passwords only on the first start."""

    settings: Settings
    config: Path | None
    passwords: dict[str, str]  # of the demo users

    def text(self) -> str:
        sip, http = self.settings.sip, self.settings.http
        addresses = machine_addresses() if sip.host in ("0.0.0.0", "::") else [sip.host]  # noqa: S104
        address = sip.external_host or addresses[0]
        ports = [(sip.udp_port, "UDP"), (sip.tcp_port, "TCP"), (sip.tls_port, "TLS")]
        listening = ", ".join(f"{kind} {port}" for port, kind in ports if port)
        kept = self.settings.server.data_dir / FIRST_CALL_NAME
        password = kept if self.passwords or kept.exists() else self.config or "http.admin_password"
        also = f" (also {', '.join(addresses[1:])})" if addresses[1:] else ""
        command = "./run mediaserver" if Path("run").is_file() else "mediaserver"
        page = [
            "Call from a browser",
            f"  open      https://{address}:{http.port}/phone",
            "            the certificate is this machine's own: the browser warns once; choose Advanced, then Proceed",
        ]
        lines = [
            *(page if http.port else []),
            "Or point a SIP phone here" if http.port else "Point a SIP phone here",
            f"  server    {address}{also}: {listening}",
            *self._users(),
            "Dial",
            "  600  echo: hear yourself          601  a spoken welcome, Russian and English",
            "  602  leave a message, hear it     700  a conference room (700 to 799)",
            "Watch",
            f"  pages     https://{address}:{http.port}/  user admin, password in {password}",
            f"  metrics   http://{http.metrics_host}:{http.metrics_port}/metrics",
            "Add a user",
            f"  {command} users add 102 --password …",
        ]
        return "\n".join(lines) + "\n"

    def _users(self) -> list[str]:
        if self.passwords:
            return [f"  user      {name}   password {word}" for name, word in self.passwords.items()]
        kept = self.settings.server.data_dir / FIRST_CALL_NAME
        if kept.exists():
            return [f"  users     {' and '.join(DEMO_USERS)}, passwords in {kept}"]
        return ["  users     those that you have added"]
