"""A real-time media server for SIP/RTP and WebRTC: see docs/architecture.md for the map."""

__version__ = "0.1.0"
