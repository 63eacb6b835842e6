"""The way out of a leg; native only (outgoing.pxd)."""
