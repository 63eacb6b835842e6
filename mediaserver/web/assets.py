"""The built pages, read once at the start: bodies, their compressed form, types, and how long a browser may keep them.

Owns the folder `static/`, which `web/build.mjs` writes, and the addresses of what lies there. Knows no HTTP server: who
answers asks for an `Asset` by its exact address, so no path of a request ever reaches the disk. Source: RFC 9110 (ETag,
content coding), RFC 8246 (immutable).
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mediaserver.errors import ConfigError

STATIC = Path(__file__).parent / "static"
FRONT_PAGE = "desk"  # answered at /; every other page NAME.html at /NAME
CONTENT_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
# What lies in assets/ has a hash of its content in its name: another content is another address.
KEEP_FOR_EVER = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    content_type: str  # without charset: all text is UTF-8
    body: bytes
    gzipped: bytes  # the same, for a browser that takes gzip
    etag: str  # hex, without quotes
    cache_control: str


@cache
def load(folder: Path = STATIC) -> Mapping[str, Asset]:
    """Every file by its address. Raises ConfigError: the folder was not built, or holds what has no type here."""
    pages = sorted(folder.glob("*.html"))
    if not pages:
        raise ConfigError(f"{folder} holds no page; the installation is incomplete: install the package again")
    found = {"/" if path.stem == FRONT_PAGE else f"/{path.stem}": _asset(path, ASK_EACH_TIME) for path in pages}
    found |= {f"/{path.name}": _asset(path, ASK_EACH_TIME) for path in sorted(folder.glob("*.txt"))}
    return found | {f"/assets/{path.name}": _asset(path, KEEP_FOR_EVER) for path in sorted(folder.glob("assets/*"))}


def _asset(path: Path, cache_control: str) -> Asset:
    body = path.read_bytes()
    try:
        content_type = CONTENT_TYPES[path.suffix]
    except KeyError as error:
        raise ConfigError(f"{path} has an ending that no page uses; known: {', '.join(CONTENT_TYPES)}") from error
    gzipped = gzip.compress(body, compresslevel=9, mtime=0)
    return Asset(content_type, body, gzipped, hashlib.sha256(body).hexdigest()[:32], cache_control)
