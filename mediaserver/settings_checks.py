"""What settings must hold together, beyond what each holds alone: ranges, files, names that must exist, clashes.

Owns the rules and their advice. Knows nothing of files of settings or lines; `settings_file` adds the place.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mediaserver.model import NOT_AUDIO, CodecName
from mediaserver.model_video import VideoCodec
from mediaserver.model_voice import LOUDNESS_DBOV
from mediaserver.settings import Settings

Key = tuple[str, ...]

LEGS_PER_CALL = 2
PORTS_PER_LEG = 2  # RTP and RTCP, RFC 3550 §11
FIRST_FREE_PORT = 1024  # below it only root may bind
AUDIO_CODECS = tuple(c.value for c in CodecName if c not in NOT_AUDIO)
VIDEO_CODECS = tuple(codec.value for codec in VideoCodec)
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ASYNC_DRIVERS = ("sqlite+aiosqlite:", "postgresql+asyncpg:")


@dataclass(frozen=True, slots=True)
class Complaint:
    """keys: what it is about, the one to change first. text: follows the key's name: "is …; allowed …; try …"."""

    keys: tuple[Key, ...]
    text: str


Check = Callable[[Settings], Iterator[Complaint]]


def cross_checks(settings: Settings, more: Sequence[Check] = ()) -> list[Complaint]:
    return [complaint for check in (*_CHECKS, *more) for complaint in check(settings)]


def _port_range(settings: Settings) -> Iterator[Complaint]:
    text = settings.media.port_range
    key = ("media", "port_range")
    low, high = (int(part) for part in text.split("-"))
    if not FIRST_FREE_PORT <= low < high <= 65_535:
        yield Complaint((key,), f"is {text}; allowed: LOW-HIGH between 1024 and 65535, low first; try 20000-29999")
        return
    if low % 2 or not high % 2:
        fixed = f"{low + low % 2}-{high - (high + 1) % 2}"
        yield Complaint(
            (key,), f"is {text}; RTP takes even ports and RTCP the odd one above: start even, end odd; try {fixed}"
        )
    ports, calls = high - low + 1, settings.sip.max_calls
    needed = calls * LEGS_PER_CALL * PORTS_PER_LEG
    if ports < needed:
        last = low + needed - 1
        advice = f"try {low}-{last}" if last <= 65_535 else f"start lower than {low}"
        if fitting := ports // (LEGS_PER_CALL * PORTS_PER_LEG):
            advice += f", or sip.max_calls = {fitting}"
        yield Complaint(
            (key, ("sip", "max_calls")),
            f"is {text}; sip.max_calls = {calls} needs {needed} ports (two legs a call, two ports a leg), here are "
            f"{ports}; {advice}",
        )
    for section, name, port in _udp_ports(settings):
        if low <= port <= high:
            yield Complaint(((section, name), key), f"is {port}; it lies in media.port_range {text}; move one of them")


def _udp_ports(settings: Settings) -> Iterator[tuple[str, str, int]]:
    yield "sip", "udp_port", settings.sip.udp_port
    if settings.webrtc.port:
        yield "webrtc", "port", settings.webrtc.port + settings.media.workers - 1


def _tcp_ports_differ(settings: Settings) -> Iterator[Complaint]:
    ports = {
        ("sip", "tcp_port"): settings.sip.tcp_port,
        ("sip", "tls_port"): settings.sip.tls_port,
        ("http", "port"): settings.http.port,
        ("http", "metrics_port"): settings.http.metrics_port,
        ("webrtc", "port"): settings.webrtc.port,
    }
    seen: dict[int, Key] = {}
    for key, port in ports.items():
        if port and port in seen:
            other = ".".join(seen[port])
            yield Complaint((key, seen[port]), f"is {port}; {other} has it already; give each its own, or 0 for none")
        seen.setdefault(port, key)


