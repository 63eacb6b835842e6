"""The HTTP listeners: HTTPS for API and page behind the admin password, plain HTTP on this machine for metrics and
health.

Owns sockets, TLS, the gate before the API, the headers on every answer and the shape of errors. What is answered
stands in `routes`; what is measured in `metrics`. A failing handler answers 500 and is logged; it ends nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
import time

import structlog
from aiohttp import web, web_response
from aiohttp.typedefs import Handler, Middleware

from mediaserver.api import views
from mediaserver.api.access import Gate, Verdict
from mediaserver.api.answers import SECURITY_HEADERS, Refused, page_not_there, refusal, takes_html
from mediaserver.api.bad_http import bad_http_logger
from mediaserver.api.facade import Conflict, Facade, NotFound
from mediaserver.api.front import Front
from mediaserver.api.metrics import Metrics
from mediaserver.api.pages import page_routes
from mediaserver.api.recording_routes import RecordingApi
from mediaserver.api.review_routes import ADDRESS as REVIEW
from mediaserver.api.review_routes import ReviewApi
from mediaserver.api.routes import Api, BadRequest
from mediaserver.api.ways import WaysIn
from mediaserver.api.websocket import SipDoor, SipWebSockets
from mediaserver.errors import ConfigError, StorageError
from mediaserver.limits import API_BODY_BYTES_MAX, HTTP_IDLE_S_MAX
from mediaserver.settings import HttpSettings, Settings
from mediaserver.web import assets

log = structlog.get_logger()

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SHUTDOWN_TIMEOUT_S = 2.0  # for answers under way when the server stops
SERVER_NAME = "mediaserver"  # no versions: they tell an attacker which holes to try
# aiohttp answers what is not HTTP at all by itself, past every hook of an application, and has no setting for it.
vars(web_response)["SERVER_SOFTWARE"] = SERVER_NAME
OPEN = {"/api/v1/session"}  # asks for a SIP user's password itself; what lies under REVIEW for a reviewer's
READING = ("GET", "HEAD", "OPTIONS")


class HttpServer:
    def __init__(
        self,
        settings: Settings,
        facade: Facade,
        metrics: Metrics,
        sip: SipDoor | None = None,
        ways: WaysIn | None = None,
        review: ReviewApi | None = None,
    ) -> None:
        """sip: who takes SIP over WebSocket at /ws; None: nobody. ways: tokens and what they open; None: none.

        review: what the review page asks; it has people of its own.
        """
        self._settings = settings.http
        self._facade = facade
        self._metrics = metrics
        self._sip = sip
        self._ways = ways
        self._review = review
        self._runners: list[web.AppRunner] = []
        self._fronts: list[Front] = []
        self._ports: dict[str, int] = {}

    async def start(self) -> None:
        """Binds both listeners. Raises ConfigError: certificate unusable, port taken."""
        http = self._settings
        try:
            if http.port:
                await self._listen("https", self._secure_app(), http.host, http.port, tls_context(http))
            if http.metrics_port:
                plain = plain_app(self._facade, self._metrics)
                await self._listen("metrics", plain, http.metrics_host, http.metrics_port, None)
        except BaseException:
            await self.stop()
            raise

    def _secure_app(self) -> web.Application:
        app = secure_app(self._settings, self._facade)
        if self._sip is not None:
            sockets = SipWebSockets(self._sip, self._settings.websocket_origins)
            app.router.add_get("/ws", sockets.handle)
            app.on_shutdown.append(sockets.close_all)
        if self._ways is not None:
            self._ways.add_to(app)
        if self._review is not None:
            app.add_routes(self._review.routes())
        return app

    async def _listen(self, name: str, app: web.Application, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            keepalive_timeout=HTTP_IDLE_S_MAX,
            logger=bad_http_logger(),
        )
        await runner.setup()
        self._runners.append(runner)
        try:
            if tls is None:
                await web.TCPSite(runner, host, port).start()
                self._ports[name] = runner.addresses[0][1]
            else:
                assert runner.server is not None
                front = Front(runner.server, tls)
                self._fronts.append(front)
                self._ports[name] = await front.open(host, port)
        except OSError as error:
            key = "http.port" if tls else "http.metrics_port"
            raise ConfigError(
                f"{key} is {port}; {host}:{port} cannot be bound ({error.strerror or error}); "
                "end what listens there, or choose another port"
            ) from error

    async def stop(self) -> None:
        """Closes both listeners; answers under way get a moment. Idempotent."""
        fronts, self._fronts = self._fronts, []
        for front in fronts:
            await front.close()
        runners, self._runners = self._runners, []
        for runner in runners:
            await runner.cleanup()


def tls_context(http: HttpSettings) -> ssl.SSLContext:
    """TLS 1.2 or later with the configured certificate. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if http.certificate is None or http.private_key is None:
        raise ConfigError("http.certificate is not set; HTTPS needs it; name a PEM file, or set http.port = 0")
    try:
        context.load_cert_chain(http.certificate, http.private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"http.certificate is {http.certificate}; it cannot be used with http.private_key ({error}); "
            "both must be PEM and belong together"
        ) from error
    return context


