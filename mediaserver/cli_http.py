"""The command line's way to the running server: its HTTPS API, with the password and certificate of the configuration.

Owns one request and what its failure means to a person. The server's own certificate is trusted by its file, so a
self-signed one is as good as any; names are not checked, because the file says exactly which key must answer.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from mediaserver.bootstrap import CERTIFICATE_NAME
from mediaserver.cli_common import CommandFailed, Exit
from mediaserver.settings import Settings

TIMEOUT_S = 10.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def request(settings: Settings, method: str, path: str, body: Any = None) -> Any:
    """The JSON answer of the API; body is sent as JSON.

    Raises CommandFailed: UNREACHABLE when no server answers, FAILED when it refuses.
    """
    host = ANY_ADDRESS.get(settings.http.host, settings.http.host)
    where = f"https://{host}:{settings.http.port}"
    if not settings.http.port:
        raise CommandFailed("the API is switched off (http.port = 0), and this command needs it", Exit.UNREACHABLE)
    certificate = settings.http.certificate or settings.server.data_dir / CERTIFICATE_NAME
    connection = http.client.HTTPSConnection(
        host, settings.http.port, timeout=TIMEOUT_S, context=_trusting(certificate)
    )
    credentials = base64.b64encode(f"admin:{settings.http.admin_password.get_secret_value()}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Accept": "application/json"}
    if method != "GET":
        headers["X-Requested-With"] = "mediaserver"
    try:
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body), "application/json"
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        answer = response.read()
    except ssl.SSLCertVerificationError as error:
        raise CommandFailed(
            f"{where} answers with another certificate than {certificate}; is another server running there?",
            Exit.UNREACHABLE,
        ) from error
    except OSError as error:
        raise CommandFailed(
            f"no server answers at {where} ({error.strerror or error}); start it with: mediaserver run",
            Exit.UNREACHABLE,
        ) from error
    finally:
        connection.close()
    return _answer(response.status, answer, where)


def _trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is the anchor
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise CommandFailed(
            f"{certificate} cannot be read ({error}); run this as the user of the server, with the server's --config",
            Exit.UNREACHABLE,
        ) from error
    return context


def _answer(status: int, body: bytes, where: str) -> Any:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if status < 300:
        return answer
    told = answer.get("error", {}).get("message", "") if isinstance(answer, dict) else ""
    if status == 401:
        told = "the admin password of this configuration is not the running server's; give its --config"
    raise CommandFailed(told or f"{where} answered {status}")
