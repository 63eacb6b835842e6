"""The composition root: makes every room, hands each what it needs, starts and stops them in order.

Owns the order of starting and stopping, signals and the choice of event loop. Knows no protocol and no policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
import uvloop

from mediaserver import logs
from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.live_routes import LiveRoom
from mediaserver.api.metrics import Metrics
from mediaserver.api.people import People
from mediaserver.api.server import HttpServer
from mediaserver.api.token_routes import IceServer
from mediaserver.api.tokens import Tokens
from mediaserver.api.ways import WaysIn
from mediaserver.api.webhooks import EventHooks, Webhooks
from mediaserver.app_facade import ServerFacade
from mediaserver.app_review import Reviewing
from mediaserver.app_users import UserView
from mediaserver.calls.manager import CallManager
from mediaserver.calls.pages import PagesGateway
from mediaserver.clock import SystemClock
from mediaserver.errors import MediaServerError
from mediaserver.limits import DESCRIPTORS_WANTED, EVENT_LOOP_LAG_LOGGED_S, GC_YOUNG_OBJECTS
from mediaserver.media.engine import MediaEngine
from mediaserver.media.prompts import PromptLibrary
from mediaserver.media.tones import tone
from mediaserver.model import LegStats, MediaAddress, MediaEvent, TapBehind
from mediaserver.model_video import VideoEvent
from mediaserver.quality.alerts import Alerts
from mediaserver.quality.capture import Capture
from mediaserver.quality.hep import HepSender
from mediaserver.quality.monitor import QualityMonitor
from mediaserver.quality.own_reports import OwnReports
from mediaserver.quality.phone_reports import PhoneReports
from mediaserver.quality.played import Played
from mediaserver.quality.traces import Traces
from mediaserver.recording.announce import LedgerFollower
from mediaserver.recording.cabinet import open_cabinet
from mediaserver.recording.consent import ConsentAuthority
from mediaserver.recording.keeping import EXPORTS
from mediaserver.recording.listening import Listening
from mediaserver.recording.recorder import JournalRecorder
from mediaserver.recording.sealed import SealedShelf
from mediaserver.recording.shipping import Shipper
from mediaserver.settings import SHIPPED_CONFIG_DIR, Settings
from mediaserver.sip.counters import SipCounters
from mediaserver.sip.flow import Flow
from mediaserver.sip.session import InviteSession
from mediaserver.sip.transport import SipTransport
from mediaserver.sip.ua import UserAgent
from mediaserver.store.calls import CallStore
from mediaserver.store.database import Database, open_database
from mediaserver.store.quality import QualityRow, QualityStore
from mediaserver.store.recordings import RecordingStore
from mediaserver.store.spool import Spool
from mediaserver.store.users import UserStore
from mediaserver.webrtc.turn import turn_credentials

log = structlog.get_logger(__name__)


class Server:
    """All rooms of one process. `start` raises MediaServerError or OSError; `stop` undoes what was started."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.database = database
        self.spool = Spool(database)
        self.users = UserStore(database)
        self.call_store = CallStore(database, self.spool)
        self.quality = QualityStore(database, self.spool)
        self.recordings = RecordingStore(database, self.spool)
        self.user_view = UserView(self.users)
        self.metrics = Metrics()
        authority = ConsentAuthority()
        self.engine = MediaEngine(
            settings.media,
            self.clock,
            self._on_media_event,
            verify_token=authority.verify,
            webrtc_port=settings.webrtc.port,
            other_ports=(settings.sip.udp_port,),
            external_host=settings.sip.external_host,
        )
        self.shelf = SealedShelf(settings.server.data_dir / EXPORTS)
        self.recorder = JournalRecorder(
            settings.recording, settings.server.data_dir, self.engine, self.recordings, self.clock, authority
        )
        self.cabinet = open_cabinet(settings, self.recorder.root)
        self.listening = Listening(
            self.recorder.root, settings.server.data_dir / EXPORTS, self.cabinet, self.recorder.keys
        )
        self.shipper = None
        if self.cabinet.blobs is not None:
            self.shipper = Shipper(
                self.recorder.root,
                self.recordings,
                self.cabinet.blobs,
                self.clock,
                settings.s3.move_after_s,
                self.cabinet.stats,
            )
        self.webhooks = Webhooks(settings.alerts, self.clock)
        self.events = EventHooks(settings.events, self.clock)
        self.recorder.tell = self.events.tell
        self.ledger = LedgerFollower(self.recorder.root, self.events.tell)
        self.alerts = Alerts(settings.alerts, self.clock, self.webhooks.tell, lambda: self.recorder.writer.stats.lag_s)
        self.monitor = QualityMonitor(
            settings.quality,
            self.engine,
            self.quality,
            self.clock,
            on_row=self._on_score,
            on_end=self._on_leg_end,
        )
        self.played = Played(self.quality, self.clock)
        self.phone_reports = PhoneReports(self.clock, self.quality.put_event)
        self.traces = Traces(settings.traces, self.clock.wall) if settings.traces.endpoint else None
        self.hep = HepSender(settings.hep, self.clock)
        self.capture = Capture(self.hep)
        if self.hep.wants("log"):
            logs.mirror = self.capture.log_line
        counters = SipCounters()
        self.transport = SipTransport(settings.sip, self.clock, counters=counters)
        if self.hep.wants("sip"):
            self.transport.mirror = self._on_sip_message
        self.agent = UserAgent(
            settings,
            self.user_view,
            self.clock,
            entropy=os.urandom,
            local_address=self.transport.local_address_for,
            on_invite=self._on_invite,
            wake=self.transport.wake,
            stream_for=self.transport.stream_for,
            counters=counters,
        )
        self.agent.inbound.on_quality_report = self.phone_reports.take
        self.own_reports = OwnReports(self.agent.publisher.publish) if self.agent.publisher is not None else None
        own_prompts = [settings.media.prompts_dir] if settings.media.prompts_dir else []
        self.tokens = Tokens(
            settings.tokens,
            settings.server.data_dir,
            self.clock,
            audience=settings.server.realm,
            stamp=self.user_view.stamp,
        )
        facade = ServerFacade(self)
        self.people = People(
            self.clock,
            facade.live_quality,
            interval_s=settings.quality.interval_s,
            on_stats=self.monitor.client_stats,
        )
        door = Doorkeeper(self.tokens, self.user_view, settings.server.realm)
        self.ways = WaysIn(settings, door, self.people, self._ice_servers, self.clock)
        self.calls = CallManager(
            settings,
            engine=self.engine,
            video=self.engine,
            gateway=PagesGateway(self.agent, self.ways.pages),
            prompts=PromptLibrary([*own_prompts, SHIPPED_CONFIG_DIR / "prompts"], settings.server.language),
            clock=self.clock,
            routing_file=settings.routing.file or SHIPPED_CONFIG_DIR / "routing.toml",
            recorder=self.recorder if settings.recording.enabled else None,
            observers=[
                self.call_store,
                self.monitor,
                self.played,
                self.capture,
                self.phone_reports,
                *([self.own_reports] if self.own_reports is not None else []),
                *([self.traces] if self.traces is not None else []),
                self.recorder,
                self.people,
            ],
            readers=[self.people],
            data_channels=self.ways.channels,
            tone=lambda kind: tone(kind, settings.media.tones),
        )
        self.ways.take_calls(self.calls, self._answer_consent)
        live = LiveRoom(self.calls, self.ways.local_host)
        self.review = Reviewing(database, facade, self.clock, lambda: len(self.calls), live, settings.oidc)
        self.http = HttpServer(settings, facade, self.metrics, self.transport, self.ways, self.review.api)
        self._started: list[tuple[str, Callable[[], Awaitable[object]]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """In this order, so that whoever can be reached finds all it needs behind it."""
        await self._begin("database", self.spool.start, self.spool.stop)
        await self.call_store.close_interrupted()
        await self.user_view.refresh()
        await asyncio.to_thread(self.tokens.load)
        await self._begin("events", self.events.start, self.events.stop)
        if self.events.url:
            await self._begin("ledger", self.ledger.start, self.ledger.stop)
        await self._begin("recording", self.recorder.start, self.recorder.stop)
        await self._begin("media", self.engine.start, self.engine.stop)
        await self._begin("quality", self.monitor.start, self.monitor.stop)
        await self._begin("hep", self.hep.start, self.hep.stop)
        if self.traces is not None:
            await self._begin("traces", self.traces.start, self.traces.stop)
        await self._begin("webhooks", self.webhooks.start, self.webhooks.stop)
        await self._begin("alerts", self.alerts.start, self.alerts.stop)
        await self._begin("calls", self.calls.start, self.calls.stop)
        await self._begin("people", self.people.start, self.people.stop)
        await self._begin("sip", lambda: self.transport.start(self.agent), self.transport.stop)
        self.agent.start()
        await self._begin("listening", lambda: asyncio.to_thread(self.shelf.sweep), self.listening.stop)
        await self._begin("review", self.review.findable.start, self.review.findable.stop)
        await self._begin("sampling", self.review.sampler.start, self.review.sampler.stop)
        if self.shipper is not None:
            await self._begin("storage", self.shipper.start, self.shipper.stop)
        await self._begin("http", self.http.start, self.http.stop)
        self._tasks = [
            asyncio.create_task(self.user_view.follow(), name="users"),
            asyncio.create_task(_watch_loop(), name="loop watch"),
        ]
        log.info("ready", sip=self.transport.ports, rtp=self.settings.media.port_range)

    async def _begin(
        self, name: str, start: Callable[[], Awaitable[object]], stop: Callable[[], Awaitable[object]]
    ) -> None:
        await start()
        self._started.append((name, stop))

    async def drain(self, hurry: asyncio.Event) -> None:
        """Refuses new calls, waits for running ones as long as the settings allow or until `hurry`, ends the rest."""
        self.agent.draining = True
        running = len(self.calls.calls())
        log.info("draining", calls=running, timeout_s=self.settings.server.drain_timeout_s)
        wait = asyncio.create_task(self.calls.drain(self.settings.server.drain_timeout_s))
        impatient = asyncio.create_task(hurry.wait())
        await asyncio.wait({wait, impatient}, return_when=asyncio.FIRST_COMPLETED)
        impatient.cancel()
        if not wait.done():
            wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wait
            await self.calls.drain(0)
        else:
            wait.result()

    async def stop(self) -> None:
        """What started last stops first; a room that cannot stop well does not keep the others from it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.agent.stop()
        await asyncio.sleep(0.1)  # the last BYEs and un-REGISTERs leave
        while self._started:
            name, stop = self._started.pop()
            try:
                await stop()
            except Exception:
                log.exception("a room did not stop well", room=name)
        await self.database.close()

    def reload(self) -> None:
        """SIGHUP: routing and call programs are read again."""
        log.info("reload asked for")
        self.calls.reload()

    def _ice_servers(self, user: str) -> Sequence[IceServer]:
        """Those a page or broadcaster may use, with credentials that end by themselves."""
        webrtc = self.settings.webrtc
        urls, secret = tuple(webrtc.turn_urls), webrtc.turn_secret.get_secret_value()
        if not urls or not secret:
            return (IceServer(urls),) if urls else ()
        made = turn_credentials(secret, user, self.clock.wall(), webrtc.turn_ttl_s)
        return (IceServer(urls, made.username, made.password),)

    async def _answer_consent(self, call_id: str, leg_id: str, agree: bool, purposes: Sequence[str]) -> str:
        """A page's button. Raises LookupError when nothing of this party is being recorded."""
        answer = "granted" if agree else "denied"
        return await self.calls.consent_desk.answer(call_id, leg_id, answer, "web", {}, purposes)

    def _on_invite(self, session: InviteSession) -> None:
        self.calls.on_invite(session)

    def _on_score(self, row: QualityRow, stats: LegStats | None) -> None:
        self.metrics.observe_quality(row, stats)
        self.alerts.score(row)
        if self.hep.active:
            self.capture.score(row, stats)
        if self.own_reports is not None:
            self.own_reports.score(row, stats)
        if self.traces is not None:
            self.traces.score(row)

    def _on_leg_end(self, trunk: str, one_way: bool) -> None:
        self.metrics.leg_ended(one_way)
        self.alerts.leg_ended(trunk, one_way)

    def _on_sip_message(self, data: bytes, flow: Flow, outgoing: bool) -> None:
        here = MediaAddress(*self.transport.local_address_for(flow))
        there = MediaAddress(flow.remote_host, flow.remote_port)
        self.capture.sip(data, here, there, outgoing, flow.transport)

    def _on_media_event(self, event: MediaEvent | VideoEvent) -> None:
        if isinstance(event, TapBehind):
            self.recorder.tap_behind(event)
        else:
            self.calls.on_media_event(event)


async def _watch_loop() -> None:
    """Says when something held the event loop up: SIP answers late then, media goes on."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 1.0
        await asyncio.sleep(1.0)
        late = loop.time() - due
        if late > EVENT_LOOP_LAG_LOGGED_S:
            log.warning("event loop held up", seconds=round(late, 3))


async def serve(settings: Settings) -> int:
    """Runs the server until SIGTERM or SIGINT; a second signal ends running calls at once. Returns the exit code."""
    loop = asyncio.get_running_loop()
    asked, hurry = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (hurry if asked.is_set() else asked).set()

    await asyncio.to_thread(_make_private, settings.server.data_dir)
    database = await open_database(settings.store.url, settings.server.data_dir)
    server = Server(settings, database)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        await server.start()
        _calm_collector()
        await asked.wait()
        await server.drain(hurry)
    finally:
        await server.stop()
    log.info("stopped")
    return 0


def _calm_collector() -> None:
    """Python's cyclic garbage collector, set for a server: what start-up made is never looked at again, and a young
    round comes every few calls instead of several times in each (that was a fifth of a call's CPU)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, 10, 10)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def allow_descriptors() -> None:
    """As many as the system lets this process have: systems give 1,024 at first, and a call takes four."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < DESCRIPTORS_WANTED:
        log.warning("few descriptors: raise the limit of open files (ulimit -n, LimitNOFILE)", limit=hard, was=soft)


def run(settings: Settings) -> int:
    """What `mediaserver run` calls. 0, or 1 with the reason logged when the server could not start."""
    allow_descriptors()
    try:
        return uvloop.run(serve(settings))
    except (MediaServerError, OSError) as error:
        log.error("the server could not start", reason=str(error))
        return 1
