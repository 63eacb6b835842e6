"""S3 for tests: moto in this process, and a small server of our own that fails in the ways that are asked of it."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from mediaserver.settings import S3Settings
from mediaserver.store.blobs import S3Blobs

SECRET = "planted-secret-of-the-bucket"


def settings(endpoint: str, bucket: str = "recordings", **values: Any) -> S3Settings:
    return S3Settings(
        bucket=bucket, endpoint=endpoint, access_key_id="key", secret_access_key=SECRET, **{"prefix": "a", **values}
    )  # type: ignore[arg-type]


def blobs(endpoint: str, **values: Any) -> S3Blobs:
    """Tries once, so that a test sees each failure."""
    return S3Blobs(settings(endpoint, **values), tries=1)


@contextmanager
def moto() -> Iterator[str]:
    """Its endpoint. Every test makes a bucket of its own."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def make_bucket(endpoint: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=5).close()


class FaultyS3:
    """Keeps objects by path. What goes wrong is said by `fault`, per request."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault = ""  # "", silent, 403, 503, damages (what it takes), forgets (what it takes)
        self._free = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement
            wbufsize = 65_536

            def log_message(self, *_: object) -> None:
                pass

            def do_PUT(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def do_HEAD(self) -> None:
                self._answer()

            def _answer(self) -> None:
                path = unquote(urlsplit(self.path).path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                owner.asked.append((self.command, path))
                status, answer = owner.answer(self.command, path, body)
                if status == 0:
                    owner._free.wait(10)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.send_header("ETag", f'"{hashlib.md5(answer).hexdigest()}"')
                self.send_header("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self.fault == "silent":
            return 0, b""
        if self.fault == "403":
            text = f"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>key</AWSAccessKeyId>{SECRET}</Error>"
            return 403, text.encode()
        if self.fault == "503":
            return 503, b"<Error><Code>SlowDown</Code></Error>"
        if method == "PUT":
            if self.fault == "damages":
                body = body[:-1] + bytes([body[-1] ^ 1])
            if self.fault != "forgets":
                self.objects[path] = body
            return 200, b""
        if path not in self.objects:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, self.objects[path]

    def close(self) -> None:
        self._free.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
