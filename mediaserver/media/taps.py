"""What the recording room uses of the media plane: a tap's ring, the journal it goes to, and the rounds of both."""

from mediaserver.ext.rounds import Rounds
from mediaserver.ext.sink import LegSink
from mediaserver.ext.tap import TapPool, TapRing

__all__ = ["LegSink", "Rounds", "TapPool", "TapRing"]
