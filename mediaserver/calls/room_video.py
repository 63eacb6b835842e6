"""The pictures of a room: who sees whom. A browser sees every camera and shared screen, each in a section of its own
that we open; a device with one picture (a SIP phone, a WHEP viewer) sees a shared screen, else who speaks.

Owns what an offer of a participant gets, the sections we open and close at others, and their priorities. The room's
codec is that of the first who sends pictures; whoever can, uses it. Who cannot decode a picture does not get it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import structlog

from mediaserver.calls.forwarding import can_show, show
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.leg_video import Track, Wish
from mediaserver.calls.picture_choice import BY_NAME, Named, PictureChoice, PictureShown
from mediaserver.calls.tasks import TaskGroup
from mediaserver.errors import MediaError
from mediaserver.limits import ROOM_OFFER_TRIES_MAX, ROOM_VIEWS_MAX
from mediaserver.model import Direction
from mediaserver.model_video import Content, VideoFormat
from mediaserver.sdp.choose import combine, reverse
from mediaserver.sdp.video import choose_formats, house_formats, same_format

log = structlog.get_logger()
_SCREEN, _SPEAKER, _OTHERS = 3, 2, 1  # when bandwidth is short, the larger is served first
_RETRY_S = 0.5


class Seat:
    """One participant's place in the room's pictures. id: the a=msid stream its pictures have at others."""

    def __init__(self, leg: Leg, seat_id: str) -> None:
        self.leg = leg
        self.id = seat_id
        self.hidden = False  # muted for the eyes
        self.views: dict[Track, Track] = {}  # section of ours at this participant → whose pictures it is for
        self.refused: set[Track] = set()
        self.dirty = asyncio.Event()
        self.choice = leg.session.picture if leg.session is not None else None

    def is_known_as(self, word: str) -> bool:
        """By what it cannot choose itself: our id, the user it has proven to be."""
        session = self.leg.session
        return word == self.id or (session is not None and word == session.identity and ":" not in word)

    def is_shown_as(self, name: str) -> bool:
        session = self.leg.session
        if session is None or not name:
            return False
        return name in ((session.caller_user, session.caller_name) if session.incoming else (session.called_user,))

    @property
    def sees_all(self) -> bool:
        """It takes further sections from us."""
        return self.leg.media.is_browser and self.leg.takes_offers

    def sources(self) -> list[Track]:
        """Its pictures that others may see, the screen first."""
        if self.hidden or self.leg.held:
            return []
        own = [track for track in self.leg.video.tracks if track.theirs and track.receives]
        return sorted(own, key=lambda track: track.content is Content.MAIN)


class RoomVideo:
    def __init__(self, house: House, tasks: TaskGroup) -> None:
        self._house = house
        self._tasks = tasks
        self._format: VideoFormat | None = None  # the room's
        self._seats: dict[Leg, Seat] = {}
        self._spoke: list[Leg] = []  # who spoke, the last one first
        self._showing = asyncio.Lock()
        self._limits: dict[Track, tuple[int, str | None, Track]] = {}  # priority, layer, of whose picture
        self.on_change: Callable[[], None] = lambda: None  # who has a camera or a screen may have changed

    # -- who is there

    def seat(self, leg: Leg) -> Seat | None:
        return self._seats.get(leg)

    def join(self, seat: Seat) -> None:
        self._seats[seat.leg] = seat
        seat.leg.video.on_change = self._changed
        if seat.choice is not None:
            seat.choice.on_change = self._changed
            seat.choice.who_is = self.who_is
            seat.choice.look = lambda: self._shown_to(seat)
        if seat.sees_all:
            self._tasks.spawn(self._keep_views(seat), "room views")
        self._changed()

    def leave(self, leg: Leg) -> None:
        seat = self._seats.pop(leg, None)
        if seat is None:
            return
        leg.video.on_change = leg.video.decide = None
        if seat.choice is not None:
            seat.choice.forget()
        if leg in self._spoke:
            self._spoke.remove(leg)
        seat.dirty.set()  # ends its task
        if not self._seats:
            self._format = None
        self._changed()

    def speaks(self, leg: Leg) -> None:
        if leg in self._seats and (not self._spoke or self._spoke[0] is not leg):
            self._spoke = [leg, *(other for other in self._spoke if other is not leg)]
            self._changed()

    def hide(self, leg: Leg, hidden: bool) -> None:
        seat = self._seats.get(leg)
        if seat is not None and seat.hidden != hidden:
            seat.hidden = hidden
            self._changed()

    def refresh(self) -> None:
        """Hold or resume."""
        self._changed()

    # -- who is meant

    def who_is(self, word: str) -> Named:
        """How many people a viewer's word for a participant means; see `PictureChoice`."""
        name = word.removeprefix(BY_NAME)
        if name == word:
            return Named.ONE if any(seat.is_known_as(word) for seat in self._seats.values()) else Named.NOBODY
        found = sum(seat.is_shown_as(name) for seat in self._seats.values())
        return (Named.NOBODY, Named.ONE)[found] if found < 2 else Named.SEVERAL

    def _meant(self, choice: PictureChoice) -> list[Seat]:
        name = choice.participant.removeprefix(BY_NAME)
        if name == choice.participant:
            return [seat for seat in self._seats.values() if seat.is_known_as(name)]
        named = [seat for seat in self._seats.values() if seat.is_shown_as(name)]
        kept = [seat for seat in named if seat.id == choice.shown]  # who takes the same name later is not meant
        if not kept:
            kept = named if len(named) == 1 else []
            choice.shown = kept[0].id if kept else ""
        return kept

    def _shown_to(self, seat: Seat) -> PictureShown | None:
        """The picture of a device that shows one."""
        view = next((track for track in seat.leg.video.tracks if track.theirs and track.source is not None), None)
        source = view.source if view is not None else None
        owner = self._seats.get(source.leg) if source is not None else None
        if view is None or view.settings is None or source is None or source.settings is None or owner is None:
            return None
        streams: tuple[tuple[str, int], ...] = ()
        if self._house.video is not None:
            with suppress(MediaError):  # it is just being closed
                streams = self._house.video.track_stats(source.media.handle).streams
        return PictureShown(view.settings.mid, owner.id, source.settings.rids, view.layer, streams)

    # -- what an offer gets

    async def decide(self, leg: Leg, *, publishes: bool) -> None:
        """What our answer takes of this participant's sections."""
        several = leg.media.is_browser and leg.takes_offers
        for line in leg.video.offered:
            if line.peer is None:
                continue
            limit = (
                reverse(line.peer.direction) if publishes else combine(reverse(line.peer.direction), Direction.SENDONLY)
            )
            if several and limit.receives:
                limit = Direction.RECVONLY  # it sees the others in sections of their own
            common = choose_formats(line.peer.formats, self._order())
            if limit is Direction.INACTIVE or not common:
                line.wanted = None
                continue
            if limit.receives and self._format is None:
                self._format = common[0][1]
            wish = Wish(leg.video.content_of(line), tuple(ours for _, ours in common), limit)
            await leg.video.accept(line, wish)

    def _order(self) -> list[VideoFormat]:
        house = house_formats(self._house.settings.media.video_codecs)
        first = [made for made in house if self._format is not None and same_format(made, self._format)]
        return [*first, *(made for made in house if made not in first)]

    # -- the sections at those who see all

    def _changed(self) -> None:
        for seat in self._seats.values():
            seat.dirty.set()
        self._tasks.spawn(self._show(), "room pictures")
        self.on_change()

    async def _keep_views(self, seat: Seat) -> None:
        """One offer at a time: what changed meanwhile goes into the next one."""
        tries = 0
        while self._seats.get(seat.leg) is seat:
            await seat.dirty.wait()
            seat.dirty.clear()
            if self._seats.get(seat.leg) is not seat or not await self._adjust(seat):
                continue
            if await seat.leg.reoffer():
                tries = 0
            elif (tries := tries + 1) < ROOM_OFFER_TRIES_MAX and seat.leg.answered:
                await asyncio.sleep(_RETRY_S * tries)  # crossed by an offer of its own, mostly
                seat.dirty.set()
            await self._drop_dead(seat)

    async def _adjust(self, seat: Seat) -> bool:
        """Opens and gives up sections. True: an offer is due."""
        wanted = self._wanted(seat)
        for view, source in list(seat.views.items()):
            if source not in wanted:
                seat.leg.video.remove(view)
                del seat.views[view]
        taken = set(seat.views.values())
        for source in wanted:
            added = await self._add_view(seat, source) if source not in taken | seat.refused else None
            if added is not None:
                seat.views[added] = source
        await seat.leg.media.apply()  # sections that were never offered just go
        return any(
            (track.line.settings is None) == (track.line.wanted is not None)
            for track in seat.leg.video.tracks
            if not track.theirs
        )

    def _wanted(self, seat: Seat) -> list[Track]:
        """Others' pictures, the screens and those who spoke last first, as many as one participant may have."""
        others = [other for other in self._seats.values() if other is not seat]
        others.sort(key=lambda other: self._spoke.index(other.leg) if other.leg in self._spoke else len(self._spoke))
        sources = [source for other in others for source in other.sources()]
        sources.sort(key=lambda source: source.content is Content.MAIN)  # stable
        kept = [source for source in seat.views.values() if source in sources]
        room = (
            [*kept, *(source for source in sources if source not in kept)] if len(sources) > ROOM_VIEWS_MAX else sources
        )
        return [source for source in room if self._can_see(seat, source)][:ROOM_VIEWS_MAX]

    @staticmethod
    def _can_see(seat: Seat, source: Track) -> bool:
        """False: it has described its codecs and this one is not among them."""
        known = [made for wish in seat.leg.video.wishes() for made in wish.formats]
        settings = source.settings
        return not known or settings is None or any(same_format(made, settings.receive[0]) for made in known)

    async def _add_view(self, seat: Seat, source: Track) -> Track | None:
        owner = self._seats.get(source.leg)
        if owner is None or source.settings is None:
            return None
        sent = source.settings.receive[0]
        formats = (sent, *(made for made in self._order() if made.codec is not sent.codec))
        wish = Wish(source.content, formats, Direction.SENDONLY, stream=owner.id)
        return await seat.leg.video.add(wish, theirs=False)

    async def _drop_dead(self, seat: Seat) -> None:
        """Sections that the participant refused are not asked for again."""
        for view in list(seat.views):
            if view not in seat.leg.video.tracks:
                seat.refused.add(seat.views.pop(view))
        await self._show()

    # -- what is shown

    async def _show(self) -> None:
        async with self._showing:
            for seat in list(self._seats.values()):
                dark = seat.leg.held
                for view, source in list(seat.views.items()):
                    visible = not dark and source in self._sources_of(source.leg)
                    await self._put(seat, view, source if visible else None)
                for track in list(seat.leg.video.tracks):
                    if track.theirs and track.sends:
                        await self._put(seat, track, None if dark else self._one_for(seat, track))

    async def _put(self, seat: Seat, view: Track, source: Track | None) -> None:
        await show(self._house, view, source)
        if view.source is None:
            self._limits.pop(view, None)
            return
        speaker = bool(self._spoke) and view.source.leg is self._spoke[0]
        priority = _SCREEN if view.source.content is Content.SLIDES else _SPEAKER if speaker else _OTHERS
        limits = (priority, _layer(seat, view.source), view.source)
        if self._house.video is not None and self._limits.get(view) != limits:
            self._limits[view] = limits
            try:
                await self._house.video.set_track_limits(view.media.handle, priority=priority, rid=limits[1])
            except MediaError as error:
                log.info("a picture's priority could not be set", error=str(error))

    def _sources_of(self, leg: Leg) -> list[Track]:
        seat = self._seats.get(leg)
        return seat.sources() if seat is not None else []

    def _one_for(self, seat: Seat, track: Track) -> Track | None:
        """For a section that shows one at a time: a screen, else whoever spoke last and can be shown; only of the one
        that its viewer has chosen, if it has."""
        has_slides = any(other.content is Content.SLIDES and other.sends for other in seat.leg.video.tracks)
        others: Iterable[Leg] = [*self._spoke, *(leg for leg in self._seats if leg not in self._spoke)]
        if seat.choice is not None and seat.choice.participant:
            meant = self._meant(seat.choice)
            others = [leg for leg in others if self._seats[leg] in meant]
        sources = [source for leg in others if leg is not seat.leg for source in self._sources_of(leg)]
        sources.sort(key=lambda source: source.content is Content.MAIN)  # stable
        if track.content is Content.SLIDES:
            sources = [source for source in sources if source.content is Content.SLIDES]
        elif has_slides:
            sources = [source for source in sources if source.content is Content.MAIN]
        return next((source for source in sources if can_show(track, source)), None)


def _layer(seat: Seat, source: Track) -> str | None:
    """The one its viewer has chosen, if this picture has it."""
    wanted = seat.choice.layer if seat.choice is not None else ""
    return wanted if source.settings is not None and wanted in source.settings.rids else None
