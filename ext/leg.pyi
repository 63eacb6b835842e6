"""One party's media; native only (leg.pxd)."""
