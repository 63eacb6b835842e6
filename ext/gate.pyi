"""Shared ports and TCP connections of a worker; native (gate.pxd)."""
