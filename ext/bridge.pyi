"""Who hears whom; native only (bridge.pxd)."""
