"""Native only; see tick.pxd."""