def _order(settings: Settings) -> Iterator[Complaint]:
    pairs = (
        ("media", "jitter_min_ms", "jitter_max_ms"),
        ("sip", "min_expires_s", "max_expires_s"),
        ("recording", "flush_interval_ms", "fsync_interval_ms"),
    )
    for section, small, large in pairs:
        part = getattr(settings, section)
        low, high = getattr(part, small), getattr(part, large)
        if large == "fsync_interval_ms" and high == 0:
            continue  # 0: a sync with every flush
        if low > high:
            yield Complaint(
                ((section, small), (section, large)),
                f"is {low}; it may not be above {section}.{large}, which is {high}; try {high}",
            )


def _codecs(settings: Settings) -> Iterator[Complaint]:
    media = settings.media
    lists: list[tuple[Key, list[str], tuple[str, ...]]] = [
        (("media", "codecs"), media.codecs, AUDIO_CODECS),
        (("media", "video_codecs"), media.video_codecs, VIDEO_CODECS),
    ]
    lists += [(("trunks", name, "codecs"), trunk.codecs, AUDIO_CODECS) for name, trunk in settings.trunks.items()]
    for key, codecs, known in lists:
        unknown = [name for name in codecs if name not in known]
        if unknown:
            yield Complaint((key,), f"names {', '.join(unknown)}; allowed: {', '.join(known)} (spelled so)")
        if len(set(codecs)) != len(codecs):
            yield Complaint((key,), f"names a codec twice: {', '.join(codecs)}; name each once, the preferred first")
    if not settings.media.codecs:
        yield Complaint((("media", "codecs"),), 'is empty; no call could be answered; try ["opus", "PCMU", "PCMA"]')


def _ptime(settings: Settings) -> Iterator[Complaint]:
    ptime = settings.media.ptime_ms
    if ptime % 10:
        yield Complaint(
            (("media", "ptime_ms"),), f"is {ptime}; allowed: 10, 20, 30, 40, 50, 60; try {ptime // 10 * 10}"
        )


def _certificates(settings: Settings) -> Iterator[Complaint]:
    for section in ("sip", "http"):
        part = getattr(settings, section)
        for name, other in (("certificate", "private_key"), ("private_key", "certificate")):
            path: Path | None = getattr(part, name)
            if path is None:
                if getattr(part, other) is not None:
                    yield Complaint(
                        ((section, name), (section, other)),
                        f"is not set, but {section}.{other} is; TLS needs both (or neither: then a self-signed one)",
                    )
            elif not os.access(path, os.R_OK):
                why = "cannot be read by this user" if path.exists() else "does not exist"
                yield Complaint(((section, name),), f"is {path}; that file {why}; name a PEM file this user can read")


def _folders(settings: Settings) -> Iterator[Complaint]:
    wanted: list[tuple[Key, Path | None, Callable[[Path], bool], str]] = [
        (("media", "prompts_dir"), settings.media.prompts_dir, Path.is_dir, "folder"),
        (("routing", "programs_dir"), settings.routing.programs_dir, Path.is_dir, "folder"),
        (("routing", "file"), settings.routing.file, Path.is_file, "file"),
    ]
    for key, path, exists, what in wanted:
        if path is not None and not exists(path):
            yield Complaint(
                (key,), f"is {path}; there is no such {what}; create it, or leave it out for the shipped one"
            )


def _loudness(settings: Settings) -> Iterator[Complaint]:
    wanted: list[tuple[Key, float]] = [(("voice", "loudness_dbov"), settings.voice.loudness_dbov)]
    wanted += [(("trunks", name, "loudness_dbov"), trunk.loudness_dbov) for name, trunk in settings.trunks.items()]
    for key, dbov in wanted:
        if LOUDNESS_DBOV[1] < dbov < 0:
            yield Complaint((key,), f"is {dbov:g}; allowed: -40 to -10, or 0 for off; -26 is the telephone's level")


