"""Negotiated settings into native structs; native only (stream.pxd)."""
