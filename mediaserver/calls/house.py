"""What every call shares: engine, signalling, prompts, recorder, observers, settings. Owns no call.

Keeps prompts loaded once per file and shields calls from observers that raise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from mediaserver.calls.consent import ConsentDesk
from mediaserver.calls.ports import CallObserver, NewsReader, Prompts, Recorder, SipGateway, VideoPlane
from mediaserver.clock import Clock
from mediaserver.limits import PROMPT_PATHS_MAX
from mediaserver.media.engine import MediaEngine, Tone
from mediaserver.model import LegFacts, LegHandle, PromptHandle
from mediaserver.model_video import TrackHandle
from mediaserver.model_voice import VoiceProcessing
from mediaserver.sdp.negotiate import MediaPolicy
from mediaserver.settings import Settings
from mediaserver.webrtc.dtls import DtlsIdentities
from mediaserver.webrtc.sctp import DataChannel

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg
    from mediaserver.calls.leg_video import Track
    from mediaserver.calls.voice import Voice

log = structlog.get_logger()
TakeChannel = Callable[[str, LegFacts, DataChannel], bool]  # call id, leg; False: the channel is closed


@dataclass(slots=True)
class House:
    settings: Settings
    engine: MediaEngine
    gateway: SipGateway
    prompts: Prompts
    clock: Clock
    tone: Callable[[str], Tone]  # "ringback", "busy", "congestion" of the configured country
    video: VideoPlane | None = None  # None: every video section is refused
    recorder: Recorder | None = None
    observers: Sequence[CallObserver] = field(default_factory=tuple)
    readers: Sequence[NewsReader] = field(default_factory=tuple)
    data_channels: TakeChannel | None = None  # of browsers' legs; None: none is offered or taken
    data_dropped: Counter[str] = field(default_factory=Counter)  # what those broke, by reason
    identities: DtlsIdentities = field(init=False)  # our certificate towards browsers
    legs: dict[LegHandle, Leg] = field(default_factory=dict)  # open ones, to find whom a media event concerns
    voices: dict[LegHandle, Voice] = field(default_factory=dict)  # the same of recording sessions, which have no legs
    tracks: dict[TrackHandle, Track] = field(default_factory=dict)  # the same of their video
    prompt_paths: dict[PromptHandle, Path] = field(default_factory=dict)  # of what was loaded: for recordings
    desk: ConsentDesk = field(init=False)  # consent, pauses and keys of recordings

    def __post_init__(self) -> None:
        self.identities = DtlsIdentities(self.clock)
        self.desk = ConsentDesk(self.settings.recording)

    def leg_of(self, session: object) -> Leg | None:
        """The open leg that has this session."""
        return next((leg for leg in self.legs.values() if leg.session is session), None)

    def news(self, tell: Callable[[NewsReader], Any]) -> None:
        """Tells whoever brings news to the people of calls."""
        for reader in self.readers:
            try:
                tell(reader)
            except Exception as error:
                log.error("a reader of news failed", reader=type(reader).__name__, error=repr(error))

    def observe(self, tell: Callable[[CallObserver], Any]) -> None:
        """Tells every observer; one that raises is logged and hurts nobody else."""
        for observer in self.observers:
            try:
                tell(observer)
            except Exception as error:
                log.error("an observer of calls failed", observer=type(observer).__name__, error=repr(error))

    async def load(self, path: Path) -> PromptHandle:
        """Raises PromptError, QueueFull."""
        handle = await self.engine.load_prompt(path)
        self.prompt_paths[handle] = path
        while len(self.prompt_paths) > PROMPT_PATHS_MAX:
            del self.prompt_paths[next(iter(self.prompt_paths))]
        return handle

    def processing(self, identity: str | None) -> VoiceProcessing:
        """What is done to the voice of a party: [voice], and what its trunk says beside that."""
        voice = self.settings.voice
        name = identity or ""
        trunk = self.settings.trunks.get(name.removeprefix("trunk:")) if name.startswith("trunk:") else None
        return VoiceProcessing(
            high_pass=voice.high_pass or (trunk is not None and trunk.high_pass),
            noise_db=trunk.noise_suppression_db if trunk and trunk.noise_suppression_db else voice.noise_suppression_db,
            loudness_dbov=trunk.loudness_dbov if trunk and trunk.loudness_dbov else voice.loudness_dbov,
            boost_max_db=voice.boost_max_db,
            line_check=voice.line_check or (trunk is not None and trunk.line_check),
            echo_cancel=voice.echo_cancel or (trunk is not None and trunk.echo_cancel),
        )

    def policy(self, trunk: str | None = None) -> MediaPolicy:
        """What is allowed on a leg to or from a trunk, else to or from anybody."""
        media = self.settings.media
        peer = self.settings.trunks.get(trunk) if trunk is not None else None
        if peer is None:
            return MediaPolicy(
                tuple(media.codecs),
                media.srtp,
                media.ptime_ms,
                tuple(media.video_codecs),
                data=self.data_channels is not None,
                red=media.redundant_audio,
                keep_wideband=media.keep_wideband,
            )
        return MediaPolicy(
            tuple(peer.codecs or media.codecs),
            peer.srtp,
            media.ptime_ms,
            tuple(media.video_codecs),
            data=False,
            spirals=True,
            media_anywhere=peer.media_from == "anywhere",
            keep_wideband=media.keep_wideband,
        )
