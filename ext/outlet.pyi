"""Native only: nothing here is visible from Python (see outlet.pxd)."""
