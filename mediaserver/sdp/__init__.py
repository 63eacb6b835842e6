"""Session descriptions and their negotiation, for SIP now and WebRTC later. Start at `negotiate.Negotiator`."""
