"""Framed TCP connections of browsers; native (conn.pxd)."""
