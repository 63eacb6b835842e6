"""What the recording room uses of the media plane to read journals fast: the walk over a run of RTP records."""

from mediaserver.ext.run import Run

__all__ = ["Run"]
