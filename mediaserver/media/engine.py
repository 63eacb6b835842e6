"""The asyncio face of the media plane: commands in, completions, events and statistics out.

Puts the parts together: legs, sounds, taps, video; owns bridges, which join legs. Knows nothing of calls or SIP. The
rooms above import the engine from here. Every method is safe to call from the event loop only; none touches a packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mediaserver.clock import Clock
from mediaserver.errors import MediaError, StaleHandle
from mediaserver.media.legs import MediaLeg
from mediaserver.media.link import WorkerLink
from mediaserver.media.records import Bridge, Leg, Tap, event_of
from mediaserver.media.shelf import PromptShelf
from mediaserver.media.sounds import SoundFace, Tone
from mediaserver.media.tap_face import TapFace
from mediaserver.media.video import VideoEngine
from mediaserver.media.video_face import VideoFace
from mediaserver.model import BridgeHandle, ConsentToken, EngineStats, LegHandle, MediaEvent, TapBehind, TapHandle
from mediaserver.model_video import VideoEvent
from mediaserver.settings import MediaSettings

__all__ = ["MediaEngine", "MediaLeg", "Tone"]


class MediaEngine(VideoFace, SoundFace, TapFace):
    def __init__(
        self,
        settings: MediaSettings,
        clock: Clock,
        on_event: Callable[[MediaEvent | VideoEvent], None],
        *,
        verify_token: Callable[[ConsentToken], bool] | None = None,
        webrtc_port: int = 0,
        other_ports: Iterable[int] = (),
        external_host: str = "",
    ) -> None:
        """verify_token: the consent room's check of a token's seal; None: no tap can be opened.

        webrtc_port: shared by all legs with `datagrams`, UDP and TCP; worker n has webrtc_port + n. 0: each such leg
        has a pair of ports of its own. other_ports: UDP ports of the process that are no media's, external_host: how
        peers reach us through NAT; no media is sent to our own ports.
        """
        super().__init__(
            settings,
            clock,
            self._take_message,
            webrtc_port=webrtc_port,
            other_ports=other_ports,
            external_host=external_host,
        )
        self._on_event = on_event
        self._verify_token = verify_token
        self._bridges: dict[BridgeHandle, Bridge] = {}
        self._taps: dict[TapHandle, Tap] = {}
        self._prompts = PromptShelf(self._numbers)
        self._video = VideoEngine(self)

    async def stop(self) -> None:
        """Closes every leg (RTCP BYE) and joins the threads. Idempotent."""
        await super().stop()
        self._bridges.clear()
        self._prompts.clear()

    # --- bridges

    async def create_bridge(self) -> BridgeHandle:
        """An empty bridge. Whether its legs are relayed, transcoded or mixed, the worker decides and re-decides."""
        self._place(None)
        bridge = Bridge(BridgeHandle(next(self._numbers)))
        self._bridges[bridge.handle] = bridge
        return bridge.handle

    async def destroy_bridge(self, bridge: BridgeHandle) -> None:
        """Waits for nothing: the worker takes what is asked after this with the bridge gone."""
        found = self._bridge(bridge)
        del self._bridges[bridge]
        if found.link is not None:
            command_id = found.link.worker.close_bridge(found.native)
            found.link.drop(found.native)
            found.link.answer_later(command_id, lambda status, result: None)

    async def bridge_add(self, bridge: BridgeHandle, leg: LegHandle, *, hears_itself: bool = False) -> None:
        """From now on the leg hears all others that it may (default: everyone), and they it. One bridge per leg.

        A leg of another worker moves to the bridge's. hears_itself: an echo.
        """
        into, found = self._bridge(bridge), await self._settled(leg)
        replies = []  # of commands given in one go: a round trip each would cost more than their work
        if into.link is None:
            into.link = found.link
            command_id, into.native = found.link.worker.open_bridge()
            found.link.keep(into.native, into)
            replies.append(found.link.expect(command_id))
        link = into.link
        if found.link is not link:
            await self.move(leg, link)
        replies.append(link.expect(link.worker.bridge_add(into.native, found.native)))
        if hears_itself:
            replies.append(link.expect(link.worker.set_hears(into.native, found.native, found.native, True)))
        for reply in replies:
            await link.settle(reply)
        into.legs.add(leg)

    async def bridge_remove(self, bridge: BridgeHandle, leg: LegHandle) -> None:
        out_of, found = self._bridge(bridge), await self._settled(leg)
        link = self._same_worker(out_of, found)
        out_of.legs.discard(leg)
        await link.reply(link.worker.bridge_remove(out_of.native, found.native))

    async def set_hears(self, bridge: BridgeHandle, listener: LegHandle, speaker: LegHandle, hears: bool) -> None:
        found, hearing, heard = self._bridge(bridge), await self._settled(listener), await self._settled(speaker)
        link = self._same_worker(found, hearing, heard)
        await link.reply(link.worker.set_hears(found.native, hearing.native, heard.native, hears))

    # --- statistics

    def engine_stats(self) -> EngineStats:
        total: dict[str, int] = {}
        for link in self._links:
            for name, value in link.worker.counters().items():
                total[name] = max(total.get(name, 0), value) if name.endswith("_max") else total.get(name, 0) + value
        total["circles_refused"] = self._circles_refused
        return EngineStats(
            at_ns=self._clock.now_ns(),
            **{name: total.get(name, 0) for name in EngineStats.__slots__ if name != "at_ns"},
        )

    # --- inside

    def is_bridged(self, leg: LegHandle) -> bool:
        return any(leg in bridge.legs for bridge in self._bridges.values())

    def _bridge(self, handle: BridgeHandle) -> Bridge:
        found = self._bridges.get(handle)
        if found is None:
            raise StaleHandle(f"bridge {handle} is closed")
        return found

    def _same_worker(self, bridge: Bridge, *legs: Leg) -> WorkerLink:
        if bridge.link is None or any(leg.link is not bridge.link for leg in legs):
            raise MediaError(f"the leg is not in bridge {bridge.handle}")
        return bridge.link

    async def move(self, handle: LegHandle, to: WorkerLink) -> None:
        """A leg, with what follows it and what its pictures are connected to, to another worker."""
        await super().move(handle, to)
        await self._video.moved(handle)

    def _forget(self, leg: Leg) -> None:
        super()._forget(leg)
        self._video.forget_leg(leg.handle)
        for bridge in self._bridges.values():
            bridge.legs.discard(leg.handle)
        for handle in [handle for handle, tap in self._taps.items() if tap.leg == leg.handle]:
            del self._taps[handle]  # its ring lives on with whoever drains it

    def _take_message(self, link: WorkerLink, message: tuple[Any, ...]) -> None:
        event: MediaEvent | VideoEvent | None
        if message[0] in ("track_active", "layer", "key_frame"):
            event = self._video.event_of(message)
        elif message[0] == "tap_behind":
            tap = self._taps.get(message[1])
            event = TapBehind(tap.handle, tap.ring.take_loss()) if tap is not None else None
        else:
            event = event_of(self._doors, link, message)
        if event is not None:
            self._on_event(event)