def secure_app(http: HttpSettings, facade: Facade) -> web.Application:
    gate = Gate(http.admin_password.get_secret_value())
    app = web.Application(
        middlewares=[_headers, _errors, _bounded, _guard(gate)],
        client_max_size=API_BODY_BYTES_MAX,
    )
    app.on_response_prepare.append(_name_server)
    app.add_routes(Api(facade).routes())
    app.add_routes(RecordingApi(facade).routes())
    app.add_routes(page_routes(assets.load()))
    return app


def plain_app(facade: Facade, metrics: Metrics) -> web.Application:
    async def render(request: web.Request) -> web.Response:
        counters = facade.counters()
        open_metrics = "application/openmetrics-text" in request.headers.get("Accept", "")
        draw = metrics.render_openmetrics if open_metrics else metrics.render
        body = await asyncio.get_running_loop().run_in_executor(None, draw, counters)
        return web.Response(body=body, headers={"Content-Type": OPENMETRICS_TYPE if open_metrics else METRICS_TYPE})

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_request: web.Request) -> web.Response:
        readiness = facade.readiness()
        return web.json_response(views.readiness_json(readiness), status=200 if readiness.ready else 503)

    app = web.Application(middlewares=[_headers, _errors], client_max_size=API_BODY_BYTES_MAX)
    app.on_response_prepare.append(_name_server)
    app.add_routes([web.get("/metrics", render), web.get("/health/live", live), web.get("/health/ready", ready)])
    return app


async def _name_server(_request: web.Request, response: web.StreamResponse) -> None:
    """On WebSocket answers and refusals too, which pass no middleware unprepared."""
    response.headers["Server"] = SERVER_NAME


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.update(SECURITY_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
    return response


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as JSON. What went wrong inside is told to the log, not to the client."""
    try:
        return await handler(request)
    except Refused as error:
        return error.response
    except NotFound as error:
        return refusal(404, "not_found", str(error.args[0] if error.args else "not found"))
    except Conflict as error:
        return refusal(409, "conflict", str(error))
    except BadRequest as error:
        return refusal(400, "bad_request", str(error))
    except StorageError as error:
        log.warning("api.storage_failed", path=request.path, error=str(error))
        return refusal(503, "storage", "database, disk or bucket does not answer; the server's log says why")
    except (web.RequestPayloadError, ConnectionError):  # the client left in the middle of its body
        return refusal(400, "bad_request", "the request's body broke off")
    except web.HTTPException as error:
        if error.status == 404 and takes_html(request) and not request.path.startswith("/api/"):
            return page_not_there(request)
        code = (error.reason or "error").lower().replace(" ", "_")
        response = refusal(error.status, code, f"{request.method} {request.path[:200]}: {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("api.failed", method=request.method, path=request.path)
        return refusal(500, "internal", "the server failed at this request; its log says where")


@web.middleware
async def _bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A body that says it is too long is refused before any of it is waited for."""
    if (request.content_length or 0) > API_BODY_BYTES_MAX:
        return refusal(413, "request_entity_too_large", f"a body has at most {API_BODY_BYTES_MAX} bytes")
    return await handler(request)


def _guard(gate: Gate) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        if request.path in OPEN or request.path.startswith(REVIEW):
            return await _asked_on_purpose(request, handler)
        now_ns, source = time.monotonic_ns(), request.remote or ""
        verdict = gate.check(request.headers.get("Authorization"), source, now_ns)
        if verdict is Verdict.SLOW_DOWN:
            response = refusal(429, "slow_down", "too many wrong passwords from your address; wait a minute")
            response.headers["Retry-After"] = str(gate.retry_after_s(source, now_ns))
            return response
        if verdict is Verdict.DENIED:
            response = refusal(401, "unauthorized", "user admin and the password of http.admin_password are needed")
            # Our page asks for the password itself: a browser's own dialog would stand in its way.
            if "X-Requested-With" not in request.headers:
                response.headers["WWW-Authenticate"] = 'Basic realm="mediaserver", charset="UTF-8"'
            return response
        return await _asked_on_purpose(request, handler)

    return guard


async def _asked_on_purpose(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Browsers add a remembered Basic password to requests that other sites cause, but other sites cannot add this
    header without asking first (CORS), and are never allowed.
    """
    if request.method not in READING and "X-Requested-With" not in request.headers:
        return refusal(403, "csrf", "a request that changes something needs the header X-Requested-With")
    return await handler(request)
