"""A switchboard of synthetic phones: one SIP user agent and one media engine, both our own, for many people.

Owns registration, which ringing phone somebody waits for, and one party's half of a call: dial, answer, speak, press
keys, hold, transfer, hang up. Decides nothing about who calls whom (`plan`, `scene`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from mediaserver.calls.voice import Voice
from mediaserver.clock import SystemClock
from mediaserver.demo.network import BadNetwork, Impairment
from mediaserver.errors import MediaServerError, NegotiationError, ParseError
from mediaserver.media.engine import MediaEngine
from mediaserver.model import Direction, LegHandle, MediaAddress, MediaEvent, PromptHandle, TapBehind
from mediaserver.model_video import VideoEvent
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.settings import Settings
from mediaserver.sip.session import (
    Answered,
    Confirmed,
    Ended,
    Failed,
    InviteSession,
    Progress,
    ReferProgress,
    Reoffer,
    ReofferAnswered,
    ReofferFailed,
    SessionEvent,
)
from mediaserver.sip.transport import SipTransport
from mediaserver.sip.ua import UserAgent

log = structlog.get_logger(__name__)
REGISTER_S_MAX = 15.0
LOOK_S = 0.05
NOISE_HZ = 8_000
NOISE_LEVEL = 10  # peak of 32,767: some -75 dBov, a quiet room
_noise = random.Random(1)  # noqa: S311
NOISE = b"".join(struct.pack("<h", _noise.randint(-NOISE_LEVEL, NOISE_LEVEL)) for _ in range(2 * NOISE_HZ))


class CallFailed(MediaServerError):
    """A demo call did not go as planned: it was refused, or somebody hung up."""


class NoUsers:
    """Nobody registers with a switchboard."""

    def credentials(self, name: str) -> None:
        return None


class Switchboard:
    """Phones at one address of this machine. `start` it, `dial` and `expect` calls, `stop` it."""

    def __init__(self, host: str, server: str, accounts: Mapping[str, str], rtp_ports: str, *, registers: bool) -> None:
        """server: "HOST:PORT" of SIP over UDP. accounts: user name and password; "" for one whom the server knows by
        its address. registers: these people can be called.
        """
        self.host = host
        trunks = {
            name: {
                "uri": f"sip:{server}",
                "username": name if password else "",
                "password": password,
                "register_with_peer": registers,
                "allow_from": [server.rpartition(":")[0]],
            }
            for name, password in accounts.items()
        }
        self.settings = Settings.model_validate(
            {
                "server": {"realm": "demo.invalid"},
                "sip": {"host": host, "requests_per_source_per_s": 2_000},
                "media": {"port_range": rtp_ports, "realtime": False, "inband_dtmf": False},
                "trunks": trunks,
            }
        )
        self.clock = SystemClock()
        self.engine = MediaEngine(self.settings.media, self.clock, self._on_media)
        self.voices: dict[LegHandle, Voice] = {}
        self._transport = SipTransport(self.settings.sip, self.clock, ports={"udp": 0})
        self.agent = UserAgent(
            self.settings,
            NoUsers(),
            self.clock,
            entropy=os.urandom,
            local_address=self._transport.local_address_for,
            on_invite=self._on_invite,
            wake=self._transport.wake,
            stream_for=self._transport.stream_for,
        )
        self._noise: PromptHandle | None = None
        self._expected: dict[tuple[str, str], asyncio.Future[InviteSession]] = {}

    async def start(self) -> None:
        """Returns when everybody is registered. Raises CallFailed, MediaError, OSError."""
        await self.engine.start()
        await self._transport.start(self.agent)
        self.agent.start()
        try:
            async with asyncio.timeout(REGISTER_S_MAX):
                while not all(one.registered for one in self.agent.registrations.values()):  # noqa: ASYNC110 (told by none)
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            absent = [name for name, one in self.agent.registrations.items() if not one.registered]
            raise CallFailed(
                f"the server let {', '.join(absent)} not register in {REGISTER_S_MAX:g} s; see its log"
            ) from None

    async def stop(self) -> None:
        self.agent.stop()
        await asyncio.sleep(0.2)  # the last BYEs and un-REGISTERs leave
        await self._transport.stop()
        await self.engine.stop()

    async def noise(self) -> PromptHandle:
        """What every microphone takes up."""
        if self._noise is None:
            self._noise = await self.engine.load_samples(NOISE_HZ, NOISE)
        return self._noise

    def expect(self, user: str, caller: str) -> asyncio.Future[InviteSession]:
        """The session that rings `user` for a call from the number `caller`."""
        return self._expected.setdefault((user, caller), asyncio.get_running_loop().create_future())

    def forget(self, user: str, caller: str) -> None:
        self._expected.pop((user, caller), None)

    def _on_invite(self, session: InviteSession) -> None:
        """Everybody rings; whoever is expected to answer is told."""
        session.on_event = lambda event: None
        session.ring()
        waiting = self._expected.get((session.called_user, session.caller_user))
        if waiting is not None and not waiting.done():
            waiting.set_result(session)

    def _on_media(self, event: MediaEvent | VideoEvent) -> None:
        if isinstance(event, TapBehind | VideoEvent):
            return
        voice = self.voices.get(event.leg)
        if voice is not None:
            voice.take(event)


class Phone:
    """One party's half of one call."""

    def __init__(
        self, board: Switchboard, name: str, codecs: tuple[str, ...], impairment: Impairment | None, seed: int
    ):
        self.name = name
        self.session: InviteSession | None = None
        self.status = 0  # of a call that was refused
        self.transferred = asyncio.Event()  # the peer said how a transfer of ours ended
        self._board = board
        self._answered = asyncio.Event()
        self._over = asyncio.Event()
        self._reoffered = asyncio.Event()
        self._events: asyncio.Queue[SessionEvent] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._voice = Voice(board.engine)
        self._network = BadNetwork(impairment, seed) if impairment is not None else None
        self._sounds = False
        self._wanted = Direction.SENDRECV
        self._negotiator = Negotiator(
            MediaPolicy(codecs, srtp="off"),
            session_id=int.from_bytes(os.urandom(4), "big") + 1,
            random_bytes=os.urandom,
            cname=os.urandom(9).hex(),
        )

    @property
    def over(self) -> bool:
        return self._over.is_set()

    # -- life

    async def _open(self, call_id: str) -> None:
        media = await self._voice.open(self._board.host, call_id, None)
        self._board.voices[media.handle] = self._voice
        rtp_port = media.rtp_port
        if self._network is not None:
            rtp_port = await self._network.open(self._board.host)
            self._network.phone = (self._board.host, media.rtp_port)
        self._negotiator.local = LocalMedia(self._board.host, rtp_port, media.rtcp_port, media.ssrc)

    def _follow(self, session: InviteSession) -> None:
        self.session = session
        session.on_event = self._events.put_nowait
        self._task = asyncio.create_task(self._run(), name=f"phone {self.name}")

    async def dial(self, account: str, caller: str, caller_name: str, number: str) -> None:
        """Calls `number`; `answered` waits for what comes of it."""
        await self._open(f"{caller} to {number}")
        session = self._board.agent.invite(
            number,
            sdp=self._negotiator.write_offer(),
            caller_user=caller,
            caller_name=caller_name,
            called_user=number,
            trunk=account,
        )
        self._follow(session)

    async def answer(self, session: InviteSession) -> None:
        """Takes a ringing session. Raises CallFailed if it can not be had any more."""
        self._follow(session)
        await self._open(session.call_id)
        try:
            self._negotiator.read_offer(session.remote_sdp or b"")
            answer = self._negotiator.write_answer()
        except (ParseError, NegotiationError) as error:
            session.reject(error.status)
            raise CallFailed(f"{self.name} cannot read an offer: {error}") from error
        await self._apply()
        session.accept(answer)

    async def answered(self, within_s: float) -> None:
        """Raises CallFailed when nobody answered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._either(self._answered)
        if not self._answered.is_set():
            raise CallFailed(f"{self.name} was not answered (status {self.status or 'none'})")

    async def ended(self, within_s: float) -> None:
        """Returns when the call is over. Raises CallFailed if it is not by then."""
        try:
            async with asyncio.timeout(within_s):
                await self._over.wait()
        except TimeoutError:
            raise CallFailed(f"the call of {self.name} does not end") from None

    async def close(self) -> None:
        self.hang_up()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._board.voices.pop(self._voice.handle, None)
        await self._voice.close()
        if self._network is not None:
            self._network.close()

    # -- what a person does

    async def say(self, path: Path) -> None:
        """Returns when it has been said, or the call is over."""
        if self.over:
            return
        said = await self._voice.play(await self._board.engine.load_prompt(path))
        over = asyncio.ensure_future(self._over.wait())
        both: set[asyncio.Future[Any]] = {said, over}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        await self._sound()

    async def _sound(self) -> None:
        """What a microphone takes up while nobody speaks: a phone sends that too."""
        if not self.over and self._voice.is_open:
            await self._voice.play(await self._board.noise(), loop=True)

    async def press(self, keys: str) -> None:
        if not self.over:
            await self._voice.send_dtmf(keys)

    async def hold(self, hold: bool) -> None:
        """By re-INVITE; returns when the other side has agreed."""
        if self.session is None or self.over:
            return
        self._wanted = Direction.SENDONLY if hold else Direction.SENDRECV
        self._reoffered.clear()
        self.session.reinvite(self._negotiator.write_offer(self._wanted))
        await self._either(self._reoffered)

    async def transfer(self, target: str) -> None:
        """By REFER (RFC 3515); `transferred` says when it is through."""
        if self.session is not None and not self.over:
            host = self._board.settings.trunks[self.name].uri.removeprefix("sip:")
            self.session.refer(f"sip:{target}@{host}", None)

    def hang_up(self) -> None:
        if self.session is not None and not self.over:
            self.session.hang_up()

    # -- events

    async def _either(self, event: asyncio.Event) -> None:
        waiting = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._over.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _run(self) -> None:
        while True:
            event = await self._events.get()
            try:
                await self._take(event)
            except MediaServerError as error:
                log.warning("a demo phone cannot go on", phone=self.name, error=str(error))
                self.hang_up()

    async def _take(self, event: SessionEvent) -> None:
        session = self.session
        assert session is not None  # set before anything can come
        match event:
            case Progress(_, _, sdp) | Answered(sdp) | ReofferAnswered(sdp):
                if sdp:
                    self._negotiator.read_answer(sdp)
                    await self._apply()
                if isinstance(event, Answered):
                    self._answered.set()
                elif isinstance(event, ReofferAnswered):
                    self._reoffered.set()
            case Reoffer(None):
                session.answer_reoffer(self._negotiator.write_offer(self._wanted))
            case Reoffer(sdp) if sdp is not None:
                self._negotiator.read_offer(sdp)
                session.answer_reoffer(self._negotiator.write_answer(self._wanted))
                await self._apply()
            case Confirmed(sdp):
                if sdp:
                    self._negotiator.read_answer(sdp)
                    await self._apply()
                self._answered.set()
            case ReofferFailed():
                self._negotiator.rollback()
                self._reoffered.set()
            case ReferProgress(status):
                if status >= 200:
                    self.transferred.set()
            case Failed(status, _, _):
                self.status = status
            case Ended():
                self._over.set()
            case _:
                pass

    async def _apply(self) -> None:
        stream = self._negotiator.stream
        if stream is None or not self._voice.is_open:
            return
        if self._network is not None and stream.remote is not None:
            self._network.server = (stream.remote.host, stream.remote.port)
            local = self._negotiator.local
            assert local is not None  # since _open
            rtcp = stream.remote_rtcp or MediaAddress(stream.remote.host, stream.remote.port + 1)
            stream = replace(
                stream,
                remote=MediaAddress(self._board.host, local.rtp_port),
                remote_rtcp=None if stream.rtcp_mux else rtcp,
            )
        if stream != self._voice.stream:
            await self._voice.set_stream(stream)
        if not self._sounds:
            self._sounds = True
            await self._sound()
