"""Native only; see speak.pxd."""
