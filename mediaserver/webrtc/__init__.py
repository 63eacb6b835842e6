"""WebRTC's transport: ICE, DTLS and the keys they end in. Start at `transport.WebRtcTransport`."""
