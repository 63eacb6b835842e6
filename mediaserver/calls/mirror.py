"""The echo's half for the eyes: a party sees its own pictures. Owns what the echo takes of a party's video."""

from __future__ import annotations

from mediaserver.calls.forwarding import show
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.leg_video import Wish
from mediaserver.calls.tasks import TaskGroup
from mediaserver.model import Direction
from mediaserver.sdp.video import choose_formats, house_formats, same_format


class Mirror:
    """From here to `close` it decides about the leg's video."""

    def __init__(self, house: House, tasks: TaskGroup, leg: Leg) -> None:
        self._house = house
        self._tasks = tasks
        self._leg = leg
        leg.video.decide = self._decide
        leg.video.on_change = self._changed
        if leg.answered:  # without pictures, while something else spoke to it
            tasks.spawn(self._offer(), "mirror offered")

    def close(self) -> None:
        self._leg.video.decide = self._leg.video.on_change = None

    def _changed(self) -> None:
        self._tasks.spawn(self._connect(), "mirror")

    async def _decide(self) -> None:
        """Each of its pictures, in the first codec of the house that it has and by its own parameters."""
        house = house_formats(self._house.settings.media.video_codecs)
        for line in self._leg.video.offered:
            common = choose_formats(line.peer.formats, house) if line.peer is not None else []
            if common:
                wish = Wish(self._leg.video.content_of(line), (common[0][0].format,), Direction.SENDRECV)
                await self._leg.video.accept(line, wish)

    async def _offer(self) -> None:
        house = house_formats(self._house.settings.media.video_codecs)
        for wish in self._leg.video.wishes():
            common = [made for made in wish.formats if any(same_format(made, ours) for ours in house)][:1]
            if common and self._leg.video.find(wish.content) is None:
                await self._leg.video.add(Wish(wish.content, tuple(common), Direction.SENDRECV))
        if any(track.line.index < 0 for track in self._leg.video.tracks):
            await self._leg.reoffer()

    async def _connect(self) -> None:
        for track in list(self._leg.video.tracks):
            await show(self._house, track, track)
