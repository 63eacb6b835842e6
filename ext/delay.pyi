"""Native only: nothing here is visible from Python (see delay.pxd)."""
