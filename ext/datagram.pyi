"""STUN and DTLS datagrams on their way to Python; native (datagram.pxd)."""
