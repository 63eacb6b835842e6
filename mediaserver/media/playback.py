"""The playout of a call for whoever plays packets again later: a render of what was heard."""

from mediaserver.ext.playout_harness import PlayoutHarness

__all__ = ["PlayoutHarness"]
