"""Rings between the control plane and a worker; native only (channel.pxd)."""