def _trunks(settings: Settings) -> Iterator[Complaint]:
    for name, trunk in settings.trunks.items():
        if not trunk.uri.startswith(("sip:", "sips:")):
            yield Complaint((("trunks", name, "uri"),), f'is "{trunk.uri}"; it must be sip:HOST; try "sip:{trunk.uri}"')
        for network in trunk.allow_from:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                yield Complaint(
                    (("trunks", name, "allow_from"),),
                    f'names "{network}"; allowed: addresses and networks, like 192.0.2.7 or 192.0.2.0/24',
                )
        if trunk.register_with_peer and not trunk.username:
            yield Complaint(
                (("trunks", name, "username"), ("trunks", name, "register_with_peer")),
                "is not set; registering needs it; add username and password, or register_with_peer = false",
            )


def _store(settings: Settings) -> Iterator[Complaint]:
    url = settings.store.url
    if url and not url.startswith(ASYNC_DRIVERS):
        yield Complaint(
            (("store", "url"),),
            f"begins with {url.split(':')[0]}:; allowed: {', '.join(ASYNC_DRIVERS)} or empty for SQLite in data_dir",
        )


def _s3(settings: Settings) -> Iterator[Complaint]:
    s3 = settings.s3
    host = s3.endpoint.removeprefix("http://").rstrip("/").rsplit(":", 1)[0]
    if s3.endpoint.startswith("http://") and host not in LOOPBACK_HOSTS and not s3.allow_http:
        yield Complaint(
            (("s3", "endpoint"), ("s3", "allow_http")),
            "has no TLS: who listens sees which recordings there are and when they are played; "
            "try https://, or allow_http = true",
        )
    if bool(s3.access_key_id) != bool(s3.secret_access_key.get_secret_value()):
        missing = "secret_access_key" if s3.access_key_id else "access_key_id"
        yield Complaint(
            (("s3", missing), ("s3", "access_key_id")),
            "is not set, but the other half of the key is; give both, or neither: then they are looked for where "
            "Amazon's own tools look (environment, role of the machine)",
        )
    if s3.endpoint and not s3.bucket:
        yield Complaint((("s3", "bucket"),), "is not set, but s3.endpoint is; name the bucket")


def _events(settings: Settings) -> Iterator[Complaint]:
    if settings.events.webhook_url and not settings.events.webhook_secret.get_secret_value():
        yield Complaint(
            (("events", "webhook_secret"), ("events", "webhook_url")),
            "is not set, so anybody could post events in our name; try the output of: openssl rand -hex 32",
        )


def is_loopback_http(url: str) -> bool:
    """Plain HTTP that does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")


def _oidc(settings: Settings) -> Iterator[Complaint]:
    oidc = settings.oidc
    if not oidc.issuer:
        return
    for name in ("issuer", "public_url"):
        url = getattr(oidc, name)
        if not (url.startswith("https://") and urlsplit(url).hostname) and not is_loopback_http(url):
            yield Complaint((("oidc", name), ("oidc", "issuer")), f'is "{url}"; allowed: https://HOST[:PORT]')
    if not oidc.client_id:
        yield Complaint(
            (("oidc", "client_id"), ("oidc", "issuer")), "is not set; it is the name that the issuer knows us by"
        )
    if bool(oidc.role_claim) != bool(oidc.roles):
        missing = "roles" if oidc.role_claim else "role_claim"
        yield Complaint(
            (("oidc", missing), ("oidc", "role_claim")),
            'is not set, but the other half is; try role_claim = "groups" and roles = { "qa-team" = "qa" }, or '
            "neither: then who may come in is said by mediaserver reviewers add NAME --oidc",
        )


_CHECKS: tuple[Check, ...] = (
    _port_range,
    _tcp_ports_differ,
    _order,
    _codecs,
    _ptime,
    _certificates,
    _folders,
    _loudness,
    _trunks,
    _store,
    _s3,
    _events,
    _oidc,
)
