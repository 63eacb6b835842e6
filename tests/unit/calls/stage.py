"""A call manager on fakes, and short words for what phones do to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mediaserver.calls.house import TakeChannel
from mediaserver.calls.manager import CallManager
from mediaserver.media.engine import Tone
from mediaserver.model import DtmfSource, LegHandle
from mediaserver.settings import SHIPPED_CONFIG_DIR, Settings
from mediaserver.sip.session import Answered, Ended, Failed, InfoReceived, Progress, Reoffer
from tests.support.fake_recorder import FakeRecorder
from tests.support.fake_sessions import FakeGateway, FakeSession
from tests.support.fakes import FakeEngine, FakeLeg, FakeObserver, FakePrompts, FakeReader, LoopClock

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n"
SHIPPED = SHIPPED_CONFIG_DIR / "routing.toml"


def sdp(*lines: str, port: int = 4000, formats: str = "0 8 101") -> bytes:
    text = [f"m=audio {port} RTP/AVP {formats}", "a=rtpmap:101 telephone-event/8000", *lines]
    return (HEAD + "\r\n".join(text) + "\r\n").encode()


class Stage:
    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.tmp_path = tmp_path
        self.clock = LoopClock()
        self.engine = FakeEngine(self.clock)
        self.gateway = FakeGateway()
        self.recorder = FakeRecorder()
        self.recorder.part_of = lambda leg: self.engine.legs[leg].calls if leg in self.engine.legs else ()
        self.observer = FakeObserver()
        self.reader = FakeReader()
        self.programs_dir = tmp_path / "programs"
        self.programs_dir.mkdir(exist_ok=True)
        self.settings = Settings.model_validate(
            {
                "server": {"realm": "pbx.example"},
                "routing": {"programs_dir": self.programs_dir},
                "trunks": {"carrier": {"uri": "sip:carrier.example"}},
            }
            | settings
        )
        self.manager: CallManager | None = None
        self.data_channels: TakeChannel | None = None  # set before `start`

    def program(self, text: str, name: str = "mine") -> None:
        """An operator's own program."""
        (self.programs_dir / f"{name}.py").write_text(text, "utf-8")

    async def start(self, routing: str | None = None) -> CallManager:
        path = SHIPPED
        if routing is not None:
            path = self.tmp_path / "routing.toml"
            path.write_text(routing, "utf-8")
        self.manager = CallManager(
            self.settings,
            engine=self.engine,  # type: ignore[arg-type]
            video=self.engine,
            gateway=self.gateway,  # type: ignore[arg-type]
            prompts=FakePrompts(),
            clock=self.clock,
            tone=lambda kind: Tone({"ringback": (440.0, 480.0)}.get(kind, (480.0,))),
            routing_file=path,
            recorder=self.recorder,
            observers=[self.observer],
            readers=[self.reader],
            data_channels=self.data_channels,
        )
        self.engine.on_event = self.manager.on_media_event
        await self.manager.start()
        return self.manager

    async def call(
        self,
        number: str,
        *,
        caller: str = "alice",
        identity: str | None = "",
        offer: bytes | None = b"",
        settle: bool = True,
        uri: str | None = None,
        replaces: FakeSession | None = None,
    ) -> FakeSession:
        """Somebody dials a number. uri: the whole Request-URI, where its host matters. replaces: RFC 3891."""
        if self.manager is None:
            await self.start()
        assert self.manager is not None
        session = FakeSession(
            incoming=True,
            called_user=number,
            caller_user=caller,
            identity=caller if identity == "" else identity,
            sdp=sdp() if offer == b"" else offer,
        )
        session.request_uri = uri or session.request_uri
        session.replaces = replaces
        self.manager.on_invite(session)  # type: ignore[arg-type]
        if settle:
            await self.settle()
        return session

    async def settle(self) -> None:
        """Lets everything happen that needs no time."""
        for _ in range(60):
            await asyncio.sleep(0)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.settle()

    def leg(self, index: int = 0) -> FakeLeg:
        """The n-th leg open now."""
        return list(self.engine.legs.values())[index]

    def heard(self, index: int = 0) -> list[str]:
        return [Path(name).stem if "/" in name else name for name in self.leg(index).heard]

    async def press(self, digits: str, index: int = 0, source: DtmfSource = DtmfSource.RTP_EVENT) -> None:
        for digit in digits:
            self.engine.press(self.leg(index).handle, digit, source)
            await self.settle()

    async def hang_up(self, session: FakeSession) -> None:
        session.tell(Ended(False))
        await self.settle()

    def register(self, user: str, *contacts: str, does: str = "answer") -> None:
        """A user whose devices ring and then answer, are busy, or keep ringing."""
        self.gateway.users[user] = list(contacts) or [f"sip:{user}@192.0.2.9"]
        for contact in self.gateway.users[user]:
            self.behaviour[contact] = does
        self.gateway.on_invite = self._rung

    @property
    def behaviour(self) -> dict[str, str]:
        return self.__dict__.setdefault("_behaviour", {})

    def _rung(self, session: FakeSession, target: str) -> None:
        does = self.behaviour.get(target, "ring")
        if does in ("ring", "answer"):
            session.tell(Progress(180, "Ringing"))
        if does == "answer":
            session.tell(Answered(sdp(port=4100)))
        elif does == "early":
            session.tell(Progress(183, "Session Progress", sdp(port=4100)))
        elif does.isdigit():
            session.tell(Failed(int(does), "no"))

    async def hold(self, session: FakeSession, direction: str = "sendonly") -> None:
        session.tell(Reoffer(sdp(f"a={direction}")))
        await self.settle()

    async def refer(self, session: FakeSession, target: str, replaces: FakeSession | None = None) -> None:
        """replaces: attended transfer, to the far end of this session."""
        session.refers(target, replaces)
        await self.settle()

    async def info(self, session: FakeSession, digit: str) -> None:
        session.tell(InfoReceived("application/dtmf-relay", f"Signal={digit}\r\nDuration=160\r\n".encode()))
        await self.settle()

    async def close(self) -> None:
        """Ends everything and holds the books: nothing may be left anywhere."""
        if self.manager is None:
            return
        await self.manager.stop()
        assert len(self.manager) == 0
        assert self.engine.legs == {}
        assert self.engine.pairs == []
        assert self.engine.bridges == {}
        assert self.manager.rooms() == []
        assert self.observer.open_legs == {}
        assert not [r for r in self.recorder.recordings if not r.ended]
        started = [e for e in self.observer.events if e[0] == "call_started"]
        assert len(started) == len(self.observer.ended)
        await self.settle()
        leftover = [task for task in asyncio.all_tasks() if task.get_name().startswith(("leg ", "call ", "program "))]
        assert leftover == []


def handle_of(stage: Stage, index: int = 0) -> LegHandle:
    return stage.leg(index).handle
